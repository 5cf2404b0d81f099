//! The whole monitor with a launcher that runs plain programs instead of containers.

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use super::launch::{Launched, Launcher, Refusal, Started, Stdio};
use super::setup;
use crate::model::ids::random_id;
use crate::monitor::client::{self, Connection, Error};
use crate::monitor::protocol::{Attach, Failure};
use crate::state::atomic::{self, Durability};
use crate::state::container::{ContainerRecord, StateRecord, Status};
use crate::state::events::Reader;
use crate::state::exec::{ExecRecord, ExecState};
use crate::state::lock::Lock;
use crate::state::logfile::{LogReader, Selection};
use crate::state::paths::Home;
use crate::state::store;
use crate::sys::{pty, spawn};

mod hostile;
mod versions;

#[derive(Debug)]
struct Plain(Vec<String>);

/// A program that the launcher does not start: its start hangs.
const HANG: &str = "hang";
/// A program whose start is told late: when there is a file `heard` in the folder that is named with it. It speaks at
/// once, and then makes a file `spoken` there.
const LATE: &str = "late";
/// A program after whose end the monitor panics.
const PANIC: &str = "panic";

impl Launcher for Plain {
    fn start(&self, stdio: Stdio) -> Result<Launched, Refusal> {
        match self.0[0].as_str() {
            HANG => std::thread::sleep(Duration::from_secs(1000)),
            LATE => {
                let dir = &self.0[1];
                let script = format!("echo ready; touch {dir}/spoken; exec sleep 1000");
                let started = run(&["sh", "-c", &script].map(str::to_owned), stdio)?;
                until(&format!("{dir}/heard"));
                return Ok(started.into());
            }
            PANIC => return run(&["true".to_owned()], stdio).map(Launched::from),
            _ => {}
        }
        run(&self.0, stdio).map(Launched::from)
    }
    fn exec(
        &self,
        record: &ExecRecord,
        _init: i32,
        stdio: Stdio,
        wanted: &dyn Fn() -> bool,
    ) -> Result<Started, Refusal> {
        if wanted() { run(&record.cmd, stdio) } else { Err(Refusal::system("not wanted")) }
    }
    fn delete(&self) {
        assert!(self.0[0] != PANIC, "as ordered");
    }
}

fn run(words: &[String], stdio: Stdio) -> Result<Started, Refusal> {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    let (streams, terminal) = match stdio {
        Stdio::Pipes(pipes) => (pipes, None),
        Stdio::Terminal(size) => {
            let (master, slave) = pty::open().map_err(Refusal::system)?;
            if let Some((rows, columns)) = size {
                pty::resize(&master, rows, columns).map_err(Refusal::system)?;
            }
            let copy = || slave.try_clone().map_err(Refusal::system);
            ([copy()?, copy()?, copy()?], Some(master))
        }
    };
    let [input, out, err] = streams;
    let child = command.stdin(input).stdout(out).stderr(err).process_group(0).spawn();
    let child = child.map_err(|error| Refusal { failure: Failure::CommandNotFound, message: error.to_string() })?;
    Ok(Started::new(child.id().cast_signed(), terminal))
}

/// Waits until there is such a file.
fn until(file: &str) {
    let since = Instant::now();
    while !std::path::Path::new(file).exists() {
        assert!(since.elapsed().as_secs() < 60, "no {file}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

struct Fixture {
    _dir: tempfile::TempDir,
    home: Home,
    id: String,
}

/// A container of `sh -c script`, and its monitor in a process of its own.
fn monitor(script: &str, change: impl FnOnce(&mut ContainerRecord)) -> Fixture {
    let words: Vec<String> = match script.strip_prefix('!') {
        Some(program) => program.split(' ').map(str::to_owned).collect(),
        None => ["sh", "-c", script].map(str::to_owned).into(),
    };
    let dir = tempfile::tempdir().expect("temporary directory");
    let home = Home { data: dir.path().join("data"), run: dir.path().join("run") };
    let id = random_id();
    let mut record = ContainerRecord { id: id.clone(), name: "c".into(), image: "img".into(), ..Default::default() };
    change(&mut record);
    std::fs::create_dir_all(home.container(&id).data).expect("directory");
    store::reserve_name(&home, "c", &id).expect("name");
    store::save(&home, &record).expect("record");
    let fixture = Fixture { _dir: dir, home, id };
    fixture.launch(words);
    fixture
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let stop = crate::monitor::protocol::Request::Stop { signal: 9, timeout_s: -1, keep: false, tell: false };
        if let Ok(Some(connection)) = client::connect(&self.home, &self.id) {
            let _ = connection.ask(&stop);
        }
    }
}

impl Fixture {
    fn launch(&self, words: Vec<String>) {
        let (mut ready, theirs) = std::io::pipe().expect("pipe");
        let forked = spawn::fork(|| {
            rustix::stdio::dup2_stdout(&theirs).expect("dup2");
            // What other tests have open is none of its business: they wait for its end.
            spawn::close_strays();
            setup::main(self.home.clone(), &self.id, Box::new(Plain(words)), None)
        });
        forked.expect("fork");
        drop(theirs);
        // The test program's other threads may fork monitors that inherit this pipe: no waiting for its end.
        let mut said = [0; 5];
        ready.read_exact(&mut said).expect("ready");
        assert!([b"ready", b"anoth"].contains(&&said), "{said:?}");
    }
    fn connect(&self) -> Connection {
        client::connect(&self.home, &self.id).expect("connect").expect("lives")
    }
    fn attach(&self, attach: Attach) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().expect("pair");
        ours.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
        let announced = self.connect().attach(attach).expect("announce");
        announced.hand_over(theirs.as_fd(), b"").expect("hand over");
        ours
    }
    fn exec(&self, cmd: &str, tty: bool) -> (String, UnixStream) {
        let id = self.exec_record(cmd, tty);
        let (ours, theirs) = UnixStream::pair().expect("pair");
        ours.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
        self.connect().exec(&id, None, false).expect("announce").hand_over(theirs.as_fd(), b"").expect("hand over");
        (id, ours)
    }
    fn exec_record(&self, cmd: &str, tty: bool) -> String {
        let id = random_id();
        self.exec_record_of(&id, cmd, tty);
        id
    }
    fn exec_record_of(&self, id: &str, cmd: &str, tty: bool) {
        let cmd = if cmd.starts_with('/') { vec![cmd.to_owned()] } else { ["sh", "-c", cmd].map(str::to_owned).into() };
        let record = ExecRecord {
            id: id.to_owned(),
            cmd,
            tty,
            attach_stdin: true,
            attach_stdout: true,
            attach_stderr: true,
            ..Default::default()
        };
        let dir = self.home.container(&self.id).exec(id);
        std::fs::create_dir_all(&dir).expect("directory");
        atomic::write_json(&dir.join("exec.json"), &record, Durability::Process).expect("record");
    }
    fn exec_state(&self, id: &str) -> ExecState {
        atomic::read_json(&self.home.container(&self.id).exec(id).join("state.json")).expect("state")
    }
    fn state(&self) -> StateRecord {
        store::load_state(&self.home, &self.id).expect("state")
    }
    fn log(&self) -> String {
        let mut reader = LogReader::open(&self.home.container(&self.id).log(), Selection::default()).expect("log");
        let mut all = String::new();
        while let Some(entry) = reader.next_entry() {
            all += &String::from_utf8_lossy(entry.bytes);
        }
        all
    }
    fn actions(&self) -> Vec<String> {
        let mut reader = Reader::from_start(&self.home);
        std::iter::from_fn(|| reader.next_event()).map(|event| event.action).collect()
    }
    /// The monitor's process has ended.
    fn wait_gone(&self) {
        let lock = self.home.container(&self.id).monitor_lock();
        let since = Instant::now();
        while Lock::is_held(&lock).expect("lock") {
            assert!(since.elapsed().as_secs() < 10, "the monitor stays");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn all(stdin: bool) -> Attach {
    Attach { stdin, stdout: true, stderr: true, stream: true, ..Default::default() }
}

fn read_all(mut stream: UnixStream) -> Vec<u8> {
    let mut got = Vec::new();
    stream.read_to_end(&mut got).expect("read");
    got
}

fn frames(mut bytes: &[u8]) -> [String; 2] {
    let mut texts = [Vec::new(), Vec::new()];
    while let Some((header, rest)) = bytes.split_at_checked(8) {
        let len = u32::from_be_bytes(header[4..].try_into().expect("four")) as usize;
        texts[usize::from(header[0]) - 1].extend_from_slice(&rest[..len]);
        bytes = &rest[len..];
    }
    texts.map(|text| String::from_utf8(text).expect("text"))
}

#[test]
fn nobody_hears_a_program_before_its_start_is_written_down() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let place = |name: &str| format!("{}/{name}", dir.path().display());
    let f = monitor(&format!("!{LATE} {}", dir.path().display()), |_| {});
    let mut client = f.attach(all(false));
    let starting = f.connect();
    starting.ask(&crate::monitor::protocol::Request::Start).expect("ask");
    until(&place("spoken"));
    // It serves in turn: before it greets, it has read what it listens to.
    drop(f.connect());
    drop(f.connect());
    client.set_nonblocking(true).expect("non-blocking");
    let early = client.read(&mut [0; 64]).map_err(|error| error.kind());
    assert_eq!(early, Err(std::io::ErrorKind::WouldBlock));
    assert!(!f.state().is_running());
    std::fs::write(place("heard"), "").expect("file");
    client.set_nonblocking(false).expect("blocking");
    let mut frame = [0; 14];
    client.read_exact(&mut frame).expect("output");
    assert_eq!(&frame[8..], b"ready\n");
    assert!(f.state().is_running(), "whoever hears it may ask for more");
}

#[test]
fn a_short_life_loses_nothing() {
    let f = monitor("echo out; echo err >&2; exit 3", |_| {});
    let stream = f.attach(all(false));
    let waiter = f.connect();
    waiter.ask(&crate::monitor::protocol::Request::Wait).expect("wait");
    assert!(f.connect().start().expect("start") > 0);
    assert_eq!(frames(&read_all(stream)), ["out\n", "err\n"]);
    assert!(matches!(waiter.reply(), Ok(crate::monitor::protocol::Reply::Exited { code: 3 })));
    f.wait_gone();
    let state = f.state();
    assert_eq!((state.status, state.exit_code, state.exits, state.pid), (Status::Exited, 3, 1, 0));
    assert_eq!(f.actions(), ["start", "die"]);
    assert!(f.log().contains("out\n") && f.log().contains("err\n"));
    assert!(client::connect(&f.home, &f.id).expect("connect").is_none());
}

#[test]
fn half_close_ends_the_input_only() {
    let f = monitor("cat; echo bye", |record| {
        record.config.open_stdin = true;
        record.config.stdin_once = true;
    });
    let mut stream = f.attach(all(true));
    // Input before the start waits for the process.
    stream.write_all(b"hello\n").expect("write");
    f.connect().start().expect("start");
    stream.write_all(b"world\n").expect("write");
    stream.shutdown(std::net::Shutdown::Write).expect("half-close");
    assert_eq!(frames(&read_all(stream))[0], "hello\nworld\nbye\n");
    f.wait_gone();
    assert_eq!(f.log(), "hello\nworld\nbye\n");
}

#[test]
fn much_input_is_held_back_not_lost() {
    let f = monitor("sleep 0.3; wc -c", |record| {
        record.config.open_stdin = true;
        record.config.stdin_once = true;
    });
    let mut stream = f.attach(all(true));
    f.connect().start().expect("start");
    stream.write_all(&vec![b'x'; 5_000_000]).expect("write");
    // The client is gone altogether before its input has been read.
    let other = f.attach(all(false));
    drop(stream);
    assert_eq!(frames(&read_all(other))[0].trim(), "5000000");
}

#[test]
fn a_start_waits_for_announced_streams() {
    let f = monitor("echo now", |_| {});
    let (ours, theirs) = UnixStream::pair().expect("pair");
    let announced = f.connect().attach(all(false)).expect("announce");
    let dropped = f.connect().attach(all(false)).expect("announce");
    let starter = f.connect();
    starter.ask(&crate::monitor::protocol::Request::Start).expect("start");
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(f.state().status, Status::Created);
    drop(dropped);
    announced.hand_over(theirs.as_fd(), b"").expect("hand over");
    drop(theirs);
    assert_eq!(frames(&read_all(ours))[0], "now\n");
}

#[test]
fn a_failed_start_leaves_its_reason() {
    let f = monitor("!/no/such/program", |_| {});
    match f.connect().start() {
        Err(Error::Failed { failure: Failure::CommandNotFound, .. }) => {}
        other => panic!("{other:?}"),
    }
    f.wait_gone();
    let state = f.state();
    assert_eq!((state.status, state.exit_code, state.exits), (Status::Created, 127, 0));
    assert!(!state.error.is_empty());
    assert!(f.actions().is_empty());
}

#[test]
fn stop_becomes_kill() {
    let f = monitor("trap '' TERM; echo up; while :; do sleep 0.01; done", |_| {});
    let mut stream = f.attach(all(false));
    f.connect().start().expect("start");
    stream.read_exact(&mut [0; 11]).expect("up");
    let since = Instant::now();
    let stopper = f.connect();
    stopper
        .ask(&crate::monitor::protocol::Request::Stop { signal: 15, timeout_s: 1, keep: false, tell: false })
        .expect("stop");
    // Whoever asked may go: the stop goes on.
    drop(stopper);
    assert_eq!(f.connect().wait().expect("wait"), 137);
    assert!(since.elapsed() >= Duration::from_millis(900));
    f.wait_gone();
    assert!(f.state().stopped_by_user);
}

#[test]
fn exec_commits_before_it_closes() {
    let f = monitor("sleep 100", |_| {});
    f.connect().start().expect("start");
    let (id, mut stream) = f.exec("cat; echo done >&2; exit 7", false);
    assert!(f.exec_state(&id).running);
    stream.write_all(b"in").expect("write");
    stream.shutdown(std::net::Shutdown::Write).expect("half-close");
    assert_eq!(frames(&read_all(stream)), ["in", "done\n"]);
    assert_eq!(f.exec_state(&id).exit_code, Some(7));
    // Descendants have a moment to go on writing; those that keep the output longer do not keep the client.
    let (id, stream) = f.exec("(sleep 0.3; echo late) & sleep 100 & echo ok", false);
    assert_eq!(frames(&read_all(stream))[0], "ok\nlate\n");
    assert_eq!(f.exec_state(&id).exit_code, Some(0));
    let (id, stream) = f.exec("/no/such", false);
    assert!(frames(&read_all(stream))[0].ends_with("\r\n"));
    assert_eq!(f.exec_state(&id).exit_code, Some(127));
    assert!(matches!(f.connect().exec(&id, None, false), Err(Error::Failed { failure: Failure::Conflict, .. })));
    assert!(matches!(f.connect().exec("nope", None, false), Err(Error::Failed { failure: Failure::NotFound, .. })));
    let detached = f.exec_record("sleep 100", false);
    assert!(f.connect().exec_detached(&detached, None).expect("detached") > 0);
    // Many at once.
    let many: Vec<_> = (0..20).map(|n| f.exec(&format!("echo {n}; exit {n}"), false)).collect();
    for (n, (id, stream)) in many.into_iter().enumerate() {
        assert_eq!(frames(&read_all(stream))[0], format!("{n}\n"));
        assert_eq!(f.exec_state(&id).exit_code, Some(n as i32));
    }
    f.connect().stop(9, -1, false, false).expect("stop");
    f.wait_gone();
    let actions = f.actions();
    let died = actions.iter().filter(|action| *action == "exec_die").count();
    assert_eq!(died, 24, "{actions:?}");
    assert!(actions[1].starts_with("exec_start: sh -c cat"), "{actions:?}");
}

#[test]
fn a_terminal_is_resized_and_left() {
    let f = monitor("stty size; read line; stty size; read line; echo got $line", |record| {
        record.config.tty = true;
        record.config.open_stdin = true;
    });
    f.connect().resize(None, 30, 90).expect("before the start");
    let mut stream = f.attach(all(true));
    f.connect().start().expect("start");
    let mut buf = [0; 256];
    let read = stream.read(&mut buf).expect("size");
    assert_eq!(&buf[..read], b"30 90\r\n");
    f.connect().resize(None, 40, 100).expect("resize");
    stream.write_all(b"\n").expect("line");
    let mut text = String::new();
    while !text.contains("40 100") {
        let read = stream.read(&mut buf).expect("size");
        text += std::str::from_utf8(&buf[..read]).expect("text");
    }
    stream.write_all(b"ab\x10\x11").expect("detach");
    read_all(stream);
    let again = f.attach(Attach { logs: true, ..all(true) });
    (&again).write_all(b"c\n").expect("write");
    let got = String::from_utf8(read_all(again)).expect("text");
    assert!(got.starts_with("30 90\r\n") && got.contains("got abc\r\n"), "{got:?}");
    f.wait_gone();
    assert_eq!(f.actions(), ["start", "detach", "die"]);
}

#[test]
fn logs_then_stream_without_gap() {
    let f =
        monitor("i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; printf end; read x; echo", |record| {
            record.config.open_stdin = true;
            record.config.stdin_once = true;
        });
    let mut first = f.attach(all(true));
    f.connect().start().expect("start");
    first.read_exact(&mut [0; 2000]).expect("some");
    let others: Vec<_> = (0..3).map(|_| f.attach(Attach { logs: true, ..all(false) })).collect();
    let only_logs = f.attach(Attach { logs: true, stdout: true, ..Default::default() });
    assert!(frames(&read_all(only_logs))[0].starts_with("line 0\n"));
    first.write_all(b"\n").expect("go on");
    drop(first);
    let expected: String = (0..3000).map(|n| format!("line {n}\n")).collect::<String>() + "end\n";
    for stream in others {
        assert_eq!(frames(&read_all(stream))[0], expected);
    }
}

#[test]
fn a_slow_client_gets_everything_after_the_end() {
    let f = monitor("head -c 30000000 /dev/zero | tr '\\0' x; echo; echo end", |_| {});
    let slow = f.attach(all(false));
    f.connect().start().expect("start");
    // The container's end waits for nobody, and the container can be started again.
    f.wait_gone();
    assert_eq!(f.state().status, Status::Exited);
    let [out, _] = frames(&read_all(slow));
    assert_eq!((out.len(), out.ends_with("x\nend\n")), (30_000_005, true));
    assert_eq!(f.log().len(), 30_000_005);
}

#[test]
fn auto_remove_leaves_nothing() {
    let f = monitor("exit 5", |record| record.host_config.auto_remove = true);
    let waiter = f.connect();
    waiter.ask(&crate::monitor::protocol::Request::Wait).expect("wait");
    f.connect().start().expect("start");
    assert!(matches!(waiter.reply(), Ok(crate::monitor::protocol::Reply::Exited { code: 5 })));
    assert!(store::ids(&f.home).expect("list").is_empty());
    assert!(store::name_owner(&f.home, "c").is_none());
    assert!(!f.home.container(&f.id).run.exists());
    assert_eq!(f.actions(), ["start", "die", "destroy"]);
}

#[test]
fn an_idle_monitor_can_be_told_to_leave() {
    let f = monitor("sleep 100", |_| {});
    let stream = f.attach(all(false));
    let since = Instant::now();
    assert!(matches!(f.connect().stop(9, 0, false, false), Err(Error::Failed { failure: Failure::Conflict, .. })));
    f.wait_gone();
    assert!(read_all(stream).is_empty());
    assert!(since.elapsed() < Duration::from_secs(1));
}

#[test]
fn one_monitor_a_container_and_none_without_need() {
    let f = monitor("sleep 100", |_| {});
    f.launch(vec!["true".into()]);
    let first: OwnedFd = f.connect().as_fd().try_clone_to_owned().expect("clone");
    drop(first);
    f.wait_gone();
    assert!(client::connect(&f.home, &f.id).expect("connect").is_none());
}

#[test]
fn what_a_killed_monitor_never_noted_is_ended() {
    let (started, says) = std::io::pipe().expect("pipe");
    let (orphan, held) = std::io::pipe().expect("pipe");
    let keep = [says.as_raw_fd(), held.as_raw_fd()];
    let monitor = spawn::fork(|| {
        let work = || {
            let _ = (&says).write_all(b"x");
            std::thread::sleep(Duration::from_millis(50));
            let child = Command::new("sleep").arg("100").stdout(held).spawn().map_err(Refusal::system)?;
            Ok(Started::new(child.id().cast_signed(), None).into())
        };
        let _starter = super::launch::Starter::fork(&keep, work).expect("fork");
        std::thread::sleep(Duration::from_secs(100));
        0
    });
    (&started).read_exact(&mut [0]).expect("it works");
    spawn::kill(monitor.expect("fork"), spawn::SIGKILL).expect("kill");
    let mut polled = [rustix::event::PollFd::new(&orphan, rustix::event::PollFlags::IN)];
    let limit = rustix::time::Timespec { tv_sec: 10, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut polled, Some(&limit)), Ok(1), "the process goes on");
}
