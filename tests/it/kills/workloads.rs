//! The named workloads. Each goes on after a broken connection, as a stubborn client does.

use std::io::{BufReader, Read, Write};
use std::path::PathBuf;

use serde_json::{Value, json};

use super::super::fixtures;
use super::super::harness::Env;
use super::super::process::eventually;
use super::super::raw;
use super::told::Told;

/// Runs the verbs of one round, and notes what it was told.
pub struct Client<'a> {
    socket: PathBuf,
    /// Names this round's containers; part of their command lines.
    pub label: String,
    marker: String,
    pub told: &'a Told,
}

pub type Workload = fn(&Client<'_>);

pub const WORKLOADS: &[(&str, Workload)] = &[
    ("run", run),
    ("rm", run_and_remove),
    ("stop", stop_and_start),
    ("exec", exec),
    ("names", names),
    ("attach", attach),
    ("image", image),
    ("networks", networks),
    ("archive", archive),
];

impl<'a> Client<'a> {
    pub fn new(env: &Env, told: &'a Told, label: &str) -> Self {
        Self { socket: env.socket(), label: label.to_owned(), marker: marker(env), told }
    }

    /// One request; none if the connection broke before an answer came.
    fn call(&self, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!(
            "{method} /v1.51{path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        );
        eventually("the API is there", || std::os::unix::net::UnixStream::connect(&self.socket).is_ok());
        let stream = raw::exchange_if_alive(&self.socket, head.as_bytes())?;
        Some((stream.status, serde_json::from_slice(&stream.body).unwrap_or(Value::Null)))
    }

    fn post(&self, path: &str) -> Option<u16> {
        self.call("POST", path, &Value::Null).map(|(status, _)| status)
    }

    /// Creates a container that runs `script`. One whose creation was not answered is nobody's to know.
    fn create(&self, name: &str, script: &str, options: Value) -> Option<String> {
        let name = format!("{}-{name}", self.label);
        let script = format!(": {} {}; {script}", self.marker, self.label);
        let mut body = json!({"Image": "busybox", "Cmd": ["sh", "-c", script], "HostConfig": {"NetworkMode": "none"}});
        for (key, value) in options.as_object().into_iter().flatten() {
            body[key] = value.clone();
        }
        let (status, answer) = self.call("POST", &format!("/containers/create?name={name}"), &body)?;
        assert!(status == 201 || status >= 500, "create: {status} {answer}");
        let id = answer["Id"].as_str()?.to_owned();
        self.told.with(&id, |known| {
            known.names.insert(name);
            known.auto_remove = body["HostConfig"]["AutoRemove"] == true;
        });
        Some(id)
    }

    /// Whether that was answered.
    fn start(&self, id: &str) -> bool {
        let answer = self.post(&format!("/containers/{id}/start"));
        if answer == Some(204) {
            self.told.with(id, |known| known.starts += 1);
        }
        answer.is_some()
    }

    /// Whether it was answered that all is loaded.
    fn load(&self, archive: &[u8]) -> bool {
        let head = format!(
            "POST /images/load HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Type: application/x-tar\r\nContent-Length: {}\r\n\r\n",
            archive.len()
        );
        let reply = raw::exchange_if_alive(&self.socket, &[head.as_bytes(), archive].concat());
        reply.is_some_and(|reply| reply.status == 200 && reply.text().contains("Loaded image"))
    }

    fn wait(&self, id: &str) {
        if let Some((200, answer)) = self.call("POST", &format!("/containers/{id}/wait"), &Value::Null) {
            self.told.with(id, |known| known.code = answer["StatusCode"].as_i64());
        }
    }

    /// Asks until it is answered: what was not heard of would be waited for in vain.
    fn kill(&self, id: &str) {
        while self.post(&format!("/containers/{id}/kill")).is_none() {}
    }

    fn remove(&self, id: &str, force: bool) {
        self.told.with(id, |known| known.removing = true);
        let path = format!("/containers/{id}?force={force}");
        match self.call("DELETE", &path, &Value::Null) {
            Some((204 | 404, _)) => self.told.with(id, |known| known.removed = true),
            Some((status, answer)) => assert!(status >= 409, "rm: {status} {answer}"),
            None => {}
        }
    }

    fn rename(&self, id: &str, name: &str) {
        let name = format!("{}-{name}", self.label);
        self.told.with(id, |known| _ = known.names.insert(name.clone()));
        if self.post(&format!("/containers/{id}/rename?name={name}")) == Some(204) {
            self.told.with(id, |known| known.names = [name].into());
        }
    }
}

/// What stands in the command line of every container of this test.
pub fn marker(env: &Env) -> String {
    format!("kills {}", env.base().display())
}

fn run(client: &Client<'_>) {
    let Some(id) = client.create("c", "exit 7", json!({})) else { return };
    client.start(&id);
    client.wait(&id);
    client.remove(&id, false);
}

fn run_and_remove(client: &Client<'_>) {
    let options = json!({"HostConfig": {"NetworkMode": "none", "AutoRemove": true}});
    for n in 0..3 {
        let script = if n == 2 { "sleep 1000; true" } else { "exit 7" };
        let Some(id) = client.create(&format!("c{n}"), script, options.clone()) else { continue };
        let answered = client.start(&id);
        if n == 2 {
            client.kill(&id);
        }
        if answered {
            client.wait(&id);
        }
    }
}

fn stop_and_start(client: &Client<'_>) {
    let Some(id) = client.create("c", "sleep 1000; true", json!({"User": "1000"})) else { return };
    client.start(&id);
    client.post(&format!("/containers/{id}/stop?t=0"));
    client.start(&id);
    // What was not answered may still begin, behind the back of a kill, and is then not waited for.
    if client.post(&format!("/containers/{id}/restart?t=0")).is_some() {
        client.kill(&id);
        client.wait(&id);
    }
    client.start(&id);
}

fn exec(client: &Client<'_>) {
    let Some(id) = client.create("c", "sleep 1000; true", json!({})) else { return };
    client.start(&id);
    for detach in [true, false, true] {
        let script = format!(": {} {}; echo out; exit 5", client.marker, client.label);
        let body = json!({"Cmd": ["sh", "-c", script], "AttachStdout": !detach});
        let Some((201, answer)) = client.call("POST", &format!("/containers/{id}/exec"), &body) else { continue };
        let session = answer["Id"].as_str().unwrap_or_default().to_owned();
        let started = client.call("POST", &format!("/exec/{session}/start"), &json!({"Detach": detach}));
        let Some((200, _)) = started.filter(|_| !detach) else { continue };
        if let Some((200, state)) = client.call("GET", &format!("/exec/{session}/json"), &Value::Null) {
            let code = &state["ExitCode"];
            // 126: it was not started, for the container was ending; 128: its starter was killed; 137: the container was.
            assert!([json!(5), json!(126), json!(128), json!(137), Value::Null].contains(code), "exec: {state}");
        }
    }
    client.remove(&id, true);
}

/// A network of one's own, and a container that comes into it, and out, while it runs.
fn networks(client: &Client<'_>) {
    let label = &client.label;
    let create = |name: &str| {
        let made = client.call("POST", "/networks/create", &json!({"Name": format!("{label}-{name}")}));
        assert!(made.as_ref().is_none_or(|(status, _)| matches!(status, 201 | 500)), "network create: {made:?}");
        matches!(made, Some((201, _)))
    };
    if !create("a") || !create("b") {
        return;
    }
    let options = json!({"HostConfig": {"NetworkMode": format!("{label}-a")}});
    let Some(id) = client.create("c", "sleep 1000; true", options) else { return };
    client.start(&id);
    for verb in ["connect", "disconnect", "connect"] {
        let said = client.call("POST", &format!("/networks/{label}-b/{verb}"), &json!({"Container": id}));
        let status = said.as_ref().map_or(200, |(status, _)| *status);
        // 403, 500: what the one before did was not answered, or the container was lost on the way.
        assert!(matches!(status, 200 | 403 | 409 | 500), "{verb}: {said:?}");
    }
    client.remove(&id, true);
    for name in ["a", "b"] {
        let said = client.call("DELETE", &format!("/networks/{label}-{name}"), &Value::Null);
        let status = said.as_ref().map_or(204, |(status, _)| *status);
        // 403: the container's removal was not answered.
        assert!(matches!(status, 204 | 403 | 404 | 500), "network rm: {said:?}");
    }
}

fn names(client: &Client<'_>) {
    let (a, b) = (client.create("a", "true", json!({})), client.create("b", "true", json!({})));
    if let Some(a) = &a {
        client.rename(a, "x");
        client.rename(a, "a");
        client.remove(a, false);
    }
    if let Some(b) = &b {
        client.rename(b, "y");
    }
}

fn attach(client: &Client<'_>) {
    let options = json!({"OpenStdin": true, "StdinOnce": true, "AttachStdin": true});
    let Some(id) = client.create("c", "cat; exit 7", options) else { return };
    let mut stream = raw::connect(&client.socket);
    let path = format!("/v1.51/containers/{id}/attach?stream=1&stdin=1&stdout=1");
    let head = format!("POST {path} HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n");
    let attached = stream.write_all(head.as_bytes()).is_ok();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let attached = attached && raw::read_head(&mut reader).is_ok_and(|reply| reply.status == 101);
    client.start(&id);
    if attached {
        // Whoever was killed: the stream ends.
        let _ = stream.write_all(b"some words\n");
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = reader.read_to_end(&mut Vec::new());
    } else {
        client.post(&format!("/containers/{id}/kill"));
    }
    client.remove(&id, true);
}

fn image(client: &Client<'_>) {
    let tag = |name: &str| format!("{}:{name}", client.label);
    client.load(&std::fs::read(fixtures::busybox()).unwrap());
    for name in ["one", "two"] {
        let path = format!("/images/busybox/tag?repo={}&tag={name}", client.label);
        if client.post(&path) == Some(201) {
            client.told.tags.lock().unwrap().insert(tag(name), false);
        }
    }
    if let Some(removing) = client.told.tags.lock().unwrap().get_mut(&tag("one")) {
        *removing = true;
    }
    if let Some((200, _)) = client.call("DELETE", &format!("/images/{}", tag("one")), &Value::Null) {
        client.told.tags.lock().unwrap().remove(&tag("one"));
    }
    if let Some(id) = client.create("c", "exit 7", json!({})) {
        client.start(&id);
        client.wait(&id);
        client.remove(&id, true);
    }
}

/// What is saved is a whole archive, or no answer; loaded again, it is what it was.
fn archive(client: &Client<'_>) {
    let tag = format!("{}:saved", client.label);
    if client.post(&format!("/images/busybox/tag?repo={}&tag=saved", client.label)) != Some(201) {
        return;
    }
    let request = format!("GET /v1.51/images/{tag}/get HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n");
    let Some(saved) = raw::exchange_if_alive(&client.socket, request.as_bytes()) else { return };
    assert!(saved.status != 200 || saved.body.ends_with(&[0; 1024]), "an archive without its end");
    client.call("DELETE", &format!("/images/{tag}"), &Value::Null);
    if saved.status == 200 && client.load(&saved.body) {
        client.told.tags.lock().unwrap().insert(tag, false);
    }
    client.post("/images/prune");
}
