//! HTTP as clients really speak it: answers that come before the request has ended, targets as they are typed, clients
//! by the thousand.

use std::fs;
use std::io::{BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::json;

use super::harness::Env;
use super::process::{GUARD, Process, eventually};
use super::raw;

/// Requests that are refused before their body has come: no route, no JSON, no such version, too long.
const REFUSED: &[(&str, &str, u16)] = &[
    ("/v1.51/nothing/here", "application/json", 404),
    ("/v1.51/containers/create", "text/plain", 400),
    ("/v1.12/containers/create", "application/json", 400),
    ("/v1.51/containers/nobody/start", "application/json", 404),
    ("/v1.51/images/load?platform=a/b/c/d", "application/x-tar", 400),
];

#[test]
fn an_early_error_reaches_a_client_that_is_still_sending() {
    let env = Env::new();
    for round in 0..60 {
        let (path, kind, status) = REFUSED[round % REFUSED.len()];
        let mut stream = raw::connect(&env.socket());
        // Twice on one connection: an error is no reason to lose it.
        for _ in 0..2 {
            write!(stream, "POST {path} HTTP/1.1\r\nHost: d\r\nContent-Type: {kind}\r\nContent-Length: 9000\r\n\r\n")
                .unwrap();
            std::thread::sleep(Duration::from_millis(5));
            for _ in 0..9 {
                stream.write_all(&[b'x'; 1000]).unwrap_or_else(|error| panic!("{path}: {error}"));
            }
            let reply = raw::read_reply(&mut BufReader::new(&stream), false).unwrap();
            assert_eq!(reply.status, status, "{path}: {}", reply.text());
        }
    }
}

#[test]
fn an_early_error_reaches_a_client_with_a_huge_body() {
    let env = Env::new();
    let megabyte = vec![b'x'; 1 << 20];
    for (path, kind, status) in REFUSED {
        for chunked in [false, true] {
            let mut stream = raw::connect(&env.socket());
            let length = if chunked { "Transfer-Encoding: chunked" } else { "Content-Length: 134217728" };
            write!(stream, "POST {path} HTTP/1.1\r\nHost: d\r\nContent-Type: {kind}\r\n{length}\r\n\r\n").unwrap();
            for _ in 0..128 {
                let frame = |stream: &mut UnixStream, text: &str| {
                    if chunked { stream.write_all(text.as_bytes()) } else { Ok(()) }
                };
                let sent = frame(&mut stream, "100000\r\n").and_then(|()| stream.write_all(&megabyte));
                sent.and_then(|()| frame(&mut stream, "\r\n")).unwrap_or_else(|error| panic!("{path}: {error}"));
            }
            if chunked {
                stream.write_all(b"0\r\n\r\n").unwrap();
            }
            // The next request follows on the same connection, in one breath with the end of the last.
            stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n").unwrap();
            let mut reader = BufReader::new(&stream);
            assert_eq!(raw::read_reply(&mut reader, false).unwrap().status, *status, "{path}");
            assert_eq!(raw::read_reply(&mut reader, false).unwrap().text(), "OK", "{path}");
        }
    }
}

#[test]
fn a_body_that_was_not_asked_for_is_not_waited_for() {
    let env = Env::new();
    let head = "POST /nothing HTTP/1.1\r\nHost: d\r\nExpect: 100-continue\r\nContent-Length: 100000\r\n\r\n";
    for sends_all_the_same in [false, true] {
        let mut stream = raw::connect(&env.socket());
        stream.write_all(head.as_bytes()).unwrap();
        if sends_all_the_same {
            std::thread::sleep(Duration::from_millis(20));
            stream.write_all(&[b'x'; 100_000]).unwrap();
        }
        let reply = raw::read_reply(&mut BufReader::new(&stream), false).unwrap();
        assert_eq!((reply.status, reply.header("connection")), (404, Some("close")));
    }
}

#[test]
fn a_slow_body_is_waited_for_and_holds_nobody_up() {
    let env = Env::with_busybox();
    let body = json!({"Image": "busybox"}).to_string();
    let send = |path: &str, wait_first: bool| {
        let mut stream = raw::connect(&env.socket());
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n");
        write!(stream, "{head}Content-Length: {length}\r\n\r\n").unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let early = wait_first.then(|| raw::read_reply(&mut reader, false).unwrap().status);
        for byte in body.bytes() {
            stream.write_all(&[byte]).unwrap();
            std::thread::sleep(Duration::from_millis(10));
            env.get("/_ping").expect(200);
        }
        early.unwrap_or_else(|| raw::read_reply(&mut reader, false).unwrap().status)
    };
    assert_eq!(send("/v1.51/containers/create", false), 201);
    assert_eq!(send("/v1.51/nothing", true), 404);
}

#[test]
fn a_client_that_never_reads_is_nobodys_burden() {
    let env = Env::new();
    let mut stream = raw::connect(&env.socket());
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    // Until the answers that nobody takes have filled the way back, and the requests the way there.
    let error = loop {
        if let Err(error) = stream.write_all(&b"GET /openapi.json HTTP/1.1\r\nHost: d\r\n\r\n".repeat(100)) {
            break error;
        }
    };
    assert!([ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()), "{error}");
    for _ in 0..20 {
        env.get("/_ping").expect(200);
    }
    let pid = env.role("serve")[0].pid;
    let resident = || fs::read_to_string(format!("/proc/{pid}/statm")).unwrap().split(' ').nth(1).unwrap().to_owned();
    assert!(resident().parse::<usize>().unwrap() < 64 << 8, "{} pages are resident", resident());
}

#[test]
fn targets_as_they_are_typed() {
    let env = Env::with_busybox();
    env.run_detached(&["--name", "c1"], &["sleep", "1000"]);
    let socket = env.socket();
    let mut stream = raw::connect(&socket);
    let mut get = |target: &[u8]| {
        stream.write_all(&[b"GET ", target, b" HTTP/1.1\r\nHost: d\r\n\r\n"].concat()).unwrap();
        raw::read_reply(&mut BufReader::new(&stream), false).unwrap()
    };
    let found = get(br#"/v1.51/containers/json?filters={"name":["^/c1$","<nobody>|`x`\\d"]}"#);
    assert_eq!((found.status, found.json().as_array().unwrap().len()), (200, 1));
    assert_eq!(get(br#"/containers/a"|^b/json"#).message(), r#"No such container: a"|^b"#);
    assert_eq!(get("/containers/ä/json".as_bytes()).message(), "No such container: ä");
    assert_eq!(get(b"/containers/a#b/json").message(), "No such container: a#b");
    // Every byte that may stand there, on one connection, with the same answer as when it is encoded.
    for byte in (0x21..=0x7e).chain(0x80..=0xff).filter(|byte| !b"%&+;".contains(byte)) {
        let query = |value: &[u8]| [b"/containers/json?limit=", value].concat();
        let (plain, encoded) = (get(&query(&[byte])), get(&query(format!("%{byte:02x}").as_bytes())));
        assert_eq!((plain.status, plain.text()), (encoded.status, encoded.text()), "{byte:#x}");
    }
    // A space and control characters are none of them.
    for target in ["/_ping?a b", "/_ping?a\tb", "/_ping?\u{7f}"] {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: d\r\n\r\n");
        assert_eq!(raw::exchange(&socket, bytes.as_bytes()).unwrap().status, 400, "{target:?}");
    }
    // What looks like a request in a body stays what it is.
    let body = r#"{"Image":"busybox","Labels":{"a":"GET /{|} HTTP/1.1"}}"#;
    let reply = raw::request(&socket, "POST", "/containers/create?name=c2", "application/json", body.as_bytes());
    assert_eq!(reply.status, 201, "{}", reply.text());
    assert_eq!(env.inspect("c2", r#"{{index .Config.Labels "a"}}"#), "GET /{|} HTTP/1.1");
}

fn open_files(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

#[test]
fn a_thousand_clients_leave_nothing() {
    let env = Env::new();
    env.get("/info").expect(200);
    let pid = env.role("serve")[0].pid;
    // What the first follower opens serves all that come later.
    let mut first = raw::connect(&env.socket());
    first.write_all(b"GET /events HTTP/1.1\r\nHost: d\r\n\r\n").unwrap();
    raw::read_head(&mut BufReader::new(&first)).unwrap();
    let before = open_files(pid);
    drop(first);
    for round in 0..4 {
        let clients: Vec<_> = (0..300).map(|_| raw::connect(&env.socket())).collect();
        for mut client in &clients {
            let request: &[u8] = match round {
                0 => b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n",
                1 => b"GET /events HTTP/1.1\r\nHost: d\r\n\r\n",
                2 => b"POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Length: 500\r\n\r\nxxx",
                _ => b"GET /inf",
            };
            client.write_all(request).unwrap();
        }
        for client in clients.iter().filter(|_| round < 3) {
            raw::read_head(&mut BufReader::new(client)).unwrap();
        }
        drop(clients);
        eventually("their descriptors are closed", || open_files(pid) <= before);
    }
}

#[test]
fn without_descriptors_clients_wait_and_the_api_rests() {
    let env = Env::bare();
    let mut command = env.command("sh");
    let serve = "ulimit -n 40 && exec \"$0\" serve --idle-timeout 0";
    command.args(["-c", serve]).arg(env.program());
    let process = Process::start(&mut command);
    eventually("it listens", || UnixStream::connect(env.socket()).is_ok());
    let clients: Vec<_> = (0..100).map(|_| raw::connect(&env.socket())).collect();
    eventually("its descriptors are used up", || process.err.now().contains("accept: "));
    let pid = env.role("serve")[0].pid;
    let used = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields = stat.rsplit(')').next().unwrap().split(' ').map(str::to_owned).collect::<Vec<_>>();
        fields[12].parse::<u64>().unwrap() + fields[13].parse::<u64>().unwrap()
    };
    let (before, began) = (used(), std::time::Instant::now());
    std::thread::sleep(Duration::from_secs(2));
    // Hundredths of a second: a loop that does not rest would use nearly all of them.
    let share = (used() - before) as f64 / (began.elapsed().as_secs_f64() * 100.0);
    assert!(share < 0.5, "busy for {share} of the time");
    // Those who waited are served when others have gone.
    let (first, last) = clients.split_at(99);
    let mut last = &last[0];
    last.set_read_timeout(Some(GUARD)).unwrap();
    last.write_all(b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n").unwrap();
    for client in first {
        client.shutdown(std::net::Shutdown::Both).unwrap();
    }
    assert_eq!(raw::read_reply(&mut BufReader::new(last), false).unwrap().status, 200);
}
