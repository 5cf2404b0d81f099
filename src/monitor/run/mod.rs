//! The supervisor: one single-threaded loop from the launch to the end of one container.
//!
//! Its memory at rest is a budget: a starter process does what needs much of it (see [`launch`]), the two large buffers
//! give their pages back when nothing moves, and there is no table that grows.

mod attached;
mod container;
mod control;
mod escape;
mod exec;
mod exit;
pub mod launch;
mod log;
mod session;
mod setup;
mod spill;
mod start;
#[cfg(test)]
mod tests;
mod watch;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use control::Connection;
use launch::Launcher;
use session::{Io, Session};
pub use setup::role;
use watch::{Role, Watch};

use crate::state::container::StateRecord;
use crate::state::events::{self, Event};
use crate::state::lock::Lock;
use crate::state::paths::{ContainerPaths, Home};
use crate::state::store;
use crate::sys::epoll::{Interest, Ready};
use crate::sys::memory;
use crate::sys::spawn::{self, Ended, SIGKILL, Signals, Timer};

/// How long a monitor stays that nobody has asked anything.
const DESERTED: Duration = Duration::from_secs(2);
/// After so long without an event the buffers' pages are given back.
const AT_REST: Duration = Duration::from_millis(500);
/// The container's own session among [`Supervisor::sessions`].
const MAIN: usize = 0;

/// Where the container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not started.
    Idle,
    /// A starter works.
    Starting,
    /// Its process runs.
    Running,
    /// It has ended, or could not be started; only clients that have not got everything yet keep the monitor.
    Over,
}

/// What the monitor must know of the container all the time; the rest is read when it is needed.
#[derive(Debug)]
struct Settings {
    tty: bool,
    open_stdin: bool,
    stdin_once: bool,
    auto_remove: bool,
    stop_signal: i32,
    stop_timeout: i64,
    /// Rows and columns of the terminal at the start.
    console_size: Option<(u16, u16)>,
    /// Log rotation; none: no log.
    log: Option<log::Rotation>,
}

/// The supervisor of one container.
#[derive(Debug)]
struct Supervisor {
    home: Home,
    id: String,
    paths: ContainerPaths,
    settings: Settings,
    launcher: Box<dyn Launcher>,
    watch: Watch,
    signals: Signals,
    timer: Timer,
    listener: Option<OwnedFd>,
    lock: Option<Lock>,
    phase: Phase,
    state: StateRecord,
    /// The container's own at [`MAIN`], then exec sessions.
    sessions: Vec<Option<Box<Session>>>,
    connections: Vec<Connection>,
    /// Children that ended before a starter told what they are.
    orphans: Vec<Ended>,
    /// When a stop becomes a kill.
    deadline: Option<Instant>,
    io: Io,
    /// The running container's root file system. The kernel syncs the whole disk when the last reference to an overlay
    /// goes, and this makes it the monitor's: given up when nobody waits any more, by the monitor's own end.
    rootfs: Option<OwnedFd>,
}

impl Supervisor {
    fn new(
        home: Home,
        id: &str,
        settings: Settings,
        launcher: Box<dyn Launcher>,
        lock: Lock,
        listener: OwnedFd,
    ) -> io::Result<Self> {
        let mut watch = Watch::new()?;
        let signals = Signals::catch()?;
        let timer = Timer::new()?;
        watch.add(listener.as_fd(), Role::Listener, Interest::IN)?;
        watch.add(signals.as_fd(), Role::Signals, Interest::IN)?;
        watch.add(timer.as_fd(), Role::Timer, Interest::IN)?;
        let main = Session {
            tty: settings.tty,
            close_stdin: settings.stdin_once,
            input_closed: !settings.open_stdin,
            size: settings.console_size,
            ..Session::default()
        };
        let paths = home.container(id);
        let state = store::load_state(&home, id).map_err(io::Error::other)?;
        Ok(Self {
            home,
            id: id.to_owned(),
            paths,
            settings,
            launcher,
            watch,
            signals,
            timer,
            listener: Some(listener),
            lock: Some(lock),
            phase: Phase::Idle,
            state,
            sessions: vec![Some(Box::new(main))],
            connections: Vec::new(),
            orphans: Vec::new(),
            deadline: None,
            io: Io::new()?,
            rootfs: None,
        })
    }

    /// Runs until there is nothing left to do.
    fn run(mut self) -> io::Result<()> {
        let mut ready = Vec::with_capacity(32);
        let mut since = Instant::now();
        loop {
            ready.clear();
            self.watch.wait(self.patience(), &mut ready)?;
            if ready.is_empty() {
                self.rest();
                if self.phase == Phase::Idle && self.is_deserted() && since.elapsed() >= DESERTED {
                    self.close_door();
                    return Ok(());
                }
                continue;
            }
            since = Instant::now();
            for &event in &ready {
                if let Some(role) = self.watch.role(event) {
                    self.dispatch(role, event);
                }
            }
            self.drop_finished_sessions();
            if self.phase == Phase::Idle {
                self.start_if_asked();
            }
            if self.phase == Phase::Over && self.sessions.iter().flatten().all(|session| session.clients.is_empty()) {
                return Ok(());
            }
        }
    }

    /// How long to wait for events.
    fn patience(&self) -> Option<Duration> {
        match self.phase {
            Phase::Idle if self.is_deserted() => Some(DESERTED),
            _ if self.io.dirty => Some(AT_REST),
            _ => None,
        }
    }

    fn is_deserted(&self) -> bool {
        self.connections.is_empty() && self.main().clients.is_empty()
    }

    /// Nothing happens: gives back what is only needed when something does.
    fn rest(&mut self) {
        if self.io.dirty {
            self.io.release();
            self.sessions.iter_mut().flatten().for_each(|session| session.calm_down());
            memory::trim();
        }
    }

    fn main(&self) -> &Session {
        self.sessions[MAIN].as_ref().expect("the container's own session stays")
    }

    fn main_mut(&mut self) -> &mut Session {
        self.sessions[MAIN].as_mut().expect("the container's own session stays")
    }

    fn dispatch(&mut self, role: Role, event: Ready) {
        let data = self.paths.data.clone();
        match role {
            Role::Listener => self.accept(),
            Role::Signals => {
                let term = self.signals.drain();
                self.reap();
                if term {
                    self.terminated();
                }
            }
            Role::Timer => {
                self.timer.drain();
                if self.deadline.take().is_some() {
                    self.emit("kill", &[("signal", SIGKILL.to_string())]);
                    self.signal_main(SIGKILL);
                }
            }
            Role::Connection(fd) => self.connection_ready(fd),
            Role::Starter(at) => self.starter_ready(at),
            Role::Output(at, stream) => {
                if let Some(session) = &mut self.sessions[at] {
                    session.readable(stream, &mut self.io, &data, &mut self.watch);
                    if let Some(error) = session.log_error.take()
                        && !std::mem::replace(&mut session.log_complained, true)
                    {
                        self.complain(&format!("log: {error}"));
                    }
                }
            }
            Role::Input(at) => {
                if let Some(session) = &mut self.sessions[at] {
                    session.feed(at, &mut self.watch);
                }
            }
            Role::Client(at, fd) => {
                if let Some(session) = &mut self.sessions[at]
                    && session.client_ready(at, fd, event.what, &mut self.io, &data, &mut self.watch).is_some()
                {
                    let exec = session.exec.clone();
                    match exec {
                        Some(exec) => self.emit("exec_detach", &[("execID", exec)]),
                        None => self.emit("detach", &[]),
                    }
                }
            }
        }
    }

    /// Takes the exit codes of children that have ended.
    fn reap(&mut self) {
        let mut main = None;
        while let Some(ended) = spawn::reap() {
            match self.owner(ended.pid) {
                Some(MAIN) => main = Some(ended.code),
                Some(at) => self.exec_ended(at, ended.code),
                None if self.is_starter(ended.pid) => {}
                None if self.sessions.iter().flatten().any(|session| session.starter.is_some()) => {
                    self.orphans.push(ended)
                }
                None => {}
            }
        }
        // Last, so that exec sessions that ended with it are told first.
        if let Some(code) = main {
            self.ended(code);
        }
    }

    fn owner(&self, pid: i32) -> Option<usize> {
        self.sessions.iter().position(|session| session.as_ref().is_some_and(|s| s.pid == pid && s.ended.is_none()))
    }

    fn is_starter(&self, pid: i32) -> bool {
        self.sessions.iter().flatten().any(|session| session.starter.as_ref().is_some_and(|starter| starter.0 == pid))
    }

    /// A starter has reported.
    fn starter_ready(&mut self, at: usize) {
        let Some(session) = &mut self.sessions[at] else { return };
        let Some((starter, socket)) = session.starter.take() else { return };
        self.io.dirty = true;
        let report = launch::report(&socket, &mut self.io.input);
        self.watch.remove(socket.as_fd());
        match at {
            MAIN => self.started(report, starter),
            _ => self.exec_started(at, report),
        }
        launch::acknowledge(&socket);
        if let Some(pid) = self.sessions[at].as_ref().map(|session| session.pid)
            && let Some(place) = self.orphans.iter().position(|orphan| orphan.pid == pid)
        {
            let code = self.orphans.swap_remove(place).code;
            match at {
                MAIN => self.ended(code),
                _ => self.exec_ended(at, code),
            }
        }
        if self.sessions.iter().flatten().all(|session| session.starter.is_none()) {
            self.orphans.clear();
        }
    }

    /// Sends a signal to the container's process, if that has not ended.
    fn signal_main(&mut self, signal: i32) -> bool {
        let main = self.main();
        main.pid > 0 && main.ended.is_none() && spawn::kill(main.pid, signal).is_ok()
    }

    /// Asks the container's process to end, and sees to it that it does.
    fn stop(&mut self, signal: i32, timeout_s: i64) -> bool {
        if !self.signal_main(signal) {
            return false;
        }
        if let Ok(seconds) = u64::try_from(timeout_s) {
            let at = Instant::now() + Duration::from_secs(seconds.min(u64::from(u32::MAX)));
            let at = self.deadline.map_or(at, |earlier| earlier.min(at));
            self.deadline = Some(at);
            let _ = self.timer.set(Some(at.saturating_duration_since(Instant::now())));
        }
        self.state.stopped_by_user = true;
        true
    }

    /// Somebody ends the login session: the container is stopped as it should be.
    fn terminated(&mut self) {
        match self.phase {
            Phase::Running => {
                self.stop(self.settings.stop_signal, self.settings.stop_timeout);
            }
            Phase::Idle => {
                self.close_door();
                self.phase = Phase::Over;
            }
            _ => {}
        }
    }

    /// Appends an event of the container; its attributes are read anew, for it may have been renamed.
    fn emit(&self, action: &str, extra: &[(&str, String)]) {
        let appended = store::load(&self.home, &self.id)
            .and_then(|record| events::append(&self.home, &Event::container(&record, action, extra)));
        if let Err(error) = appended {
            self.complain(&format!("event {action}: {error}"));
        }
    }

    /// Writes what went wrong to `monitor.log`: nobody else is there to be told.
    fn complain(&self, what: &str) {
        setup::complain(&self.paths.run, what);
    }

    /// Lets nobody in any more: whoever comes launches the next monitor.
    fn close_door(&mut self) {
        let _ = std::fs::remove_file(self.paths.monitor_socket());
        if let Some(listener) = self.listener.take() {
            self.watch.remove(listener.as_fd());
        }
        for connection in std::mem::take(&mut self.connections) {
            self.watch.remove(connection.as_fd());
        }
        self.lock = None;
    }

    fn data(&self) -> PathBuf {
        self.paths.data.clone()
    }
}
