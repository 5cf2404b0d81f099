//! Monitors and clients of other versions.

use std::os::fd::AsFd;

use serde_json::Value;

use super::*;
use crate::monitor::protocol::{Request, VERSION};
use crate::sys::fdpass;

const VERSIONS: [&str; 2] = [include_str!("../../transcript-0.txt"), include_str!("../../transcript-1.txt")];

/// What a version said: connections of lines, each of a direction and a packet.
fn transcript(version: usize, ids: &str) -> Vec<Vec<(char, String)>> {
    let text = VERSIONS[version].replace("EXEC", ids);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut connections = vec![Vec::new()];
    for line in lines {
        match line.split_once(' ') {
            None => connections.push(Vec::new()),
            Some((direction, packet)) => {
                let direction = direction.chars().next().expect("a direction");
                connections.last_mut().expect("one").push((direction, packet.to_owned()));
            }
        }
    }
    connections.retain(|connection| !connection.is_empty());
    connections
}

/// The bytes of a packet, and whether a descriptor comes with it.
fn packet(text: &str) -> (Vec<u8>, bool) {
    let (text, fd) = match text.strip_suffix(" FD") {
        Some(text) => (text, true),
        None => (text, false),
    };
    match text.split_once(" NUL ") {
        Some((message, bytes)) => ([message.as_bytes(), b"\0", bytes.as_bytes()].concat(), fd),
        None => (text.as_bytes().to_vec(), fd),
    }
}

fn json(bytes: &[u8]) -> Value {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    serde_json::from_slice(&bytes[..end]).unwrap_or_else(|err| panic!("{err}: {}", String::from_utf8_lossy(bytes)))
}

#[test]
fn an_engine_of_an_older_version_is_understood() {
    (0..VERSIONS.len()).for_each(replay);
}

fn replay(version: usize) {
    let f = monitor("sleep 100", |_| {});
    let exec = random_id();
    let mut kept = Vec::new();
    for connection in transcript(version, &exec) {
        let socket = fdpass::connect(&f.home.container(&f.id).monitor_socket()).expect("connect");
        for (direction, text) in connection {
            let (bytes, fd) = packet(&text.replace("VERSION", &VERSION.to_string()));
            if direction == '>' {
                let (ours, theirs) = UnixStream::pair().expect("pair");
                let fds = if fd { vec![theirs.as_fd()] } else { vec![] };
                fdpass::send(&socket, &[&bytes], &fds).expect("send");
                kept.push(ours);
                continue;
            }
            let mut buf = [0; 4096];
            let got = fdpass::recv(&socket, &mut buf).expect("answer");
            let answer = json(&buf[..got.len]);
            match answer["Running"]["pid"].as_i64() {
                Some(pid) => {
                    assert!(pid > 0 && text.contains("PID"), "{text}: {answer}");
                    // A start removes the records of the run before.
                    f.exec_record_of(&exec, "cat; sleep 100", false);
                }
                None => assert_eq!(answer, json(&bytes), "{text}"),
            }
        }
    }
    f.wait_gone();
}

/// Plays a monitor of an older version that is asked what stands in the transcript.
fn old_monitor(home: &Home, id: &str, version: usize, exec: &str) -> std::thread::JoinHandle<()> {
    std::fs::create_dir_all(home.container(id).run).expect("directory");
    let listener = fdpass::listen(&home.container(id).monitor_socket()).expect("listen");
    rustix::io::ioctl_fionbio(&listener, false).expect("blocking");
    let connections = transcript(version, exec);
    std::thread::spawn(move || {
        let next = || {
            let socket = fdpass::accept(listener.as_fd()).expect("accept").expect("somebody");
            rustix::io::ioctl_fionbio(&socket, false).expect("blocking");
            socket
        };
        let mut buf = vec![0; 100_000];
        for connection in connections {
            let mut socket = next();
            if version == 0 {
                // A greeting: it does not know that, and hangs up.
                let got = fdpass::recv(&socket, &mut buf).expect("greeting");
                assert_eq!(json(&buf[..got.len])["Hello"]["version"], VERSION);
                drop(socket);
                socket = next();
            }
            for (direction, text) in connection {
                let text = text.replace("VERSION", &version.to_string());
                let (bytes, fd) = packet(&text);
                if direction == '<' {
                    let text = String::from_utf8(bytes).expect("text").replace("PID", "77");
                    fdpass::send(&socket, &[text.as_bytes()], &[]).expect("send");
                    continue;
                }
                let got = fdpass::recv(&socket, &mut buf).expect("request");
                assert_eq!(got.fds.len(), usize::from(fd), "{text}");
                let (said, wanted) = (json(&buf[..got.len]), json(&bytes));
                // New members may be there: they are passed over.
                let Some((name, members)) = wanted.as_object().and_then(|object| object.iter().next()) else {
                    assert_eq!(said, wanted);
                    continue;
                };
                for (member, value) in members.as_object().expect("members") {
                    let is = &said[name][member];
                    assert!(is == value || name == "Hello" && *is == VERSION, "{text}: {said}");
                }
            }
        }
    })
}

#[test]
fn a_monitor_of_version_0_is_understood() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let home = Home { data: dir.path().join("data"), run: dir.path().join("run") };
    let (id, exec) = (random_id(), random_id());
    let playing = old_monitor(&home, &id, 0, &exec);
    let connect = || client::connect(&home, &id).expect("connect").expect("lives");
    let (_ours, stream) = UnixStream::pair().expect("pair");
    let failure = |result: Result<i32, Error>| match result {
        Err(Error::Failed { failure, .. }) => failure,
        other => panic!("{other:?}"),
    };
    connect().attach(all(false)).expect("announce").hand_over(stream.as_fd(), b"").expect("hand over");
    let keys = Attach { detach_keys: "nokey".into(), ..all(false) };
    assert_eq!(failure(connect().attach(keys).map(|_| 0)), Failure::Invalid);
    connect().resize(None, 30, 90).expect("resize");
    assert_eq!(failure(connect().signal(10).map(|()| 0)), Failure::Conflict);
    assert_eq!(connect().start().expect("start"), 77);
    assert_eq!(failure(connect().start()), Failure::AlreadyRunning);
    assert_eq!(failure(connect().exec("nope", None, false).map(|_| 0)), Failure::NotFound);
    // The transcript's three bytes of early input are too few for this client to send them apart.
    let connection = connect();
    assert!(!connection.is_starting() && !connection.tells_of_stops());
    let mut early = vec![b'x'; crate::monitor::protocol::MAX_BYTES];
    early.push(b'y');
    connection.exec(&exec, None, false).expect("announce").hand_over(stream.as_fd(), &early).expect("hand over");
    assert_eq!(failure(connect().exec(&exec, None, false).map(|_| 0)), Failure::Conflict);
    assert_eq!(connect().stop(9, -1, false, true).expect("stop"), 137);
    playing.join().expect("all as in the transcript");
}

#[test]
fn a_monitor_of_version_1_is_understood_and_not_asked_for_more() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let home = Home { data: dir.path().join("data"), run: dir.path().join("run") };
    let (id, exec) = (random_id(), random_id());
    let playing = old_monitor(&home, &id, 1, &exec);
    let connect = || client::connect(&home, &id).expect("connect").expect("lives");
    let (_ours, stream) = UnixStream::pair().expect("pair");
    let connection = connect();
    let refused = connection.disconnect("n").expect_err("too old");
    assert!(refused.to_string().contains("restart the container"), "{refused}");
    connection.attach(all(false)).expect("announce").hand_over(stream.as_fd(), b"").expect("hand over");
    assert_eq!(connect().start().expect("start"), 77);
    let connection = connect();
    assert!(connection.is_running() && connection.tells_of_stops());
    connection.exec(&exec, None, false).expect("announce").hand_over(stream.as_fd(), b"").expect("hand over");
    assert_eq!(connect().stop(9, -1, false, true).expect("stop"), 137);
    playing.join().expect("all as in the transcript");
}

#[test]
fn a_request_of_a_later_version_is_refused_in_words() {
    let f = monitor("sleep 100", |_| {});
    let connection = f.connect();
    fdpass::send(&connection, &[br#"{"Teleport":{"to":"Mars"}}"#], &[]).expect("send");
    match connection.reply().expect("an answer") {
        crate::monitor::protocol::Reply::Failed { kind: Failure::Invalid, message } => {
            assert!(message.contains("from before an upgrade"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    // And it goes on.
    connection.ask(&Request::Hello { version: VERSION + 7 }).expect("ask");
    assert!(connection.reply().is_ok());
}
