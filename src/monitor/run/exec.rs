//! Exec sessions: further processes in the running container.

use std::os::fd::{AsFd, OwnedFd};

use super::attached::{Client, Options};
use super::control::{Outcome, Waits, refuse};
use super::launch::{self, Refusal, Started};
use super::session::Session;
use super::setup::cells;
use super::start::streams;
use super::watch::Role;
use super::{MAIN, Phase, Supervisor};
use crate::model::time;
use crate::monitor::detach::{self, Detach};
use crate::monitor::protocol::{ExecStart, Failure, Reply};
use crate::state::atomic::{self, Durability};
use crate::state::exec::{ExecRecord, ExecState};
use crate::sys::epoll::Interest;
use crate::sys::spawn;

impl Supervisor {
    /// A session is to be started: at once if detached, else when its stream comes.
    pub(super) fn exec_announced(&mut self, start: &ExecStart) -> Outcome {
        let id = &start.exec_id;
        let dir = self.paths.exec(id);
        let mut record: ExecRecord = match atomic::read_json(&dir.join("exec.json")) {
            Ok(record) => record,
            Err(_) => return refuse(Failure::NotFound, format!("No such exec instance: {id}")),
        };
        if self.phase != Phase::Running {
            return refuse(Failure::Conflict, format!("container {} is not running", self.id));
        }
        if self.exec_exists(id) {
            return refuse(Failure::Conflict, format!("exec {id} has already been started"));
        }
        if start.console_size.is_some() {
            record.console_size = start.console_size;
        }
        if !start.detach {
            return Outcome::Then(Reply::Ready, Waits::Exec(Box::new(record), Vec::new()));
        }
        record.attach_stdin = false;
        match self.exec_fork(&record, None) {
            Ok(at) => Outcome::Later(Waits::ExecStart(at)),
            Err(refusal) => refuse(refusal.failure, refusal.message),
        }
    }

    fn exec_exists(&self, id: &str) -> bool {
        let running = self.sessions.iter().flatten().any(|session| session.exec.as_deref() == Some(id));
        running || self.paths.exec(id).join("state.json").exists()
    }

    /// An announced session's stream has come.
    pub(super) fn exec_attached(&mut self, record: ExecRecord, early: &[u8], socket: Option<OwnedFd>) -> Outcome {
        let Some(socket) = socket else { return refuse(Failure::Invalid, "no socket came with the stream") };
        let detach = (record.tty && record.attach_stdin).then(|| detach::parse(&record.detach_keys).ok());
        let options = Options {
            wants: [record.attach_stdout, record.attach_stderr],
            stdin: record.attach_stdin,
            framed: !record.tty,
            stream: true,
            detach: detach.flatten().map(Detach::new),
            replay: None,
        };
        let mut client = match Client::new(socket, options) {
            Ok(client) => client,
            Err(error) => return refuse(Failure::Invalid, error),
        };
        if self.phase != Phase::Running || self.exec_exists(&record.id) {
            client.finish();
            return refuse(Failure::Conflict, "the exec session cannot be started now");
        }
        match self.exec_fork(&record, Some((client, early))) {
            Ok(_) => Outcome::Answer(Reply::Ok),
            Err(refusal) => refuse(refusal.failure, refusal.message),
        }
    }

    /// Forks a starter for the session.
    fn exec_fork(&mut self, record: &ExecRecord, client: Option<(Client, &[u8])>) -> Result<usize, Refusal> {
        let at = self.sessions.iter().position(Option::is_none).unwrap_or(self.sessions.len());
        if at == self.sessions.len() {
            self.sessions.push(None);
        }
        let mut session = Session {
            exec: Some(record.id.clone()),
            tty: record.tty,
            close_stdin: true,
            input_closed: !record.attach_stdin,
            size: record.console_size.filter(|size| size[0] > 0 && size[1] > 0).map(|[h, w]| (cells(h), cells(w))),
            ..Session::default()
        };
        let stdio = streams(&mut session, at, record.attach_stdin, &mut self.watch).map_err(Refusal::system)?;
        if let Some((client, early)) = client {
            session.attach(at, client, early, &self.paths.data, &mut self.watch);
        }
        let init = self.main().pid;
        let launcher = &self.launcher;
        let forked = launch::fork(|| launcher.exec(record, init, stdio));
        let forked = forked.and_then(|(pid, socket)| {
            self.watch.add(socket.as_fd(), Role::Starter(at), Interest::IN)?;
            Ok((pid, socket))
        });
        match forked {
            Ok(starter) => session.starter = Some(starter),
            Err(error) => {
                session.disconnect(&mut self.watch);
                session.clients.iter_mut().for_each(Client::drop_now);
                session.feed(at, &mut self.watch);
                return Err(Refusal::system(error));
            }
        }
        self.sessions[at] = Some(Box::new(session));
        self.exec_commit(&record.id, &ExecState { running: true, pid: 0, exit_code: None });
        self.emit(&format!("exec_start: {}", record.cmd.join(" ")), &[("execID", record.id.clone())]);
        Ok(at)
    }

    /// The starter has reported.
    pub(super) fn exec_started(&mut self, at: usize, report: Result<Started, Refusal>) {
        let Some(session) = &mut self.sessions[at] else { return };
        let id = session.exec.clone().unwrap_or_default();
        match report {
            Ok(launched) => {
                session.pid = launched.pid;
                session.started = time::now();
                let stdin = !session.input_closed;
                if let Some(master) = launched.terminal
                    && let Err(error) = session.take_terminal(at, master, stdin, &mut self.watch)
                {
                    self.complain(&format!("exec terminal: {error}"));
                }
                self.exec_commit(&id, &ExecState { running: true, pid: launched.pid, exit_code: None });
                let running = Reply::Running { pid: launched.pid };
                self.answer_all(&running, |waits| matches!(waits, Waits::ExecStart(of) if *of == at));
            }
            Err(refusal) => {
                // dockerd answers before it starts, so the client learns why from the stream.
                session.announce(&format!("{}: unknown\r\n", refusal.message), &self.paths.data);
                let failed = Reply::Failed { kind: refusal.failure, message: refusal.message };
                self.answer_all(&failed, |waits| matches!(waits, Waits::ExecStart(of) if *of == at));
                self.exec_ended(at, refusal.failure.exit_code());
            }
        }
    }

    /// The session's process has ended: first its code is committed, then its stream is closed.
    pub(super) fn exec_ended(&mut self, at: usize, code: i32) {
        let data = self.data();
        let Some(session) = &mut self.sessions[at] else { return };
        session.ended = Some(code);
        session.last_words(&mut self.io, &data, &mut self.watch);
        let id = session.exec.clone().unwrap_or_default();
        let pid = session.pid;
        self.exec_commit(&id, &ExecState { running: false, pid, exit_code: Some(code) });
        self.emit("exec_die", &[("execID", id), ("exitCode", code.to_string())]);
        if let Some(session) = &mut self.sessions[at] {
            session.finish_clients(at, &data, &mut self.watch);
        }
    }

    /// Ends what is left of all sessions: the container has ended.
    pub(super) fn end_execs(&mut self) {
        for at in MAIN + 1..self.sessions.len() {
            let Some(session) = &mut self.sessions[at] else { continue };
            if let Some((_, socket)) = session.starter.take() {
                self.watch.remove(socket.as_fd());
            }
            if session.ended.is_none() {
                if session.pid > 0 {
                    let _ = spawn::kill(session.pid, spawn::SIGKILL);
                }
                self.exec_ended(at, 137);
            }
            if let Some(session) = &mut self.sessions[at] {
                session.disconnect(&mut self.watch);
            }
        }
    }

    /// Forgets sessions of which nothing is left. One whose process has ended stays for descendants that still hold its
    /// output: what they write is read and dropped, so that it does not kill them.
    pub(super) fn drop_finished_sessions(&mut self) {
        for session in self.sessions.iter_mut().skip(1) {
            if session.as_ref().is_some_and(|s| s.ended.is_some() && s.clients.is_empty() && s.is_silent()) {
                *session = None;
            }
        }
        while self.sessions.len() > 1 && self.sessions.last().is_some_and(Option::is_none) {
            self.sessions.pop();
        }
    }

    fn exec_commit(&self, id: &str, state: &ExecState) {
        let path = self.paths.exec(id).join("state.json");
        if let Err(error) = atomic::write_json(&path, state, Durability::Process) {
            self.complain(&format!("exec {id}: {error}"));
        }
    }
}
