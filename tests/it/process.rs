//! A child process whose output is read while it runs, with a guard against hanging.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Long past what any step takes, even on a slow machine under load: only a hang gets here.
pub const GUARD: Duration = Duration::from_secs(60);

/// What a child has printed so far on one stream.
#[derive(Clone, Default)]
pub struct Text(Arc<(Mutex<Printed>, Condvar)>);

/// The bytes, and whether that was all.
type Printed = (Vec<u8>, bool);

impl Text {
    pub fn now(&self) -> String {
        String::from_utf8_lossy(&self.0.0.lock().unwrap().0).into_owned()
    }

    /// Reads `from` to its end in a thread of its own.
    pub fn collect(mut from: impl Read + Send + 'static) -> (Text, JoinHandle<()>) {
        let text = Text::default();
        let shared = text.clone();
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 65536];
            loop {
                // A pty whose other side is closed gives EIO.
                let length = from.read(&mut buffer).unwrap_or(0);
                let mut state = shared.0.0.lock().unwrap();
                state.0.extend_from_slice(&buffer[..length]);
                state.1 = length == 0;
                shared.0.1.notify_all();
                if length == 0 {
                    return;
                }
            }
        });
        (text, thread)
    }

    /// Waits until `wanted` stands in it.
    #[track_caller]
    pub fn wait_for(&self, wanted: &str) {
        self.wait_until(wanted, |text| text.contains(wanted));
    }

    /// Waits until `condition` holds of it.
    #[track_caller]
    pub fn wait_until(&self, what: &str, condition: impl Fn(&str) -> bool) {
        let end = Instant::now() + GUARD;
        let mut state = self.0.0.lock().unwrap();
        loop {
            let text = String::from_utf8_lossy(&state.0);
            if condition(&text) {
                return;
            }
            assert!(!state.1, "the stream ended before {what:?}: {text:?}");
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {what:?} in {text:?}");
            state = self.0.1.wait_timeout(state, left).unwrap().0;
        }
    }
}

/// How a child ended and what it printed.
#[derive(Clone, Debug)]
pub struct Output {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Output {
    /// Its stdout, if it succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "failed: {self:?}");
        self.out
    }

    /// Its stderr, if it ended with `code`.
    #[track_caller]
    pub fn fails(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        self.err
    }
}

/// A running child.
pub struct Process {
    child: Child,
    pub stdin: Option<ChildStdin>,
    pub out: Text,
    pub err: Text,
    readers: Vec<JoinHandle<()>>,
    name: String,
}

impl Process {
    #[track_caller]
    pub fn start(command: &mut Command) -> Process {
        let name = format!("{command:?}");
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{name}: {error}"));
        let (out, out_reader) = Text::collect(child.stdout.take().unwrap());
        let (err, err_reader) = Text::collect(child.stderr.take().unwrap());
        let stdin = child.stdin.take();
        Process { child, stdin, out, err, readers: vec![out_reader, err_reader], name }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes to its stdin, which stays open.
    pub fn send(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(bytes).unwrap();
        stdin.flush().unwrap();
    }

    /// Waits for its end with its stdin closed.
    #[track_caller]
    pub fn finish(mut self) -> Output {
        drop(self.stdin.take());
        self.join()
    }

    /// As [`Process::finish`], with a patience of its own.
    #[track_caller]
    pub fn finish_within(mut self, patience: Duration) -> Output {
        drop(self.stdin.take());
        self.join_within(patience)
    }

    /// Waits for its end with its stdin as it is.
    #[track_caller]
    pub fn join(self) -> Output {
        self.join_within(GUARD)
    }

    #[track_caller]
    fn join_within(mut self, patience: Duration) -> Output {
        let end = Instant::now() + patience;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > end {
                let _ = self.child.kill();
                panic!("{} hangs; stdout {:?}, stderr {:?}", self.name, self.out.now(), self.err.now());
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        // Somebody may have inherited the pipes and live on: their end is not waited for, only a little.
        let end = Instant::now() + Duration::from_secs(5);
        while self.readers.iter().any(|reader| !reader.is_finished()) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        Output { code: code(status), out: self.out.now(), err: self.err.now() }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Runs a command to its end with nothing on its stdin.
#[track_caller]
pub fn run(command: &mut Command) -> Output {
    Process::start(command).finish()
}

/// As [`run`], for what takes long.
#[track_caller]
pub fn run_for(command: &mut Command, patience: Duration) -> Output {
    Process::start(command).finish_within(patience)
}

/// Waits until something holds.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + GUARD;
    while !condition() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
