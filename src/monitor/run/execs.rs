//! Exec sessions: further processes in the running container.
//!
//! What the host has to give for a session (pipes, a process) is taken when it is announced, before its client is told
//! to go on: afterwards only its program can fail.

use std::os::fd::AsFd;
use std::time::Duration;

use super::attached::Client;
use super::context::Context;
use super::door::{Door, Waits};
use super::launch::{Launched, Launcher, Refusal, Starter};
use super::settings::cells;
use super::streams::{Shape, Streams};
use super::timers::Due;
use super::watch::Role;
use crate::monitor::protocol::{Failure, Reply};
use crate::state::exec::{ExecRecord, ExecState};
use crate::sys::epoll::Interest;
use crate::sys::spawn;

/// What the first session's streams are known by.
pub const FIRST: usize = 1;
/// How long descendants of a session's process may go on writing to its client after it has ended, as in dockerd.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long the record of a session that has ended stays at least.
pub const EXPIRY: Duration = Duration::from_secs(300);
/// Code of a session that did not come to run a program, as in dockerd.
const NOT_STARTED: i32 = 126;

/// How far a session is.
#[derive(Debug)]
enum Phase {
    /// Its starter waits for the session's client.
    Announced(Starter, Box<ExecRecord>),
    /// Its starter works.
    Starting(Starter),
    /// Its process runs.
    Running(i32),
    /// Its process has ended; others may still have its output.
    Outlived,
    /// Nothing will come any more.
    Over,
}

/// One session.
#[derive(Debug)]
struct Exec {
    id: String,
    phase: Phase,
    streams: Streams,
}

/// All sessions, each at a place that it keeps.
#[derive(Debug, Default)]
pub struct Execs(Vec<Option<Box<Exec>>>);

impl Execs {
    fn get(&mut self, at: usize) -> Option<&mut Exec> {
        self.0.get_mut(at.checked_sub(FIRST)?)?.as_deref_mut()
    }

    fn all(&self) -> impl Iterator<Item = (usize, &Exec)> {
        self.0.iter().enumerate().filter_map(|(place, exec)| Some((place + FIRST, exec.as_deref()?)))
    }

    /// The streams of the session at this place, and its id.
    pub fn streams(&mut self, at: usize) -> Option<(&mut Streams, &str)> {
        self.get(at).map(|exec| (&mut exec.streams, exec.id.as_str()))
    }

    /// The streams of the session with this id.
    pub fn by_id(&mut self, id: &str) -> Option<&mut Streams> {
        self.0.iter_mut().flatten().find(|exec| exec.id == id).map(|exec| &mut exec.streams)
    }

    /// All streams.
    pub fn all_streams(&mut self) -> impl Iterator<Item = &mut Streams> {
        self.0.iter_mut().flatten().map(|exec| &mut exec.streams)
    }

    /// Whether somebody is attached to one.
    pub fn have_clients(&self) -> bool {
        self.all().any(|(_, exec)| exec.streams.has_clients())
    }

    /// The place of the session whose running process this is.
    pub fn with_pid(&self, pid: i32) -> Option<usize> {
        self.all().find(|(_, exec)| matches!(exec.phase, Phase::Running(own) if own == pid)).map(|(at, _)| at)
    }

    /// The running process of the session at this place.
    pub fn pid(&mut self, at: usize) -> Option<i32> {
        match self.get(at)?.phase {
            Phase::Running(pid) => Some(pid),
            _ => None,
        }
    }

    /// The starters that have not reported, and the places of their sessions.
    pub fn starters(&self) -> impl Iterator<Item = (usize, &Starter)> {
        self.all().filter_map(|(at, exec)| match &exec.phase {
            Phase::Announced(starter, _) | Phase::Starting(starter) => Some((at, starter)),
            _ => None,
        })
    }

    /// Takes all that a session needs of the host, in the container whose first process is `init`; gives its place.
    pub fn announce(
        &mut self,
        record: ExecRecord,
        launcher: &dyn Launcher,
        init: i32,
        cx: &mut Context,
    ) -> Result<usize, Refusal> {
        let place = self.0.iter().position(Option::is_none).unwrap_or(self.0.len());
        let at = place + FIRST;
        let shape = Shape {
            tty: record.tty,
            stdin: record.attach_stdin,
            stdin_once: true,
            size: record.console_size.and_then(cells),
        };
        let mut streams = Streams::new(at, shape);
        let stdio = streams.open(&mut cx.watch);
        let starter = stdio.and_then(|stdio| {
            Starter::fork_held(&stdio.descriptors(), |wanted| {
                launcher.exec(&record, init, stdio, wanted).map(Launched::from)
            })
        });
        let starter = starter.map_err(|error| {
            streams.disconnect(&mut cx.watch);
            Refusal::system(error)
        })?;
        // From here on it counts as used: whatever becomes of the monitor, it has not ended with code 0.
        cx.files.commit_exec(&record.id, &ExecState { running: true, pid: 0, exit_code: None });
        if place == self.0.len() {
            self.0.push(None);
        }
        let id = record.id.clone();
        self.0[place] = Some(Box::new(Exec { id, phase: Phase::Announced(starter, Box::new(record)), streams }));
        Ok(at)
    }

    /// What was asked of the announced session at this place.
    pub fn announced(&mut self, at: usize) -> Option<&ExecRecord> {
        match &self.get(at)?.phase {
            Phase::Announced(_, record) => Some(record),
            _ => None,
        }
    }

    /// Lets an announced session's starter work; the client that comes with it has sent this. False if the session has
    /// ended with its container.
    pub fn start(&mut self, at: usize, client: Option<(Client, &[u8])>, cx: &mut Context) -> bool {
        let Some(exec) = self.get(at) else { return false };
        let (starter, record) = match std::mem::replace(&mut exec.phase, Phase::Over) {
            Phase::Announced(starter, record) => (starter, record),
            other => {
                exec.phase = other;
                return false;
            }
        };
        if let Some((client, early)) = client {
            exec.streams.attach(client, early, cx);
        }
        let watched = cx.watch.add(starter.as_fd(), Role::Starter(at), Interest::IN);
        exec.phase = Phase::Starting(starter);
        match watched {
            Ok(()) => {
                cx.files.emit(&format!("exec_start: {}", record.cmd.join(" ")), &[("execID", record.id.clone())]);
                if let Phase::Starting(starter) = &exec.phase {
                    starter.go();
                }
            }
            Err(error) => exec.failed(&Refusal::system(error), cx),
        }
        true
    }

    /// An announced session's client has gone before it handed over its stream.
    pub fn abandon(&mut self, at: usize, cx: &mut Context) {
        if let Some(exec) = self.get(at)
            && matches!(exec.phase, Phase::Announced(..))
        {
            exec.phase = Phase::Over;
            exec.streams.disconnect(&mut cx.watch);
            cx.files.commit_exec(&exec.id, &ExecState { running: false, pid: 0, exit_code: Some(NOT_STARTED) });
            cx.timers.set_sooner(Due::Expiry, EXPIRY);
        }
    }

    /// A starter has reported.
    pub fn starter_ready(&mut self, at: usize, cx: &mut Context, door: &mut Door) {
        let Some(exec) = self.get(at) else { return };
        let starter = match std::mem::replace(&mut exec.phase, Phase::Over) {
            Phase::Starting(starter) => starter,
            other => return exec.phase = other,
        };
        cx.io.dirty = true;
        let report = starter.report(&mut cx.io.input);
        cx.watch.remove(starter.as_fd());
        let killed = report.is_none();
        let reply = match report.unwrap_or_else(|| Err(Refusal::killed())) {
            Ok(Launched { started, .. }) => {
                let pid = started.pid;
                exec.phase = Phase::Running(pid);
                if let Some(master) = started.terminal
                    && let Err(error) = exec.streams.take_terminal(master, &mut cx.watch)
                {
                    cx.files.complain(&format!("exec terminal: {error}"));
                }
                cx.files.commit_exec(&exec.id, &ExecState { running: true, pid, exit_code: None });
                exec.streams.listen(&cx.watch);
                exec.streams.finish_deaf_clients(cx);
                Reply::Running { pid }
            }
            Err(refusal) => {
                exec.failed(&refusal, cx);
                Reply::Failed { kind: refusal.failure, message: refusal.message }
            }
        };
        door.answer_all(&reply, &mut cx.watch, |waits| matches!(waits, Waits::ExecStart(of) if *of == at));
        match killed {
            // What it made is found when the kernel tells of its end.
            true => cx.mourn(starter),
            false => starter.acknowledge(),
        }
    }

    /// A session's process has ended.
    pub fn ended(&mut self, at: usize, code: i32, cx: &mut Context) {
        if let Some(exec) = self.get(at)
            && let Phase::Running(pid) = exec.phase
        {
            exec.finish(pid, code, cx);
            cx.timers.set(Due::LastWords(at), LAST_WORDS);
        }
    }

    /// Descendants have had their time to write.
    pub fn no_more_words(&mut self, at: usize, cx: &mut Context) {
        if let Some(exec) = self.get(at)
            && matches!(exec.phase, Phase::Outlived)
        {
            exec.phase = Phase::Over;
            exec.streams.finish_clients(cx);
        }
    }

    /// Ends what is left of all sessions: the container has ended.
    pub fn end_all(&mut self, cx: &mut Context) {
        for exec in self.0.iter_mut().flatten() {
            match std::mem::replace(&mut exec.phase, Phase::Over) {
                Phase::Announced(starter, _) | Phase::Starting(starter) => {
                    cx.watch.remove(starter.as_fd());
                    exec.finish(0, 128 + spawn::SIGKILL, cx);
                }
                Phase::Running(pid) => {
                    let _ = spawn::kill(pid, spawn::SIGKILL);
                    exec.finish(pid, 128 + spawn::SIGKILL, cx);
                }
                Phase::Outlived | Phase::Over => {}
            }
            exec.phase = Phase::Over;
            exec.streams.finish_clients(cx);
            exec.streams.disconnect(&mut cx.watch);
        }
    }

    /// Lets clients go of whose session nothing can come any more, and forgets sessions of which nothing is left. One
    /// whose process has ended stays for descendants that still hold its output: what they write is read and dropped,
    /// so that it does not kill them.
    pub fn tidy(&mut self, cx: &mut Context) {
        for (place, slot) in self.0.iter_mut().enumerate() {
            let Some(exec) = slot else { continue };
            let silent = exec.streams.is_silent();
            if silent && matches!(exec.phase, Phase::Outlived) {
                cx.timers.cancel(Due::LastWords(place + FIRST));
                exec.phase = Phase::Over;
                exec.streams.finish_clients(cx);
            }
            if silent && matches!(exec.phase, Phase::Over) && !exec.streams.has_clients() {
                *slot = None;
            }
        }
        while self.0.last().is_some_and(Option::is_none) {
            self.0.pop();
        }
    }
}

impl Exec {
    /// Its program could not be started. dockerd answers before it starts, so the client learns why from the stream.
    fn failed(&mut self, refusal: &Refusal, cx: &mut Context) {
        self.streams.announce(&format!("{}\r\n", refusal.message), cx);
        let code = match refusal.failure {
            Failure::CommandNotFound => 127,
            _ => NOT_STARTED,
        };
        self.finish(0, code, cx);
    }

    /// Its process has ended: the code is committed before the stream is closed.
    fn finish(&mut self, pid: i32, code: i32, cx: &mut Context) {
        self.phase = Phase::Outlived;
        self.streams.last_words(cx);
        cx.files.commit_exec(&self.id, &ExecState { running: false, pid, exit_code: Some(code) });
        cx.files.emit("exec_die", &[("execID", self.id.clone()), ("exitCode", code.to_string())]);
        cx.timers.set_sooner(Due::Expiry, EXPIRY);
    }
}
