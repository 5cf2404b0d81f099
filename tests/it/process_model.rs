//! Who descends from whom, and who survives whom. The API is killed at its worst moments; containers do not notice.

use std::io::{BufReader, Read, Write};
use std::time::Duration;

use serde_json::json;

use super::harness::{Env, Seen};
use super::process::{Process, eventually};
use super::raw;

#[test]
fn a_monitor_descends_from_no_api_process() {
    let env = Env::with_busybox();
    let id = env.run_detached(&[], &["sleep", "1000"]);
    let api = env.server.as_ref().unwrap().pid() as i32;
    let init: i32 = env.inspect(&id, "{{.State.Pid}}").parse().unwrap();
    let line = Seen::of(init).unwrap().ancestors();
    let monitors: Vec<i32> = env.role("monitor").iter().map(|seen| seen.pid).collect();
    assert_eq!(monitors.len(), 1);
    assert_eq!(line[0], monitors[0], "the container's parent is its monitor");
    assert!(!line.contains(&api), "{line:?}");
    for role in ["monitor", "holder"] {
        for seen in env.role(role) {
            assert!(!seen.ancestors().contains(&api), "{seen:?}");
        }
    }
    // One thread: no runtime, no pool.
    assert_eq!(std::fs::read_dir(format!("/proc/{}/task", monitors[0])).unwrap().count(), 1);
}

#[test]
fn run_with_input_survives_the_api() {
    let mut env = Env::with_busybox();
    let (id, _) = env.create(
        json!({"Image": "busybox", "Cmd": ["sh", "-c", "cat; echo end; exit 6"], "OpenStdin": true, "StdinOnce": true}),
    );
    let mut stream = raw::connect(&env.socket());
    write!(stream, "POST /v1.51/containers/{id}/attach?stdin=1&stdout=1&stderr=1&stream=1 HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n").unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    assert_eq!(raw::read_head(&mut reader).unwrap().status, 101);
    env.post(&format!("/containers/{id}/start"), &json!(null)).expect(204);
    stream.write_all(b"before\n").unwrap();
    let mut frame = [0; 15];
    reader.read_exact(&mut frame).unwrap();
    assert_eq!(&frame[8..], b"before\n");

    env.kill_server();
    stream.write_all(b"after\n").unwrap();
    let mut frame = [0; 14];
    reader.read_exact(&mut frame).unwrap();
    assert_eq!(&frame[8..], b"after\n");
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut rest = vec![];
    reader.read_to_end(&mut rest).unwrap();
    assert_eq!(&rest[8..], b"end\n");

    env.serve();
    assert_eq!(env.docker(["wait", &id]).ok(), "6\n");
    assert_eq!(env.docker(["logs", &id]).ok(), "before\nafter\nend\n");
}

#[test]
fn the_command_lines_own_stream_survives_the_api() {
    let mut env = Env::with_busybox();
    let mut docker = env.docker_start(["run", "-i", "--name", "c1", "busybox", "cat"]);
    docker.send(b"before\n");
    docker.out.wait_for("before\n");
    // Output may be there before the answer to the start is: without that the client itself gives up.
    std::thread::sleep(Duration::from_millis(500));
    env.kill_server();
    docker.send(b"after\n");
    docker.out.wait_for("after\n");
    drop(docker.stdin.take());
    env.serve();
    assert_eq!(env.docker(["wait", "c1"]).ok(), "0\n");
    assert_eq!(env.docker(["logs", "c1"]).ok(), "before\nafter\n");
}

#[test]
fn exec_survives_the_api() {
    let mut env = Env::with_busybox();
    env.run_detached(&["--name", "c1"], &["sleep", "1000"]);
    let body =
        json!({"Cmd": ["sh", "-c", "cat; exit 11"], "AttachStdin": true, "AttachStdout": true, "AttachStderr": true});
    let id = env.post("/v1.51/containers/c1/exec", &body).expect(201).json()["Id"].as_str().unwrap().to_owned();
    let mut stream = raw::connect(&env.socket());
    let body = r#"{"Detach":false,"Tty":false}"#;
    write!(stream, "POST /v1.51/exec/{id}/start HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    assert_eq!(raw::read_head(&mut reader).unwrap().status, 101);
    stream.write_all(b"one\n").unwrap();
    let mut frame = [0; 12];
    reader.read_exact(&mut frame).unwrap();

    env.kill_server();
    stream.write_all(b"two\n").unwrap();
    reader.read_exact(&mut frame).unwrap();
    assert_eq!(&frame[8..], b"two\n");
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut rest = vec![];
    reader.read_to_end(&mut rest).unwrap();

    env.serve();
    assert_eq!(env.get(&format!("/v1.51/exec/{id}/json")).expect(200).json()["ExitCode"], 11);
    env.docker(["exec", "c1", "true"]).ok();
}

#[test]
fn following_a_log_ends_but_the_log_does_not() {
    let mut env = Env::with_busybox();
    env.run_detached(&["--name", "c1"], &["sh", "-c", "for i in $(seq 1 30); do echo $i; sleep 0.1; done; exit 4"]);
    let follower = env.docker_start(["logs", "-f", "c1"]);
    follower.out.wait_for("3\n");
    env.kill_server();
    follower.finish();
    env.serve();
    assert_eq!(env.docker(["wait", "c1"]).ok(), "4\n");
    let wanted: String = (1..=30).map(|number| format!("{number}\n")).collect();
    assert_eq!(env.docker(["logs", "c1"]).ok(), wanted);
}

#[test]
fn the_api_may_die_at_any_instant_of_a_run() {
    let mut env = Env::with_busybox();
    for delay in 0..12 {
        let name = format!("c{delay}");
        let mut docker =
            env.docker_start(["run", "-d", "--name", &name, "busybox", "sh", "-c", "sleep 0.3; echo done; exit 5"]);
        std::thread::sleep(Duration::from_millis(delay * 12));
        env.kill_server();
        docker.kill();
        env.serve();
        // Whatever stage it was in, the record is whole: it can be listed, looked at, waited for and removed.
        if env.get(&format!("/containers/{name}/json")).status == 200 {
            let status = env.inspect(&name, "{{.State.Status}}");
            if status != "created" {
                assert_eq!(env.docker(["wait", &name]).ok(), "5\n", "after {delay}");
                assert_eq!(env.docker(["logs", &name]).ok(), "done\n");
            }
            env.docker(["rm", "-f", &name]).ok();
        }
        assert_eq!(env.docker(["ps", "-aq"]).ok(), "");
    }
}

#[test]
fn a_killed_monitor_is_noticed() {
    let env = Env::with_busybox();
    let id = env.run_detached(&["--name", "c1"], &["sleep", "1000"]);
    let init: i32 = env.inspect("c1", "{{.State.Pid}}").parse().unwrap();
    let monitor = env.role("monitor")[0].pid;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(monitor), nix::sys::signal::Signal::SIGKILL).unwrap();
    eventually("the next look ends the container", || env.inspect("c1", "{{.State.Status}}") == "exited");
    assert_eq!(env.inspect("c1", "{{.State.ExitCode}}"), "137");
    assert_ne!(env.inspect("c1", "{{.State.Error}}"), "");
    eventually("its process is gone", || Seen::of(init).is_none());
    let dead: Vec<_> =
        env.past_events(&json!({"event": ["die"]})).iter().map(|event| event["Actor"]["ID"].clone()).collect();
    assert_eq!(dead, [id.as_str()]);
    env.docker(["start", "c1"]).ok();
    assert_eq!(env.inspect("c1", "{{.State.Running}}"), "true");
}

#[test]
fn a_killed_holder_is_replaced() {
    let env = Env::with_busybox();
    env.run_detached(&["--name", "c1"], &["sh", "-c", "while :; do echo tick; sleep 0.1; done"]);
    for holder in env.role("holder") {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(holder.pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    assert_eq!(env.docker(["run", "--rm", "busybox", "echo", "new"]).ok(), "new\n");
    env.docker(["exec", "c1", "true"]).ok();
    // Another process, too, finds its way into the same user namespace.
    assert!(env.pierless(["ps", "-q"]).ok().lines().count() == 1);
    env.docker(["rm", "-f", "c1"]).ok();
}

#[test]
fn when_nothing_runs_no_process_is_left() {
    let env = Env::bare();
    std::fs::create_dir_all(env.run_dir()).unwrap();
    let mut server = Process::start(env.command(env.program()).args(["serve", "--idle-timeout", "0.5"]));
    eventually("the API answers", || std::os::unix::net::UnixStream::connect(env.socket()).is_ok());
    env.docker(["load", "-q", "-i", super::fixtures::busybox().to_str().unwrap()]).ok();
    env.docker(["run", "--rm", "busybox", "true"]).ok();
    let id = env.run_detached(&[], &["sleep", "3"]);
    eventually("the API goes idle while the container runs", || !server.is_running());
    assert_eq!(server.finish().code, 0);
    assert_eq!(env.role("monitor").len(), 1);
    eventually("all are gone", || env.processes().is_empty());
    assert!(env.data().join("containers").join(id).exists());
}

#[test]
fn mounts_are_nobodys_after_the_end() {
    let env = Env::with_busybox();
    let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    env.run_detached(&["--name", "c1"], &["sleep", "1000"]);
    let api = env.server.as_ref().unwrap().pid();
    let mounts = std::fs::read_to_string(format!("/proc/{api}/mountinfo")).unwrap();
    assert!(!mounts.contains("rootfs"), "the API holds a container's mount: {mounts}");
    env.docker(["rm", "-f", "c1"]).ok();
    assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
}

#[test]
fn hundreds_wait_and_follow_at_once() {
    let env = Env::with_busybox();
    env.run_detached(&["--name", "c1"], &["sh", "-c", "echo here; sleep 1000"]);
    // More than a user may have instances of inotify.
    let calls = [
        "POST /containers/c1/wait",
        "GET /containers/c1/logs?follow=1&stdout=1",
        "GET /events?filters={%22event%22:[%22die%22]}",
    ];
    let mut streams: Vec<_> = (0..450)
        .map(|n| {
            let mut stream = raw::connect(&env.socket());
            write!(stream, "{} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n", calls[n % 3]).unwrap();
            let mut reader = BufReader::new(stream);
            assert_eq!(raw::read_head(&mut reader).unwrap().status, 200, "{n}");
            reader
        })
        .collect();
    env.docker(["kill", "c1"]).ok();
    for (n, reader) in streams.iter_mut().enumerate().filter(|(n, _)| n % 3 < 2) {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert!(text.contains(if n % 3 == 0 { "137" } else { "here" }), "{n}: {text}");
    }
    for reader in streams.iter_mut().skip(2).step_by(3) {
        let mut text = [0; 400];
        let read = reader.read(&mut text).unwrap();
        assert!(read > 0);
    }
    drop(streams);
    assert_eq!(env.docker(["run", "--rm", "busybox", "echo", "on"]).ok(), "on\n");
}
