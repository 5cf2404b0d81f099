//! Exec sessions: further processes in the running container.

use std::io;
use std::os::fd::AsFd;

use super::attached::Client;
use super::context::Context;
use super::door::{Door, Waits};
use super::launch::{Launcher, Refusal, Starter};
use super::settings::cells;
use super::streams::{Shape, Streams};
use super::watch::Role;
use crate::monitor::protocol::Reply;
use crate::state::exec::{ExecRecord, ExecState};
use crate::sys::epoll::Interest;
use crate::sys::spawn;

/// What the first session's streams are known by.
pub const FIRST: usize = 1;

/// How far a session is.
#[derive(Debug)]
enum Phase {
    /// Its starter works.
    Starting(Starter),
    /// Its process runs.
    Running(i32),
    /// Its process has ended, or could not be started.
    Ended,
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

    /// The processes of starters at work.
    pub fn starters(&self) -> impl Iterator<Item = i32> {
        self.all().filter_map(|(_, exec)| match &exec.phase {
            Phase::Starting(starter) => Some(starter.pid),
            _ => None,
        })
    }

    /// Forks a starter for a session in the container whose first process is `init`; gives its place.
    pub fn start(
        &mut self,
        record: &ExecRecord,
        client: Option<(Client, &[u8])>,
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
        let stdio = streams.open(&mut cx.watch).map_err(Refusal::system)?;
        if let Some((client, early)) = client {
            streams.attach(client, early, cx);
        }
        let forked = Starter::fork(&stdio.descriptors(), || launcher.exec(record, init, stdio));
        let forked = forked.and_then(|starter| -> io::Result<_> {
            cx.watch.add(starter.as_fd(), Role::Starter(at), Interest::IN)?;
            Ok(starter)
        });
        let starter = forked.map_err(|error| {
            streams.disconnect(&mut cx.watch);
            streams.drop_clients(&mut cx.watch);
            Refusal::system(error)
        })?;
        if place == self.0.len() {
            self.0.push(None);
        }
        self.0[place] = Some(Box::new(Exec { id: record.id.clone(), phase: Phase::Starting(starter), streams }));
        cx.files.commit_exec(&record.id, &ExecState { running: true, pid: 0, exit_code: None });
        cx.files.emit(&format!("exec_start: {}", record.cmd.join(" ")), &[("execID", record.id.clone())]);
        Ok(at)
    }

    /// A starter has reported.
    pub fn starter_ready(&mut self, at: usize, cx: &mut Context, door: &mut Door) {
        let Some(exec) = self.get(at) else { return };
        let starter = match std::mem::replace(&mut exec.phase, Phase::Ended) {
            Phase::Starting(starter) => starter,
            other => return exec.phase = other,
        };
        cx.io.dirty = true;
        let report = starter.report(&mut cx.io.input);
        cx.watch.remove(starter.as_fd());
        let reply = match report {
            Ok(started) => {
                let pid = started.pid;
                exec.phase = Phase::Running(pid);
                if let Some(master) = started.terminal
                    && let Err(error) = exec.streams.take_terminal(master, &mut cx.watch)
                {
                    cx.files.complain(&format!("exec terminal: {error}"));
                }
                cx.files.commit_exec(&exec.id, &ExecState { running: true, pid, exit_code: None });
                Reply::Running { pid }
            }
            Err(refusal) => {
                // dockerd answers before it starts, so the client learns why from the stream.
                exec.streams.announce(&format!("{}: unknown\r\n", refusal.message), cx);
                exec.finish(0, refusal.failure.exit_code(), cx);
                Reply::Failed { kind: refusal.failure, message: refusal.message }
            }
        };
        door.answer_all(&reply, &mut cx.watch, |waits| matches!(waits, Waits::ExecStart(of) if *of == at));
        starter.acknowledge();
    }

    /// A session's process has ended.
    pub fn ended(&mut self, at: usize, code: i32, cx: &mut Context) {
        if let Some(exec) = self.get(at)
            && let Phase::Running(pid) = exec.phase
        {
            exec.finish(pid, code, cx);
        }
    }

    /// Ends what is left of all sessions: the container has ended.
    pub fn end_all(&mut self, cx: &mut Context) {
        for exec in self.0.iter_mut().flatten() {
            match std::mem::replace(&mut exec.phase, Phase::Ended) {
                Phase::Starting(starter) => {
                    cx.watch.remove(starter.as_fd());
                    exec.finish(0, 128 + spawn::SIGKILL, cx);
                }
                Phase::Running(pid) => {
                    let _ = spawn::kill(pid, spawn::SIGKILL);
                    exec.finish(pid, 128 + spawn::SIGKILL, cx);
                }
                Phase::Ended => {}
            }
            exec.streams.disconnect(&mut cx.watch);
        }
    }

    /// Forgets sessions of which nothing is left. One whose process has ended stays for descendants that still hold its
    /// output: what they write is read and dropped, so that it does not kill them.
    pub fn drop_finished(&mut self) {
        for exec in &mut self.0 {
            exec.take_if(|exec| {
                matches!(exec.phase, Phase::Ended) && !exec.streams.has_clients() && exec.streams.is_silent()
            });
        }
        while self.0.last().is_some_and(Option::is_none) {
            self.0.pop();
        }
    }
}

impl Exec {
    /// Its process has ended: first the code is committed, then the stream is closed.
    fn finish(&mut self, pid: i32, code: i32, cx: &mut Context) {
        self.phase = Phase::Ended;
        self.streams.last_words(cx);
        cx.files.commit_exec(&self.id, &ExecState { running: false, pid, exit_code: Some(code) });
        cx.files.emit("exec_die", &[("execID", self.id.clone()), ("exitCode", code.to_string())]);
        self.streams.finish_clients(cx);
    }
}
