//! Attaching: before and after the start, with and without the log, by the command line and by hand.

use std::io::{BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use rustix::process::{Resource, Rlimit};
use serde_json::json;

use super::harness::Env;
use super::process::eventually;
use super::raw;

#[test]
fn two_clients_see_the_same() {
    let env = Env::with_busybox();
    env.docker(["run", "-d", "-i", "--name", "c1", "busybox", "cat"]).ok();
    let mut first = env.docker_start(["attach", "c1"]);
    let second = env.docker_start(["attach", "--no-stdin", "c1"]);
    std::thread::sleep(std::time::Duration::from_millis(500));
    first.send(b"shared\n");
    first.out.wait_for("shared\n");
    second.out.wait_for("shared\n");
    env.docker(["kill", "c1"]).ok();
    assert_eq!(first.join().code, 137);
    assert_eq!(second.join().code, 137);
}

#[test]
fn to_what_does_not_run_is_an_error() {
    let env = Env::with_busybox();
    env.docker(["create", "--name", "c1", "busybox", "true"]).ok();
    let message = env.docker(["attach", "c1"]).fails(1);
    assert!(message.contains("cannot attach to a stopped container"), "{message}");
}

/// The frames of a multiplexed stream: (stream, text).
fn frames(mut bytes: &[u8]) -> Vec<(u8, String)> {
    let mut found: Vec<(u8, String)> = vec![];
    while bytes.len() >= 8 {
        let length = u32::from_be_bytes(bytes[4..8].try_into().unwrap()) as usize;
        let text = String::from_utf8_lossy(&bytes[8..8 + length]).into_owned();
        assert_eq!(bytes[1..4], [0, 0, 0]);
        match found.last_mut() {
            Some((stream, known)) if *stream == bytes[0] => known.push_str(&text),
            _ => found.push((bytes[0], text)),
        }
        bytes = &bytes[8 + length..];
    }
    assert!(bytes.is_empty(), "half a frame");
    found
}

#[test]
fn hijack_with_and_without_upgrade() {
    let env = Env::with_busybox();
    for upgrade in [true, false] {
        let (id, _) = env.create(json!({"Image": "busybox", "Cmd": ["sh", "-c", "cat; echo late >&2"],
            "OpenStdin": true, "StdinOnce": true, "AttachStdin": true}));
        let mut stream = raw::connect(&env.socket());
        let extra = if upgrade { "Connection: Upgrade\r\nUpgrade: tcp\r\n" } else { "" };
        write!(stream, "POST /v1.51/containers/{id}/attach?stdin=1&stdout=1&stderr=1&stream=1 HTTP/1.1\r\nHost: d\r\n{extra}Content-Length: 0\r\n\r\n").unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let head = raw::read_head(&mut reader).unwrap();
        assert_eq!(head.status, if upgrade { 101 } else { 200 });
        // Only the answer to an upgrade tells the two kinds of stream apart.
        let kind = if upgrade { "multiplexed-stream" } else { "raw-stream" };
        assert_eq!(head.header("content-type"), Some(format!("application/vnd.docker.{kind}").as_str()));
        if upgrade {
            assert_eq!(head.header("upgrade").map(str::to_lowercase).as_deref(), Some("tcp"));
            assert_eq!(head.header("connection").map(str::to_lowercase).as_deref(), Some("upgrade"));
        }
        env.post(&format!("/containers/{id}/start"), &json!(null)).expect(204);
        stream.write_all(b"typed\n").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut rest = vec![];
        reader.read_to_end(&mut rest).unwrap();
        assert_eq!(frames(&rest), [(1, "typed\n".into()), (2, "late\n".into())]);
    }
}

#[test]
fn logs_come_first_if_asked() {
    let env = Env::with_busybox();
    let (id, _) =
        env.create(json!({"Image": "busybox", "Cmd": ["sh", "-c", "echo early; read x; echo $x"], "OpenStdin": true}));
    env.post(&format!("/containers/{id}/start"), &json!(null)).expect(204);
    eventually("early", || env.docker(["logs", &id]).out == "early\n");
    let mut stream = raw::connect(&env.socket());
    write!(stream, "POST /v1.51/containers/{id}/attach?stdin=1&stdout=1&stderr=1&stream=1&logs=1 HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n").unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    assert_eq!(raw::read_head(&mut reader).unwrap().status, 101);
    stream.write_all(b"now\n").unwrap();
    let mut rest = vec![];
    reader.read_to_end(&mut rest).unwrap();
    assert_eq!(frames(&rest), [(1, "early\nnow\n".into())]);
    // Without `stream` only what is in the log.
    let reply = env.post(&format!("/v1.51/containers/{id}/attach?stdout=1&logs=1"), &json!(null));
    assert_eq!(frames(&reply.body), [(1, "early\nnow\n".into())]);
}

#[test]
fn a_terminal_is_raw() {
    let env = Env::with_busybox();
    let (id, _) = env.create(json!({"Image": "busybox", "Cmd": ["echo", "plain"], "Tty": true}));
    let mut stream = raw::connect(&env.socket());
    write!(stream, "POST /v1.51/containers/{id}/attach?stdout=1&stderr=1&stream=1 HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n").unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let head = raw::read_head(&mut reader).unwrap();
    assert_eq!(head.header("content-type"), Some("application/vnd.docker.raw-stream"));
    env.post(&format!("/containers/{id}/start"), &json!(null)).expect(204);
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "plain\r\n");
}

#[test]
fn a_slow_reader_stalls_nobody() {
    let env = Env::with_busybox();
    let (id, _) = env.create(json!({"Image": "busybox", "Cmd": ["sh", "-c", "seq 1 500000; echo finished"]}));
    let mut stream = raw::connect(&env.socket());
    write!(stream, "POST /v1.51/containers/{id}/attach?stdout=1&stderr=1&stream=1 HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n").unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    assert_eq!(raw::read_head(&mut reader).unwrap().status, 101);
    env.post(&format!("/containers/{id}/start"), &json!(null)).expect(204);
    // Nothing is read from the attached stream, and the container still ends.
    env.docker(["wait", &id]).ok();
    assert!(env.docker(["logs", "--tail", "1", &id]).ok() == "finished\n");
}

/// A stream of the container `c1`, by hand.
fn attach_c1(env: &Env, what: &str) -> BufReader<UnixStream> {
    let mut stream = raw::connect(&env.socket());
    let path = format!("/containers/c1/attach?stream=1&{what}");
    write!(stream, "POST {path} HTTP/1.1\r\nHost: d\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\n").unwrap();
    let mut reader = BufReader::new(stream);
    assert_eq!(raw::read_head(&mut reader).unwrap().status, 101);
    reader
}

#[test]
fn a_reader_that_was_slow_gets_the_rest_while_the_program_is_silent() {
    let env = Env::with_busybox();
    let script = "read go; head -c 5000000 /dev/zero; echo done >&2; exec sleep 1000";
    env.run_detached(&["-i", "--name", "c1", "--network", "none"], &["sh", "-c", script]);
    let mut slow = attach_c1(&env, "stdout=1");
    let mut other = attach_c1(&env, "stdin=1&stderr=1");
    other.get_mut().write_all(b"go\n").unwrap();
    // By now the rest waits for it.
    let mut said = [0; 13];
    other.read_exact(&mut said).unwrap();
    let mut left = 5_000_000;
    while left > 0 {
        let mut header = [0; 8];
        slow.read_exact(&mut header).unwrap();
        let length = u32::from_be_bytes(header[4..].try_into().unwrap());
        slow.read_exact(&mut vec![0; length as usize]).unwrap();
        left -= length;
    }
}

#[test]
fn a_reader_that_stalls_too_long_is_told_so() {
    let env = Env::with_busybox();
    let script = "read go; head -c 20000000 /dev/zero; echo done >&2; exec sleep 1000";
    let id =
        env.run_detached(&["-i", "--name", "c1", "--network", "none", "--log-driver", "none"], &["sh", "-c", script]);
    // Nothing may wait on the disk beyond this; as if it were full.
    let monitor = env.role("monitor").into_iter().find(|seen| seen.arguments.contains(&id)).unwrap();
    let monitor = rustix::process::Pid::from_raw(monitor.pid).unwrap();
    let size = Rlimit { current: Some(1 << 20), maximum: Some(1 << 20) };
    rustix::process::prlimit(Some(monitor), Resource::Fsize, size).unwrap();
    let mut stalled = attach_c1(&env, "stdout=1");
    let mut other = attach_c1(&env, "stdin=1&stderr=1");
    other.get_mut().write_all(b"go\n").unwrap();
    // The container is not held up by it.
    let mut said = [0; 13];
    other.read_exact(&mut said).unwrap();
    assert_eq!(&said[8..], b"done\n");
    let mut got = Vec::new();
    stalled.read_to_end(&mut got).unwrap();
    assert!(got.len() < 20_000_000, "{}", got.len());
    let end = String::from_utf8_lossy(&got[got.len().saturating_sub(200)..]).into_owned();
    assert!(end.contains("the output was not read for so long that it is cut off here: File too large"), "{end:?}");
    assert_eq!(env.inspect("c1", "{{.State.Status}}"), "running");
}
