//! Two at once, and kill -9 at any instant: every answer is one of those that make sense, and nothing is left over.

use std::fs;
use std::io::{BufReader, Write};
use std::path::Path;
use std::sync::Barrier;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::harness::Env;
use super::process::eventually;
use super::raw;

/// Rounds of each pair: who is first is for the scheduler to say.
const ROUNDS: usize = 8;

/// `METHOD PATH`, and for a POST its body as JSON behind another space. Gives the status; of a stream only the head is
/// awaited.
fn call(socket: &Path, what: &str) -> u16 {
    let mut words = what.splitn(3, ' ');
    let (method, path, body) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or(""));
    if path.contains("/attach?") || path.starts_with("/exec/") {
        let mut stream = raw::connect(socket);
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n");
        write!(stream, "{head}Content-Length: {length}\r\n\r\n{body}").unwrap();
        return raw::read_head(&mut BufReader::new(&stream)).unwrap().status;
    }
    raw::request(socket, method, path, "application/json", body.as_bytes()).status
}

/// All at once; their statuses in order.
fn at_once(env: &Env, calls: &[&str]) -> Vec<u16> {
    let (socket, barrier) = (&env.socket(), &Barrier::new(calls.len()));
    std::thread::scope(|scope| {
        let threads: Vec<_> = calls
            .iter()
            .map(|what| {
                scope.spawn(move || {
                    barrier.wait();
                    call(socket, what)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// A program that tells this test's containers from all others.
fn program(env: &Env) -> String {
    format!("sleep 1000; : {}", env.base().display())
}

fn create(env: &Env, name: &str) -> String {
    let path = format!("/containers/create?name={name}");
    let body = json!({"Image": "busybox", "Cmd": ["sh", "-c", program(env)], "HostConfig": {"NetworkMode": "none"}});
    env.post(&path, &body).expect(201).json()["Id"].as_str().unwrap().to_owned()
}

fn actions(env: &Env, id: &str, action: &str) -> usize {
    env.past_events(&json!({"container": [id], "event": [action]})).len()
}

/// No container, and nothing of one.
#[track_caller]
fn nothing_left(env: &Env) {
    assert_eq!(env.get("/containers/json?all=1").expect(200).json(), json!([]));
    eventually("all monitors have ended", || env.role("monitor").is_empty());
    eventually("all containers have ended", || {
        let program = program(env);
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let lines = entries.filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok());
        !lines.into_iter().any(|line| line.starts_with("sh\0-c\0") && line.contains(&program))
    });
    let entries = |dir: &Path| -> Vec<String> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
    };
    let containers = env.data().join("containers");
    assert_eq!(entries(&containers.join("names")), Vec::<String>::new());
    let mut left = entries(&containers);
    left.retain(|name| name != "names" && name != "lock");
    assert_eq!(left, Vec::<String>::new());
    assert_eq!(entries(&env.run_dir().join("containers")), Vec::<String>::new());
    assert_eq!(entries(&env.run_dir().join("execs")), Vec::<String>::new());
}

#[track_caller]
fn among(what: &str, got: &[u16], allowed: &[&[u16]]) {
    assert!(allowed.contains(&got), "{what}: {got:?} is none of {allowed:?}");
}

#[test]
fn start_and_remove() {
    let env = Env::with_busybox();
    for _ in 0..ROUNDS {
        create(&env, "c1");
        let got = at_once(&env, &["POST /containers/c1/start", "DELETE /containers/c1"]);
        among("start and rm", &got, &[&[204, 409], &[404, 204]]);
        call(&env.socket(), "DELETE /containers/c1?force=1");
        create(&env, "c1");
        let got = at_once(&env, &["POST /containers/c1/start", "DELETE /containers/c1?force=1"]);
        // 409: the removal broke the start off.
        among("start and rm -f", &got, &[&[204, 204], &[404, 204], &[409, 204]]);
    }
    nothing_left(&env);
}

#[test]
fn the_same_twice() {
    let env = Env::with_busybox();
    for _ in 0..ROUNDS {
        let id = create(&env, "c1");
        let got = at_once(&env, &["POST /containers/c1/start", "POST /containers/c1/start"]);
        among("start", &got, &[&[204, 304], &[304, 204]]);
        assert_eq!(actions(&env, &id, "start"), 1);
        let got = at_once(&env, &["POST /containers/c1/kill", "POST /containers/c1/stop?t=0"]);
        assert!([204, 409].contains(&got[0]) && [204, 304].contains(&got[1]), "kill and stop: {got:?}");
        assert_eq!(actions(&env, &id, "die"), 1);
        let got = at_once(&env, &["DELETE /containers/c1", "DELETE /containers/c1?force=1"]);
        among("rm", &got, &[&[204, 404], &[404, 204]]);
        assert_eq!(actions(&env, &id, "destroy"), 1);
    }
    nothing_left(&env);
}

#[test]
fn names() {
    let env = Env::with_busybox();
    for _ in 0..ROUNDS {
        let (a, b) = (create(&env, "aa"), create(&env, "bb"));
        let got = at_once(&env, &["POST /containers/aa/rename?name=new", "POST /containers/bb/rename?name=new"]);
        among("two to one name", &got, &[&[204, 409], &[409, 204]]);
        let calls = [format!("POST /containers/{a}/rename?name=xx"), format!("POST /containers/{a}/rename?name=yy")];
        let got = at_once(&env, &[&calls[0], &calls[1]]);
        assert_eq!(got, [204, 204], "one to two names");
        let body = r#"{"Image":"busybox","Cmd":["true"]}"#;
        let create = format!("POST /containers/create?name=cc {body}");
        let got = at_once(&env, &[&create, &create]);
        among("two of one name", &got, &[&[201, 409], &[409, 201]]);
        let remove = format!("DELETE /containers/{a}");
        let got = at_once(&env, &[&remove, &format!("POST /containers/{a}/rename?name=zz")]);
        assert!(got[0] == 204 && [204, 404].contains(&got[1]), "rm and rename: {got:?}");
        assert_eq!(at_once(&env, &[&format!("DELETE /containers/{b}"), "DELETE /containers/cc"]), [204, 204]);
    }
    nothing_left(&env);
}

#[test]
fn streams_and_ends() {
    let env = Env::with_busybox();
    let attach = "POST /containers/c1/attach?stream=1&stdout=1&stdin=1";
    for round in 0..ROUNDS {
        create(&env, "c1");
        let got = at_once(&env, &[attach, "DELETE /containers/c1?force=1"]);
        assert!([200, 404, 409].contains(&got[0]) && got[1] == 204, "attach and rm: {got:?}");
        create(&env, "c1");
        let got = at_once(&env, &[attach, "POST /containers/c1/start", attach]);
        assert_eq!(got, [200, 204, 200], "attach and start");
        let exec = env.post("/containers/c1/exec", &json!({"Cmd": ["sleep", "1000"]})).expect(201).json();
        let start = format!("POST /exec/{}/start {{\"Detach\":true}}", exec["Id"].as_str().unwrap());
        let end = if round % 2 == 0 { "POST /containers/c1/stop?t=0" } else { "DELETE /containers/c1?force=1" };
        let more = r#"POST /containers/c1/exec {"Cmd":["true"]}"#;
        let got = at_once(&env, &[&start, end, more]);
        assert!([200, 204, 404, 409].contains(&got[0]) && got[1] == 204, "exec and end: {got:?}");
        assert!([201, 404, 409].contains(&got[2]), "exec and end: {got:?}");
        call(&env.socket(), "DELETE /containers/c1?force=1");
    }
    nothing_left(&env);
}

#[test]
fn fifty_lives_at_once() {
    let env = Env::with_busybox();
    let (socket, body) = (&env.socket(), r#"{"Image":"busybox","Cmd":["sh","-c","exit 7"]}"#);
    std::thread::scope(|scope| {
        for n in 0..50 {
            scope.spawn(move || {
                let call = |what: &str| call(socket, what);
                assert_eq!(call(&format!("POST /containers/create?name=n{n} {body}")), 201);
                assert_eq!(call(&format!("POST /containers/n{n}/start")), 204);
                let code = raw::request(socket, "POST", &format!("/containers/n{n}/wait"), "", b"");
                assert_eq!(code.json()["StatusCode"], 7);
                assert_eq!(call(&format!("DELETE /containers/n{n}?force=1")), 204);
            });
        }
    });
    for action in ["create", "start", "die", "destroy"] {
        let events = env.past_events(&json!({"type": ["container"], "event": [action]}));
        assert_eq!(events.len(), 50, "{action}");
    }
    nothing_left(&env);
}

/// Kills the monitors, and not what they have forked, which carries their name until it has become something else.
fn kill_monitors(env: &Env) {
    let all = env.role("monitor");
    for seen in all.iter().filter(|seen| !all.iter().any(|other| other.pid == seen.parent)) {
        let _ = kill(Pid::from_raw(seen.pid), Signal::SIGKILL);
    }
}

#[test]
fn the_api_killed_at_any_instant() {
    let mut env = Env::with_busybox();
    let script =
        ["create --name c1 busybox sleep 1000", "start c1", "exec -d c1 sleep 1000", "rename c1 c2", "rm -f c2"];
    for round in 0..12u64 {
        let mut client = env.command("sh");
        let lines: Vec<String> = script.iter().map(|line| format!("docker {line}")).collect();
        let client = super::process::Process::start(client.args(["-c", &lines.join("; ")]));
        // Anywhere in the life of a container, which takes some tenths of a second.
        std::thread::sleep(Duration::from_millis(40 + 35 * round));
        env.kill_server();
        drop(client);
        env.serve();
        // The name is free or names a container that can be removed.
        for name in ["c1", "c2"] {
            let status = call(&env.socket(), &format!("DELETE /containers/{name}?force=1"));
            assert!([204, 404].contains(&status), "round {round}: rm -f {name}: {status}");
        }
        create(&env, "c1");
        assert_eq!(call(&env.socket(), "DELETE /containers/c1"), 204);
    }
    env.kill_server();
    env.serve();
    eventually("the API has swept", || fs::read_dir(env.run_dir().join("containers")).map_or(0, Iterator::count) == 0);
    nothing_left(&env);
}

#[test]
fn a_monitor_killed_at_any_instant() {
    let env = Env::with_busybox();
    for round in 0..12u64 {
        let id = create(&env, "c1");
        let socket = &env.socket();
        std::thread::scope(|scope| {
            let start = scope.spawn(move || call(socket, "POST /containers/c1/start"));
            std::thread::sleep(Duration::from_millis(4 * round));
            kill_monitors(&env);
            let status = start.join().unwrap();
            assert!([204, 409, 500].contains(&status), "round {round}: start: {status}");
        });
        let state = env.get("/containers/c1/json").expect(200).json()["State"].clone();
        assert!(["created", "running", "exited"].contains(&state["Status"].as_str().unwrap()), "{state}");
        let dead = usize::from(state["Status"] == "exited");
        let died = actions(&env, &id, "die");
        assert!(died == dead || state["Status"] == "running", "{state}: died {died} times");
        // Whatever happened, it can be started now. A starter whose monitor was killed may take a moment to end.
        eventually("it runs", || {
            let status = call(socket, "POST /containers/c1/start");
            assert!([204, 304].contains(&status), "round {round}: start again: {status}");
            env.docker(["exec", "c1", "true"]).code == 0
        });
        assert_eq!(call(socket, "DELETE /containers/c1?force=1"), 204);
    }
    nothing_left(&env);
}
