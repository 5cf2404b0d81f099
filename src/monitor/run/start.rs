//! From the request to the running process.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};

use super::control::Waits;
use super::launch::{self, Refusal, Started, Stdio};
use super::log::JsonLog;
use super::session::Session;
use super::watch::{Role, Watch};
use super::{MAIN, Phase, Supervisor};
use crate::model::time;
use crate::monitor::protocol::Reply;
use crate::state::container::{StateRecord, Status};
use crate::state::{ending, store};
use crate::sys::epoll::Interest;
use crate::sys::{pidfd, process, spawn};

/// Makes a process's streams: gives the session the monitor's ends, returns the other ones.
pub fn streams(session: &mut Session, at: usize, stdin: bool, watch: &mut Watch) -> io::Result<Stdio> {
    if session.tty {
        return Ok(Stdio::Terminal(session.size));
    }
    let pair = || pipe_with(PipeFlags::CLOEXEC);
    let (input, ours): (OwnedFd, _) = if stdin {
        let (read, write) = pair()?;
        (read, Some(write))
    } else {
        (rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?, None)
    };
    let (out_read, out) = pair()?;
    let (err_read, err) = pair()?;
    session.take_pipes(at, ours, out_read, err_read, watch)?;
    Ok(Stdio::Pipes([input, out, err]))
}

impl Supervisor {
    /// Forks the starter of the container.
    pub(super) fn start(&mut self) {
        self.phase = Phase::Starting;
        self.state.kept = false;
        // Those of the run before.
        store::remove_execs(&self.home, &self.id);
        // Room for the end comes first: nothing may run whose end could not be recorded.
        let room = ending::prepare_exit(&self.home, &self.id).map_err(io::Error::other);
        if let Err(error) = room.and_then(|()| self.fork_starter()) {
            self.start_failed(&Refusal::system(error));
        }
    }

    fn fork_starter(&mut self) -> io::Result<()> {
        let session = self.sessions[MAIN].as_mut().expect("the container's own session stays");
        if let Some(rotation) = &self.settings.log {
            session.log = Some(JsonLog::open(&self.paths.log(), rotation.clone())?);
        }
        let stdio = streams(session, MAIN, self.settings.open_stdin, &mut self.watch)?;
        let launcher = &self.launcher;
        let (pid, socket) = launch::fork(|| launcher.start(stdio))?;
        self.watch.add(socket.as_fd(), Role::Starter(MAIN), Interest::IN)?;
        session.starter = Some((pid, socket));
        Ok(())
    }

    /// The starter has reported: commits the start and tells.
    pub(super) fn started(&mut self, report: Result<Started, Refusal>, starter: i32) {
        let launched = match report {
            Ok(launched) => launched,
            Err(refusal) => return self.start_failed(&refusal),
        };
        let pid = launched.pid;
        // By way of the starter, in whose mount namespace it is mounted, and which lives until this is acknowledged.
        let mounted = format!("/proc/{starter}/root{}", self.paths.rootfs().display());
        self.rootfs = rustix::fs::open(mounted, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok();
        let open_stdin = self.settings.open_stdin;
        let session = self.sessions[MAIN].as_mut().expect("the container's own session stays");
        session.pid = pid;
        session.started = time::now();
        if let Some(master) = launched.terminal
            && let Err(error) = session.take_terminal(MAIN, master, open_stdin, &mut self.watch)
        {
            self.complain(&format!("terminal: {error}"));
        }
        let state = StateRecord {
            status: Status::Running,
            pid,
            pid_start: process::start_time(pid).unwrap_or_default(),
            boot_id: process::boot_id().unwrap_or_default(),
            started_at: self.main().started,
            finished_at: self.state.finished_at,
            exits: self.state.exits,
            kept: self.state.kept,
            ..StateRecord::default()
        };
        if let Err(error) = ending::commit_start(&self.home, &self.id, &state) {
            self.take_back(pid);
            return self.start_failed(&Refusal::system(error));
        }
        self.state = state;
        self.phase = Phase::Running;
        self.emit("start", &[]);
        self.answer_all(&Reply::Running { pid }, |waits| matches!(waits, Waits::Start));
        if let Some((signal, timeout_s)) = self.stop_wanted.take() {
            self.stop(signal, timeout_s);
        }
    }

    /// Ends what has just been started: that it runs could not be recorded.
    fn take_back(&mut self, pid: i32) {
        let _ = spawn::kill(pid, spawn::SIGKILL);
        if let Ok(process) = pidfd::open(pid) {
            let _ = pidfd::wait_exit(process, Duration::from_secs(10));
        }
        self.main_mut().pid = 0;
    }

    /// Nothing runs: records why, as dockerd does, and ends.
    fn start_failed(&mut self, refusal: &Refusal) {
        self.state.error.clone_from(&refusal.message);
        self.state.exit_code = refusal.failure.exit_code();
        self.state.pid = 0;
        self.commit_exit();
        let data = self.data();
        let session = self.sessions[MAIN].as_mut().expect("the container's own session stays");
        session.last_words(&mut self.io, &data, &mut self.watch);
        session.disconnect(&mut self.watch);
        self.clean_up();
        let failed = Reply::Failed { kind: refusal.failure, message: refusal.message.clone() };
        self.answer_all(&failed, |waits| matches!(waits, Waits::Start | Waits::End));
        self.leave();
    }

    /// Writes that nothing runs any more.
    pub(super) fn commit_exit(&self) {
        if let Err(error) = ending::commit_exit(&self.home, &self.id, &self.state) {
            self.complain(&format!("state.json: {error}"));
        }
    }
}
