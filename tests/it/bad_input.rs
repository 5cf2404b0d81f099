//! Whatever is sent, the answer is a status and a message, and nothing is left behind.

use std::io::{BufReader, Write};

use serde_json::json;

use super::harness::Env;
use super::raw;

#[test]
fn bodies_that_are_no_requests() {
    let env = Env::with_busybox();
    let before = env.contents();
    let send = |body: &str| {
        raw::request(&env.socket(), "POST", "/v1.51/containers/create", "application/json", body.as_bytes())
    };
    for body in [
        "{",
        "",
        "[]",
        "null",
        "\"text\"",
        "{\"Image\": 5}",
        "{\"Image\": \"busybox\", \"Cmd\": {\"a\": 1}}",
        "{\"Image\": \"busybox\", \"HostConfig\": []}",
        "{\"Image\": \"busybox\", \"Env\": [1]}",
        "{\"Image\": \"busybox\"} trailing",
        "\u{0}",
        "{\"Image\": \"busybox\", \"HostConfig\": {\"ShmSize\": \"big\"}}",
    ] {
        send(body).expect(400).message();
    }
    send("{}").expect(400).message();
    // What clients match.
    for (body, message) in [
        ("", "invalid JSON: got EOF while reading request body"),
        (" ", "invalid JSON: got EOF while reading request body"),
        ("{", "invalid JSON: unexpected EOF"),
        ("{invalid", "invalid JSON: invalid character 'i' looking for beginning of object key string"),
        ("{\"Image\": \"busybox\"} x", "unexpected content after JSON"),
        (
            "{\"HostConfig\": {\"shmSIZE\": \"big\"}}",
            "invalid JSON: json: cannot unmarshal string into Go struct field HostConfig.HostConfig.ShmSize of type int64",
        ),
        ("[]", "invalid JSON: json: cannot unmarshal array into Go value of type"),
    ] {
        let said = send(body).expect(400).message();
        assert!(said.starts_with(message), "{body}: {said}");
    }
    let wrong =
        raw::request(&env.socket(), "POST", "/v1.51/containers/create", "text/plain", b"{\"Image\": \"busybox\"}")
            .expect(400)
            .message();
    assert!(wrong.contains("Content-Type"), "{wrong}");
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    send(&format!("{{\"Image\": \"busybox\", \"Labels\": {deep}}}")).expect(400).message();
    let huge = format!("{{\"Image\": \"busybox\", \"User\": \"{}\"}}", "x".repeat(64 << 20));
    assert!([400, 413].contains(&send(&huge).status));
    assert_eq!(env.contents(), before);
}

#[test]
fn names_in_a_body_fit_without_regard_to_case() {
    let env = Env::with_busybox();
    let body = br#"{"image":"nothing","IMAGE":"busybox","cmd":"true","LABELS":{"A":null},"env":null,
        "hostconfig":{"readonlyROOTFS":true,"Binds":null},"Unknown":{"x":[{}]},"Domainname":"\ud800"}}"#;
    let bytes: Vec<u8> = body.to_vec();
    let reply = raw::request(&env.socket(), "POST", "/v1.51/containers/create?name=c1", "application/json", &bytes);
    assert_eq!(reply.status, 201, "{}", reply.text());
    let seen = env.get("/v1.51/containers/c1/json").expect(200).json();
    assert_eq!(seen["HostConfig"]["ReadonlyRootfs"], true);
    assert_eq!(seen["Config"]["Labels"], json!({"A": ""}));
    assert_eq!(seen["Config"]["Cmd"], json!(["true"]));
}

#[test]
fn values_that_make_no_sense() {
    let env = Env::with_busybox();
    let before = env.contents();
    for host_config in [
        json!({"Binds": ["no-colon-and-relative/path:"]}),
        json!({"Binds": ["/a:/b:/c:/d"]}),
        json!({"Binds": ["/tmp:/x:nonsense"]}),
        json!({"Mounts": [{"Type": "nonsense", "Target": "/x"}]}),
        json!({"Mounts": [{"Type": "bind", "Source": "/tmp", "Target": ""}]}),
        json!({"Mounts": [{"Type": "bind", "Source": "/tmp", "Target": "/x"}, {"Type": "bind", "Source": "/tmp", "Target": "/x"}]}),
        json!({"NetworkMode": "container:"}),
        json!({"CapAdd": ["NO_SUCH"]}),
        json!({"SecurityOpt": ["seccomp={"]}),
        json!({"SecurityOpt": ["what"]}),
        json!({"Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 5}]}),
        json!({"Ulimits": [{"Name": "nonsense", "Soft": 1, "Hard": 1}]}),
        json!({"LogConfig": {"Type": "no-such-driver"}}),
        json!({"LogConfig": {"Type": "json-file", "Config": {"no-such-option": "1"}}}),
        json!({"ShmSize": -1}),
        json!({"OomScoreAdj": 5000}),
        json!({"RestartPolicy": {"Name": "sometimes"}}),
        json!({"AutoRemove": true, "RestartPolicy": {"Name": "always"}}),
        json!({"ExtraHosts": ["no-address"]}),
        json!({"Dns": ["not an address"]}),
        json!({"Tmpfs": {"relative": ""}}),
    ] {
        let reply = env.post("/v1.51/containers/create", &json!({"Image": "busybox", "HostConfig": host_config}));
        assert_eq!(reply.status, 400, "{host_config}: {}", reply.text());
        reply.message();
    }
    for body in [
        json!({"Image": "lower/CASE"}),
        json!({"Image": "a b"}),
        json!({"Image": "busybox", "StopSignal": "SIGNONSENSE"}),
        json!({"Image": "busybox", "Env": ["=x"]}),
        json!({"Image": "busybox", "WorkingDir": "relative"}),
        json!({"Image": "busybox", "Hostname": "x".repeat(65)}),
    ] {
        let reply = env.post("/v1.51/containers/create", &body);
        assert_eq!(reply.status, 400, "{body}: {}", reply.text());
        reply.message();
    }
    for name in ["a", "-a", ".a", "a%20b", "a%2Fb", "..%2Fescape", "%00", "%C3%BC", ""] {
        let reply = env.post(&format!("/v1.51/containers/create?name={name}"), &json!({"Image": "busybox"}));
        let wanted = if name.is_empty() { 201 } else { 400 };
        assert_eq!(reply.status, wanted, "{name}: {}", reply.text());
        if wanted == 201 {
            env.delete(&format!("/containers/{}", reply.json()["Id"].as_str().unwrap())).expect(204);
        }
    }
    env.post("/v1.51/containers/create", &json!({"Image": "no-such-image"})).expect(404).message();
    assert_eq!(env.contents(), before);
}

#[test]
fn ids_that_name_nothing() {
    let env = Env::with_busybox();
    for id in ["nobody", "0123456789ab", "..", "%2e%2e", "names", "a%00b", &"f".repeat(64), &"a".repeat(5000)] {
        for path in ["json", "logs?stdout=1", "top"] {
            let reply = env.get(&format!("/v1.51/containers/{id}/{path}"));
            assert!([400, 404].contains(&reply.status), "{id}/{path}: {} {}", reply.status, reply.text());
            reply.message();
        }
        for path in ["start", "stop", "restart", "kill", "wait", "resize?h=1&w=1", "rename?name=x1", "exec", "attach"] {
            let body = if path == "exec" { json!({"Cmd": ["true"]}) } else { json!(null) };
            let reply = env.post(&format!("/v1.51/containers/{id}/{path}"), &body);
            assert!([400, 404].contains(&reply.status), "{id}/{path}: {} {}", reply.status, reply.text());
        }
        assert!([400, 404].contains(&env.delete(&format!("/v1.51/containers/{id}")).status));
        assert!([400, 404].contains(&env.get(&format!("/v1.51/images/{id}/json")).status));
        assert!([400, 404].contains(&env.get(&format!("/v1.51/exec/{id}/json")).status));
    }
    assert_eq!(env.get("/v1.51/containers/nobody/json").message(), "No such container: nobody");
    assert_eq!(env.get("/v1.51/images/nothing/json").message(), "No such image: nothing:latest");
    assert_eq!(env.get("/v1.51/exec/none/json").message(), "No such exec instance: none");
}

#[test]
fn versions_and_paths() {
    let env = Env::new();
    let message = env.get("/v1.23/containers/json").expect(400).message();
    assert!(message.contains("1.23 is too old") && message.contains("1.24"), "{message}");
    let message = env.get("/v9.99/containers/json").expect(400).message();
    assert!(message.contains("9.99 is too new"), "{message}");
    for path in [
        "/v1.x/info",
        "/nonsense",
        "/v1.51/nonsense",
        "/v1.51/containers",
        "/containers/json/more",
        "//",
        "/v1.51",
        "/%zz",
    ] {
        let reply = env.get(path);
        assert!([400, 404].contains(&reply.status), "{path}: {}", reply.status);
        reply.message();
    }
    let reply = raw::request(&env.socket(), "PATCH", "/v1.51/containers/json", "", b"");
    assert!([404, 405].contains(&reply.status), "{}", reply.status);
}

#[test]
fn parameters() {
    let env = Env::with_busybox();
    env.run_detached(&["--name", "c1"], &["sleep", "1000"]);
    for path in [
        "/containers/json?filters={",
        "/containers/json?filters={\"nonsense\":[\"x\"]}",
        "/containers/json?limit=many",
        "/containers/json?filters={\"status\":[\"asleep\"]}",
        "/containers/c1/logs",
        "/containers/c1/logs?stdout=1&since=yesterday",
        "/containers/c1/logs?stdout=1&tail=-x",
        "/events?since=x",
        "/events?filters=[",
        "/images/json?filters={\"nonsense\":[\"x\"]}",
        "/containers/c1/top?ps_args=%3Bid",
    ] {
        let reply = env.get(&format!("/v1.51{path}"));
        // An unparsable `tail` means all, as Docker has it.
        let wanted: &[u16] = if path.contains("tail") {
            &[200, 400]
        } else if path.contains("top") {
            &[400, 500]
        } else {
            &[400]
        };
        assert!(wanted.contains(&reply.status), "{path}: {} {}", reply.status, reply.text());
    }
    for path in [
        "/containers/c1/resize?h=x&w=y",
        "/containers/c1/resize",
        "/containers/c1/wait?condition=boredom",
        "/containers/c1/stop?t=soon",
        "/containers/c1/kill?signal=99",
    ] {
        let reply = env.post(&format!("/v1.51{path}"), &json!(null));
        assert_eq!(reply.status, 400, "{path}: {}", reply.text());
        reply.message();
    }
    assert_eq!(env.inspect("c1", "{{.State.Running}}"), "true");
    env.post("/v1.51/containers/c1/exec", &json!({"Cmd": []})).expect(400).message();
    env.post("/v1.51/containers/c1/exec", &json!({"Cmd": "not a list"})).expect(400).message();
}

#[test]
fn bytes_that_are_no_http() {
    let env = Env::new();
    let socket = env.socket();
    let refused = |bytes: &[u8]| match raw::exchange(&socket, bytes) {
        Ok(reply) => assert!([400, 413, 414, 431, 505].contains(&reply.status), "{reply:?}"),
        // Closing without a word is an answer, too.
        Err(error) => assert!(error.kind() != std::io::ErrorKind::WouldBlock, "hangs"),
    };
    refused(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 this is TLS \r\n\r\n");
    refused(b"nonsense\r\n\r\n");
    refused(format!("GET /_ping HTTP/1.1\r\nHost: d\r\nX-Big: {}\r\n\r\n", "y".repeat(2 << 20)).as_bytes());
    refused(format!("GET /{} HTTP/1.1\r\nHost: d\r\n\r\n", "z".repeat(2 << 20)).as_bytes());
    refused(format!("GET /_ping HTTP/1.1\r\nHost: d\r\n{}\r\n", "A: b\r\n".repeat(10_000)).as_bytes());
    refused(b"POST /v1.51/containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: -5\r\n\r\n");
    refused(b"POST /v1.51/containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n");
    // A client that goes in the middle of its body, a hundred times.
    for _ in 0..100 {
        let mut stream = raw::connect(&socket);
        stream.write_all(b"POST /v1.51/containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"Image\":").unwrap();
    }
    // Those that say nothing hold nobody else up.
    let silent: Vec<_> = (0..50).map(|_| raw::connect(&socket)).collect();
    env.get("/_ping").expect(200);
    drop(silent);
    // Several requests in one breath, on one connection, in order.
    let mut stream = raw::connect(&socket);
    stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\nGET /nonsense HTTP/1.1\r\nHost: d\r\n\r\nGET /_ping HTTP/1.1\r\nHost: d\r\n\r\n").unwrap();
    let mut reader = BufReader::new(stream);
    let codes: Vec<u16> = (0..3).map(|_| raw::read_reply(&mut reader, false).unwrap().status).collect();
    assert_eq!(codes, [200, 404, 200]);
}

#[test]
fn expect_continue_is_answered() {
    let env = Env::with_busybox();
    let body = json!({"Image": "busybox"}).to_string();
    let mut stream = raw::connect(&env.socket());
    write!(stream, "POST /v1.51/containers/create HTTP/1.1\r\nHost: d\r\nExpect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    assert_eq!(raw::read_head(&mut reader).unwrap().status, 100);
    stream.write_all(body.as_bytes()).unwrap();
    assert_eq!(raw::read_reply(&mut reader, false).unwrap().status, 201);
}

#[test]
fn a_damaged_record_spoils_no_list() {
    let env = Env::with_busybox();
    let good = env.run_detached(&["--name", "good"], &["sleep", "1000"]);
    env.docker(["create", "--name", "bad", "busybox"]).ok();
    let id = env.inspect("bad", "{{.Id}}");
    std::fs::write(env.data().join("containers").join(&id).join("container.json"), "{ no record").unwrap();
    // It is seen, and can be removed.
    let listed = env.docker(["ps", "-aq", "--no-trunc"]).ok();
    assert!(listed.contains(&good) && listed.contains(&id), "{listed}");
    env.get("/v1.51/info").expect(200);
    env.docker(["rm", &id]).ok();
    assert_eq!(env.docker(["ps", "-aq", "--no-trunc"]).ok().trim(), good);
    env.docker(["run", "--rm", "busybox", "true"]).ok();
}
