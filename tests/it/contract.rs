//! Holds every reply of the tests to the OpenAPI document: its status, its media type, and every field of it.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use jsonschema::Validator;
use serde_json::{Value, json};

use super::raw::Reply;

/// The document with every object closed: a field that is not documented fails.
fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        let text = include_str!("../../openapi/openapi.json");
        let mut document = serde_json::from_str(text).unwrap();
        close(&mut document);
        document
    })
}

fn close(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(close);
            let object = map.get("properties").is_some_and(Value::is_object)
                || map.get("type").is_some_and(|kind| kind == "object");
            if object && !map.contains_key("additionalProperties") {
                map.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
        }
        Value::Array(values) => values.iter_mut().for_each(close),
        _ => {}
    }
}

/// The documented path that a request's path is, without version and query.
fn pattern(method: &str, path: &str) -> Option<String> {
    let path = path.split('?').next().unwrap_or(path);
    let version = path.strip_prefix("/v").and_then(|rest| rest.split_once('/'));
    let is_version = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let path = match version {
        Some((version, _)) if is_version(version) => &path["/v".len() + version.len()..],
        _ => path,
    };
    let fits = |pattern: &str| {
        let want: Vec<&str> = pattern.split('/').collect();
        let have: Vec<&str> = path.split('/').collect();
        let Some(name) = want.iter().position(|part| *part == "{name}") else {
            return want.len() == have.len() && want.iter().zip(&have).all(|(w, h)| w == h || w.starts_with('{'));
        };
        let tail = want.len() - name - 1;
        have.len() >= want.len() && have[..name] == want[..name] && have[have.len() - tail..] == want[name + 1..]
    };
    let paths = document()["paths"].as_object()?;
    // What is literal goes before what is a name, as in the route table.
    let mut fitting: Vec<_> = paths
        .iter()
        .filter(|(_, item)| item.get(method.to_ascii_lowercase()).is_some())
        .map(|(path, _)| path)
        .filter(|pattern| fits(pattern))
        .collect();
    fitting.sort_by_key(|pattern| pattern.matches('{').count());
    fitting.first().map(|pattern| (*pattern).clone())
}

/// Panics if a reply is not as documented. Paths that are not documented, and failures of HTTP itself, pass.
#[track_caller]
pub fn check(method: &str, path: &str, reply: &Reply) {
    let Some(pattern) = pattern(method, path) else { return };
    if reply.status == 413 || reply.status == 431 || (reply.status == 400 && reply.header("server").is_none()) {
        return;
    }
    let operation = &document()["paths"][&pattern][method.to_ascii_lowercase()];
    let response = &operation["responses"][reply.status.to_string()];
    let place = format!("{method} {path} ({pattern}) -> {}", reply.status);
    assert!(response.is_object(), "{place}: undocumented status; {}", reply.text());
    let Some(content) = response["content"].as_object() else {
        assert!(reply.body.is_empty(), "{place}: an undocumented body: {}", reply.text());
        return;
    };
    if method == "HEAD" {
        return;
    }
    // A detached exec answers as a stream that never was: nothing, of no type.
    if reply.body.is_empty() && reply.header("content-type").is_none() && !content.contains_key("application/json") {
        return;
    }
    let media = reply.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let documented = content.get(media).unwrap_or_else(|| panic!("{place}: undocumented media type {media:?}"));
    if media != "application/json" || documented.get("schema").is_none() {
        return;
    }
    let key = format!("{pattern} {method} {}", reply.status);
    // One value, or one after another in a stream.
    for value in serde_json::Deserializer::from_slice(&reply.body).into_iter::<Value>() {
        let value = value.unwrap_or_else(|error| panic!("{place}: {error}: {}", reply.text()));
        let problems = validate(&key, &documented["schema"], &value);
        assert!(problems.is_empty(), "{place}: {problems:#?}\n{value:#}");
    }
}

fn validate(key: &str, schema: &Value, value: &Value) -> Vec<String> {
    static VALIDATORS: OnceLock<Mutex<HashMap<String, Validator>>> = OnceLock::new();
    let validators = VALIDATORS.get_or_init(Mutex::default);
    let mut validators = validators.lock().unwrap_or_else(PoisonError::into_inner);
    let validator = validators.entry(key.to_owned()).or_insert_with(|| {
        let whole = json!({ "allOf": [schema], "components": document()["components"] });
        jsonschema::draft202012::new(&whole).unwrap()
    });
    validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn an_undocumented_field_is_noticed() {
    let reply = |body: &str| Reply {
        status: 200,
        headers: vec![("Content-Type".into(), "application/json".into())],
        body: body.into(),
    };
    check("GET", "/v1.44/plugins", &reply("[]"));
    let broken = std::panic::catch_unwind(|| check("GET", "/plugins", &reply("[{\"Surprise\":1}]")));
    assert!(broken.is_err());
    let status = std::panic::catch_unwind(|| check("GET", "/swarm", &reply("{}")));
    assert!(status.is_err());
    assert_eq!(pattern("GET", "/v1.51/containers/json?all=1").as_deref(), Some("/containers/json"));
    assert_eq!(pattern("GET", "/containers/x/json").as_deref(), Some("/containers/{id}/json"));
}
