//! A thousand clients at once, of every kind that stays: none is cut short, and nothing of them is left.

use std::fs;
use std::io::{BufReader, Read, Write};
use std::os::unix::net::UnixStream;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use super::harness::Env;
use super::process::eventually;
use super::raw;

const CLIENTS: usize = 1000;

/// The kinds of client, and what each has read when the container has ended.
const KINDS: [(&str, &str); 5] = [
    ("POST /containers/NAME/wait", "\"StatusCode\":137"),
    ("POST /containers/NAME/wait?condition=next-exit", "\"StatusCode\":137"),
    ("GET /containers/NAME/logs?follow=1&stdout=1", "here\n"),
    ("POST /containers/NAME/attach?stream=1&logs=1&stdout=1", "here\n"),
    ("GET /events?filters={%22event%22:[%22die%22],%22container%22:[%22NAME%22]}", "\"exitCode\":\"137\""),
];

fn many_files() {
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }).unwrap();
}

/// A client of the kind `n`; its answer has begun.
fn client(env: &Env, n: usize, name: &str) -> BufReader<UnixStream> {
    let mut stream = raw::connect(&env.socket());
    let request = KINDS[n % KINDS.len()].0.replace("NAME", name);
    write!(stream, "{request} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n").unwrap();
    let mut reader = BufReader::new(stream);
    let head = raw::read_head(&mut reader).unwrap();
    assert_eq!(head.status, 200, "{n}: {request}");
    reader
}

/// What a client of the kind `n` still gets. Events go on for ever: one will do.
fn rest(n: usize, reader: &mut BufReader<UnixStream>) -> String {
    let mut text = Vec::new();
    let wanted = KINDS[n % KINDS.len()].1.as_bytes();
    let mut chunk = [0; 4096];
    loop {
        let is_events = n % KINDS.len() == 4;
        if is_events && text.windows(wanted.len()).any(|part| part == wanted) {
            break;
        }
        match reader.read(&mut chunk).unwrap_or_else(|error| panic!("{n}: {error}")) {
            0 => break,
            length => text.extend_from_slice(&chunk[..length]),
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn descriptors(pid: i32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    entries.filter_map(|entry| Some(fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned())).collect()
}

/// What is resident and not a file's, in KiB.
fn resident(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_thousand_wait_and_follow() {
    many_files();
    let env = Env::with_busybox();
    let names: Vec<String> = (0..10).map(|n| format!("c{n}")).collect();
    for name in &names {
        env.run_detached(&["--name", name, "--network", "none"], &["sh", "-c", "echo here; exec sleep 1000"]);
    }
    eventually("all have printed", || names.iter().all(|name| env.docker(["logs", name]).out == "here\n"));
    let pid = env.role("serve")[0].pid;
    drop((0..KINDS.len()).map(|n| client(&env, n, "c0")).collect::<Vec<_>>());
    let before = (descriptors(pid).len(), resident(pid));
    // Half of them against one container, the others against ten.
    let name = |n: usize| &names[if n < CLIENTS / 2 { 0 } else { n % names.len() }];
    let mut clients: Vec<_> = (0..CLIENTS).map(|n| client(&env, n, name(n))).collect();
    let open = descriptors(pid);
    let peak = resident(pid);
    println!("{} descriptors, {peak} KiB for {CLIENTS} clients", open.len());
    assert_eq!(open.iter().filter(|what| what.contains("inotify")).count(), 1);
    let kill: Vec<&str> = std::iter::once("kill").chain(names.iter().map(String::as_str)).collect();
    env.docker(kill).ok();
    for (n, reader) in clients.iter_mut().enumerate() {
        let text = rest(n, reader);
        assert!(text.contains(KINDS[n % KINDS.len()].1), "{n} of {}: {text:?}", name(n));
    }
    drop(clients);
    eventually("their descriptors are closed", || descriptors(pid).len() <= before.0);
    eventually("their memory is given back", || resident(pid) < peak / 2);
    println!("{} KiB before, {} after", before.1, resident(pid));
    env.docker(["rm", "c0"]).ok();
}

#[test]
fn who_waits_for_a_killed_monitor_is_told() {
    let env = Env::with_busybox();
    for round in 0..4 {
        let (temporary, name) = (round % 2 == 1, format!("c{round}"));
        let mut options = vec!["--name", &name, "--network", "none"];
        options.extend(temporary.then_some("--rm"));
        env.run_detached(&options, &["sh", "-c", "echo here; exec sleep 1000"]);
        eventually("it has printed", || env.docker(["logs", &name]).out == "here\n");
        let mut clients: Vec<_> = (0..100).map(|n| client(&env, n, &name)).collect();
        for monitor in env.role("monitor") {
            let pid = nix::unistd::Pid::from_raw(monitor.pid);
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        }
        // Nobody else looks.
        for (n, reader) in clients.iter_mut().enumerate() {
            let text = rest(n, reader);
            // A stream that the monitor sends itself ends with it.
            assert!(n % KINDS.len() == 3 || text.contains(KINDS[n % KINDS.len()].1), "{n}: {text:?}");
        }
        let deaths = env.past_events(&json!({"container": [name], "event": ["die"]}));
        assert_eq!(deaths.len(), 1, "{deaths:?}");
        assert_eq!(env.get(&format!("/containers/{name}/json")).status, if temporary { 404 } else { 200 });
    }
}

#[test]
fn at_a_limit_the_client_is_told() {
    let env = Env::with_busybox();
    env.run_detached(&["--name", "c0", "--network", "none"], &["sh", "-c", "echo here; exec sleep 1000"]);
    let monitor = rustix::process::Pid::from_raw(env.role("monitor")[0].pid).unwrap();
    let set = |current| {
        let limit = Rlimit { current: Some(current), ..rustix::process::getrlimit(Resource::Nofile) };
        rustix::process::prlimit(Some(monitor), Resource::Nofile, limit).unwrap();
    };
    let used = descriptors(monitor.as_raw_nonzero().get()).len() as u64;
    set(used + 4);
    let mut stay = Vec::new();
    let refused = loop {
        let mut stream = raw::connect(&env.socket());
        write!(stream, "POST /containers/c0/wait HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n").unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = raw::read_head(&mut reader).unwrap();
        if head.status != 200 {
            head.body = raw::read_body(&mut reader, &head).unwrap();
            break head;
        }
        stay.push(reader);
        assert!(stay.len() < 10, "nobody is refused");
    };
    assert_eq!(refused.status, 500);
    assert!(refused.message().contains("cannot take one more client"), "{}", refused.message());
    for what in ["logs?follow=1&stdout=1", "attach?stream=1&stdout=1"] {
        let method = if what.starts_with("logs") { "GET" } else { "POST" };
        let reply = raw::request(&env.socket(), method, &format!("/containers/c0/{what}"), "", b"");
        assert_eq!(reply.status, 500, "{what}: {}", reply.text());
    }
    // Those who wait already are not cut short.
    set(1024);
    env.docker(["kill", "c0"]).ok();
    for mut reader in stay {
        let text = rest(0, &mut reader);
        assert!(text.contains("\"StatusCode\":137"), "{text}");
    }
}

#[test]
fn what_is_not_started_is_not_waited_for() {
    let env = Env::with_busybox();
    env.docker(["create", "--name", "c0", "busybox", "echo", "here"]).ok();
    // Its monitor lives for who is attached.
    let attached = client(&env, 3, "c0");
    env.get("/containers/c0/logs?follow=1&stdout=1").expect(200);
    assert_eq!(env.post("/containers/c0/wait", &json!(null)).expect(200).json()["StatusCode"], 0);
    let mut next = client(&env, 1, "c0");
    env.docker(["start", "c0"]).ok();
    let mut text = String::new();
    next.read_to_string(&mut text).unwrap();
    assert!(text.contains("\"StatusCode\":0"), "{text}");
    drop(attached);
}
