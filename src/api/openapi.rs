//! The OpenAPI 3.1 document, made of the route table and the handlers' types. Made by the golden test only: what is
//! served at `/openapi.json` is the file that it holds true.

use serde_json::{Map, Value, json};

use super::error::ErrorResponse;
use super::operation::{Operation, Schemas};
use super::route::Route;
use super::table::TABLES;
use super::version::ADVERTISED;

/// What is added to the name of a type in a request if replies have one of that name: there, fields are optional.
const INPUT: &str = "Input";

const SCHEMAS: &str = "#/components/schemas/";

/// Generates the document as it is checked in.
pub fn generate() -> String {
    let mut doc = Builder { schemas: Schemas::new(), paths: Map::new() };
    for route in TABLES.iter().flat_map(|table| table.iter()) {
        doc.add(route);
    }
    let mut text = format!("{:#}", doc.finish());
    text.push('\n');
    text
}

struct Builder {
    schemas: Schemas,
    paths: Map<String, Value>,
}

impl Builder {
    fn add(&mut self, route: &Route) {
        let mut op = Operation::new(&mut self.schemas);
        route.endpoint.describe(&mut op);
        let failure = op.reply_schema::<ErrorResponse>();
        for status in [400, 500].iter().chain(route.failures) {
            match status {
                304 => op.response(304, "", None),
                _ => op.response(*status, "application/json", Some(failure.clone())),
            }
        }
        let Operation { parameters, body, mut responses, .. } = op;
        for (status, response) in &mut responses {
            if !route.headers.is_empty() && status.starts_with('2') {
                let header = |name: &&str| ((*name).to_owned(), json!({ "schema": { "type": "string" } }));
                response["headers"] = route.headers.iter().map(header).collect::<Map<_, _>>().into();
            }
        }
        responses.sort_keys();
        let mut value = json!({
            "tags": [route.tag],
            "summary": route.summary,
            "operationId": operation_id(route),
            "x-since": route.since.to_string(),
        });
        if !parameters.is_empty() {
            value["parameters"] = parameters.into();
        }
        if let Some(body) = body {
            value["requestBody"] = body;
        }
        value["responses"] = responses.into();
        let path = self.paths.entry(route.pattern.replace(":.*}", "}")).or_insert_with(|| json!({}));
        path[route.method.as_str().to_ascii_lowercase()] = value;
    }

    fn finish(mut self) -> Value {
        let mut schemas = self.schemas.replies.take_definitions(true);
        let mut paths = Value::Object(self.paths);
        let mut requests = Value::Object(self.schemas.requests.take_definitions(true));
        // A type that goes both ways has two schemas, unless both are the same.
        let shared: Vec<String> = requests.as_object().into_iter().flat_map(Map::keys).cloned().collect();
        let differ: Vec<String> = shared.into_iter().filter(|name| schemas.contains_key(name)).collect();
        rename(&mut requests, &differ);
        for operation in paths.as_object_mut().into_iter().flat_map(Map::values_mut) {
            for operation in operation.as_object_mut().into_iter().flat_map(Map::values_mut) {
                for part in ["parameters", "requestBody"] {
                    if let Some(part) = operation.get_mut(part) {
                        rename(part, &differ);
                    }
                }
            }
        }
        for (name, schema) in requests.as_object_mut().into_iter().flatten() {
            let name = if differ.contains(name) { format!("{name}{INPUT}") } else { name.clone() };
            schemas.insert(name, schema.take());
        }
        schemas.sort_keys();
        json!({
            "openapi": "3.1.0",
            "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
            "info": {
                "title": "pierless",
                "version": ADVERTISED.to_string(),
                "description": "Docker's Engine API as pierless serves it. Made of the route table and the handlers' \
                                types; every path is also served below /v1.24 to /v1.55.",
                "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            },
            "paths": paths,
            "components": { "schemas": schemas },
        })
    }
}

/// Points references to these names to their forms for input.
fn rename(value: &mut Value, names: &[String]) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| rename(value, names)),
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(target) if key == "$ref" => {
                        if target.strip_prefix(SCHEMAS).is_some_and(|name| names.iter().any(|other| other == name)) {
                            target.push_str(INPUT);
                        }
                    }
                    other => rename(other, names),
                }
            }
        }
        _ => {}
    }
}

fn operation_id(route: &Route) -> String {
    let mut id = route.method.as_str().to_ascii_lowercase();
    for segment in route.pattern.split(['/', '{', '}', '_', '.', '*', ':']).filter(|segment| !segment.is_empty()) {
        let (first, rest) = segment.split_at(1);
        id.push_str(&first.to_ascii_uppercase());
        id.push_str(rest);
    }
    id
}
