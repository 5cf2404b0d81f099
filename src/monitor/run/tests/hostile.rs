//! What goes wrong: starters that hang or are killed, clients that leave half-way, hosts without descriptors.

use super::*;
use crate::monitor::protocol::{Reply, Request};
use crate::sys::process;

/// The starter that the monitor has forked.
fn starter(f: &Fixture) -> i32 {
    let lock = std::fs::read_dir("/proc").expect("proc").flatten();
    let is_child = |pid: i32| {
        process::parent(pid).is_ok_and(|parent| monitor_pid(f) == Some(parent))
            && std::fs::read(format!("/proc/{pid}/cmdline")).is_ok()
    };
    let mut pids = lock.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.find(|pid| is_child(*pid)).expect("a starter")
}

fn monitor_pid(f: &Fixture) -> Option<i32> {
    let connection = f.connect();
    rustix::net::sockopt::socket_peercred(connection.as_fd()).ok().map(|peer| peer.pid.as_raw_nonzero().get())
}

#[track_caller]
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let since = Instant::now();
    while !condition() {
        assert!(since.elapsed().as_secs() < 20, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn conflict(reply: client::Result<Reply>) {
    assert!(matches!(reply, Ok(Reply::Failed { kind: Failure::Conflict, .. })), "{reply:?}");
}

#[test]
fn a_start_that_hangs_is_joined_and_ended() {
    for (signal, timeout_s) in [(9, -1), (15, 0)] {
        let f = monitor("!hang", |_| {});
        let (first, second) = (f.connect(), f.connect());
        first.ask(&Request::Start).expect("start");
        eventually("it is being started", || f.connect().is_starting());
        // A second one waits for it.
        second.ask(&Request::Start).expect("start");
        let starter = starter(&f);
        let stop = f.connect().stop(signal, timeout_s, false, true);
        assert!(matches!(stop, Err(Error::Failed { failure: Failure::Conflict, .. }) | Err(Error::Gone)), "{stop:?}");
        conflict(first.reply());
        conflict(second.reply());
        f.wait_gone();
        eventually("the starter has ended", || process::start_time(starter).is_err());
        assert_eq!((f.state().status, f.actions()), (Status::Created, vec![]));
        assert!(f.state().error.contains("stopped while it was being started"));
    }
}

#[test]
fn what_a_killed_starter_leaves_is_ended() {
    // A program that never ends is started by hand as a killed starter leaves it: a child of the monitor's that no
    // session owns, younger than the starter.
    let (mut says, theirs) = std::io::pipe().expect("pipe");
    let monitor = spawn::fork(|| {
        drop(spawn::become_subreaper());
        let since = process::ticks();
        let left = spawn::fork(|| {
            let child = spawn::fork(|| {
                std::thread::sleep(Duration::from_secs(1000));
                0
            });
            let _ = (&theirs).write_all(&child.expect("fork").to_ne_bytes());
            0
        });
        spawn::wait_for(left.expect("fork"));
        let settings = super::super::settings::Settings::of(&ContainerRecord::default());
        let life = super::super::life::Life::new(settings, Box::new(Plain(vec!["x".into()])), StateRecord::default());
        let (execs, children) = (super::super::execs::Execs::default(), process::children());
        // One that is older than the starter is left alone.
        super::super::children::end_strays(&children, since + 1_000, &life, &execs, None, &[]);
        let alive = spawn::reap().is_none();
        super::super::children::end_strays(&children, since, &life, &execs, None, &[]);
        let ended = loop {
            match spawn::reap() {
                Some(ended) => break ended.code,
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        i32::from(!(alive && children.len() == 1 && ended == 137))
    });
    let mut pid = [0; 4];
    says.read_exact(&mut pid).expect("its process id");
    assert_eq!(spawn::wait_for(monitor.expect("fork")), Some(0));
    assert!(process::start_time(i32::from_ne_bytes(pid)).is_err());
}

#[test]
fn a_client_that_leaves_before_its_stream_leaves_no_zero() {
    let f = monitor("sleep 100", |_| {});
    f.connect().start().expect("start");
    let id = f.exec_record("true", false);
    let announced = f.connect().exec(&id, None, false).expect("announce");
    // It counts as used from here on, in every inspection.
    assert!(f.exec_state(&id).running);
    drop(announced);
    eventually("it has an end", || !f.exec_state(&id).running);
    assert_eq!(f.exec_state(&id).exit_code, Some(126));
    assert!(matches!(f.connect().exec(&id, None, false), Err(Error::Failed { failure: Failure::Conflict, .. })));
    assert_eq!(f.actions(), ["start"]);
}

#[test]
fn without_descriptors_the_refusal_comes_before_the_stream() {
    let f = monitor("sleep 100", |_| {});
    f.connect().start().expect("start");
    let pid = rustix::process::Pid::from_raw(monitor_pid(&f).expect("monitor")).expect("pid");
    let limit = |current| rustix::process::Rlimit { current: Some(current), maximum: Some(1024) };
    let set = |current| rustix::process::prlimit(Some(pid), rustix::process::Resource::Nofile, limit(current));
    let (id, connection) = (f.exec_record("echo ok", false), f.connect());
    let used = std::fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())).expect("descriptors").count() as u64;
    set(used + 2).expect("limit");
    match connection.exec(&id, None, false) {
        Err(Error::Failed { failure: Failure::System, message }) => assert!(message.contains("files"), "{message}"),
        other => panic!("{other:?}"),
    }
    // Who comes when there is not even one left is told so, too.
    let mut clients = Vec::new();
    let refused = loop {
        match client::connect(&f.home, &f.id) {
            Ok(client) => clients.push(client),
            Err(refused) => break refused,
        }
        assert!(clients.len() < 20);
    };
    assert!(refused.to_string().contains("cannot take one more client"), "{refused}");
    drop(clients);
    // Nothing has been recorded: it can be started when there are some.
    set(1024).expect("limit");
    let (ours, theirs) = UnixStream::pair().expect("pair");
    f.connect().exec(&id, None, false).expect("announce").hand_over(theirs.as_fd(), b"").expect("hand over");
    drop(theirs);
    assert_eq!(frames(&read_all(ours))[0], "ok\n");
}

#[test]
fn a_session_without_streams_answers_at_once() {
    let f = monitor("sleep 100", |_| {});
    f.connect().start().expect("start");
    let id = random_id();
    let cmd = ["sleep", "1000"].map(str::to_owned).into();
    let record = ExecRecord { id: id.clone(), cmd, ..ExecRecord::default() };
    let dir = f.home.container(&f.id).exec(&id);
    std::fs::create_dir_all(&dir).expect("directory");
    atomic::write_json(&dir.join("exec.json"), &record, Durability::Process).expect("record");
    let (ours, theirs) = UnixStream::pair().expect("pair");
    ours.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
    f.connect().exec(&id, None, false).expect("announce").hand_over(theirs.as_fd(), b"").expect("hand over");
    drop(theirs);
    assert_eq!(read_all(ours), b"");
    assert!(f.exec_state(&id).running);
}

#[test]
fn records_of_sessions_expire() {
    let f = monitor("sleep 100", |_| {});
    f.connect().start().expect("start");
    let (ended, stream) = f.exec("true", false);
    read_all(stream);
    let (running, _stream) = f.exec("sleep 100", false);
    let files = super::super::files::Files::new(f.home.clone(), &f.id);
    let there = |id: &str| f.home.container(&f.id).exec(id).exists();
    assert!(files.expire_execs(Duration::from_secs(100)));
    assert!(there(&ended) && there(&running));
    assert!(!files.expire_execs(Duration::ZERO));
    assert!(!there(&ended) && there(&running));
}

#[test]
fn a_panic_leaves_a_trace() {
    let f = monitor("!panic", |_| {});
    f.connect().start().expect("start");
    f.wait_gone();
    let log = std::fs::read_to_string(f.home.container(&f.id).run.join("monitor.log")).expect("log");
    assert!(log.contains("as ordered") && log.contains("tests/mod.rs"), "{log}");
    eventually("it says why", || f.state().error.contains("the container's monitor failed"));
}

#[test]
fn a_stop_is_told_before_the_end() {
    let f = monitor("sleep 100", |_| {});
    f.connect().start().expect("start");
    assert!(f.connect().tells_of_stops());
    f.connect().stop(15, 10, false, true).expect("stop");
    f.wait_gone();
    assert_eq!(f.actions(), ["start", "stop", "die"]);
}

#[test]
fn a_terminal_that_is_closed_for_a_moment_goes_on() {
    let script = "t=$(tty); exec 0</dev/null 1>/dev/null 2>&1; sleep 0.3; echo again >$t; sleep 0.3; echo end >$t";
    let f = monitor(script, |record| record.config.tty = true);
    let stream = f.attach(all(false));
    f.connect().start().expect("start");
    assert_eq!(read_all(stream), b"again\r\nend\r\n");
    f.wait_gone();
    assert_eq!(f.log(), "again\r\nend\r\n");
}
