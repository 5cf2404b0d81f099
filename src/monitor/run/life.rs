//! The life of the container: created, starting, running, over. A run is a phase of it.
//!
//! An end comes in a fixed order: first the record, then the event, then the cleaning up, then what makes it survive a
//! loss of power, and last those who wait are told. A kill between any two steps leaves something that the next pierless
//! process that looks can finish.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::context::Context;
use super::door::{Door, Waits};
use super::execs::{Execs, FIRST};
use super::launch::{Launched, Launcher, Refusal, Resolver, Starter};
use super::log::JsonLog;
use super::ports::{Onward, Ports};
use super::settings::Settings;
use super::streams::Streams;
use super::timers::Due;
use super::watch::Role;
use crate::model::networking::Endpoint;
use crate::model::time;
use crate::monitor::protocol::{Failure, Reply};
use crate::network;
use crate::network::ports::{self, Listening};
use crate::runtime;
use crate::state::atomic::Durability;
use crate::state::container::{StateRecord, Status};
use crate::state::events::Event;
use crate::state::{claim, ending, store};
use crate::sys::epoll::Interest;
use crate::sys::namespaces::in_network;
use crate::sys::{pidfd, process, spawn};

/// The container's own streams among all streams; exec sessions' come behind.
pub const MAIN: usize = FIRST - 1;

/// How a container is asked to end.
#[derive(Debug, Clone, Copy)]
pub struct Stop {
    /// The first signal.
    pub signal: i32,
    /// Seconds until SIGKILL; negative: never.
    pub timeout_s: i64,
}

/// Where the container is.
#[derive(Debug)]
pub enum Phase {
    /// Not started.
    Created,
    /// A starter works.
    Starting {
        /// The starter.
        starter: Starter,
        /// A stop that came meanwhile.
        stop: Option<Stop>,
    },
    /// Its process runs.
    Running {
        /// The process.
        pid: i32,
    },
    /// It has ended, or could not be started; only clients that have not got everything yet keep the monitor.
    Over,
}

/// A container's life.
#[derive(Debug)]
pub struct Life {
    /// What was asked.
    pub settings: Settings,
    /// How its processes are started.
    pub launcher: Box<dyn Launcher>,
    /// Its own streams.
    pub streams: Streams,
    /// Its published ports.
    pub ports: Ports,
    phase: Phase,
    state: StateRecord,
    /// The running container's root file system. The kernel syncs the whole disk when the last reference to an overlay
    /// goes, and this makes it the monitor's: given up when nobody waits any more, by the monitor's own end.
    rootfs: Option<OwnedFd>,
    /// The end is that of a stop, of which it is to be told.
    stop_told: bool,
    /// Its mount namespace, where its processes do not all end with the first one.
    mounts: Option<OwnedFd>,
    /// The namespace with the bridges that it is connected to: open, so that it stays should its holder be killed.
    hub: Option<OwnedFd>,
    /// Its own network namespace, where what is done for it at its side of the network is done.
    own_network: Option<OwnedFd>,
    /// What its resolver is made of, until that is.
    resolver: Option<Resolver>,
}

impl Life {
    /// That of a container that does not run.
    pub fn new(settings: Settings, launcher: Box<dyn Launcher>, state: StateRecord) -> Self {
        let streams = Streams::new(MAIN, settings.shape());
        let (rootfs, mounts, hub, own_network, resolver) = (None, None, None, None, None);
        let (phase, stop_told, ports) = (Phase::Created, false, Ports::default());
        Self { settings, launcher, streams, ports, phase, state, rootfs, mounts, hub, own_network, resolver, stop_told }
    }

    /// Where it is.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Its process, if that runs.
    pub fn pid(&self) -> Option<i32> {
        match self.phase {
            Phase::Running { pid } => Some(pid),
            _ => None,
        }
    }

    /// Whether it runs, and is connected to a network that leads anywhere.
    pub fn leads_out(&self) -> bool {
        let placed = self.state.endpoints.iter().flat_map(|endpoint| [endpoint.v4, endpoint.v6]).flatten();
        self.pid().is_some() && placed.filter_map(|placed| placed.gateway).next().is_some()
    }

    /// Its connections to networks.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.state.endpoints
    }

    /// Its own network namespace and that of the bridges, if it runs and is connected to such.
    pub fn namespaces(&self) -> Option<(&OwnedFd, &OwnedFd)> {
        self.pid().and(self.own_network.as_ref().zip(self.hub.as_ref()))
    }

    /// Commits what its connections are from now on. Its published ports lead where these do; if it had none, for it was
    /// connected to nothing that leads anywhere, they are opened now.
    ///
    /// # Errors
    /// A port is taken; the record cannot be written. Then nothing has changed.
    pub fn change_endpoints(&mut self, endpoints: Vec<Endpoint>, cx: &mut Context) -> Result<(), Refusal> {
        let (home, id) = (&cx.files.home, &cx.files.id);
        let opened = match self.ports.are_open() {
            true => Vec::new(),
            false => {
                let record = store::load(home, id).map_err(Refusal::system)?;
                ports::open(home, &record, &endpoints).map_err(Refusal::system)?
            }
        };
        let before = (self.state.endpoints.clone(), self.state.ports.clone());
        self.state.endpoints = endpoints;
        self.state.ports.extend(opened.iter().map(|one| one.bound));
        if let Err(error) = store::save_state(home, id, &self.state, Durability::Process) {
            (self.state.endpoints, self.state.ports) = before;
            if !opened.is_empty() {
                ports::give_back(home, id);
            }
            return Err(Refusal::system(error));
        }
        self.ports.follow(&self.state.ports, &self.state.endpoints, cx);
        if let Some(own) = self.own_network.as_ref().filter(|_| !opened.is_empty()) {
            let kept =
                in_network(own, || ports::keep_answers(&self.state.ports, ports::targets(&self.state.endpoints)));
            if let Err(error) = kept {
                cx.files.complain(&format!("published ports: {error}"));
            }
        }
        self.publish(opened, cx);
        Ok(())
    }

    /// Its own network namespace, if it is connected.
    pub fn own_network(&self) -> Option<BorrowedFd<'_>> {
        self.own_network.as_ref().map(AsFd::as_fd)
    }

    /// What its resolver is made of, once it runs.
    pub fn take_resolver(&mut self) -> Option<Resolver> {
        self.pid().and_then(|_| self.resolver.take())
    }

    /// Its starter, if that works.
    pub fn starter(&self) -> Option<&Starter> {
        match &self.phase {
            Phase::Starting { starter, .. } => Some(starter),
            _ => None,
        }
    }

    /// Forks the starter of the container.
    pub fn start(&mut self, cx: &mut Context, door: &mut Door) {
        // Those of the run before.
        store::remove_execs(&cx.files.home, &cx.files.id);
        (self.state.kept, self.stop_told) = (false, false);
        match self.begin(cx).and_then(|()| self.fork_starter(cx)) {
            Ok(starter) => self.phase = Phase::Starting { starter, stop: None },
            Err(error) => return self.start_failed(&Refusal::system(error), cx, door),
        }
        // While the starter works.
        if let Err(error) = self.persist(cx) {
            self.end_starter(&Refusal::system(error), cx, door);
        }
    }

    /// Room for the end comes first: nothing may run whose end could not be recorded.
    fn begin(&self, cx: &Context) -> io::Result<()> {
        let (home, id) = (&cx.files.home, &cx.files.id);
        ending::prepare_exit(home, id).map_err(io::Error::other)?;
        match self.settings.auto_remove {
            true => Ok(()),
            false => ending::commit_begin(home, id, &self.state).map_err(io::Error::other),
        }
    }

    /// Makes the committed state survive a loss of power, unless the container itself need not.
    fn persist(&self, cx: &Context) -> io::Result<()> {
        match self.settings.auto_remove {
            true => Ok(()),
            false => ending::persist(&cx.files.home, &cx.files.id).map_err(io::Error::other),
        }
    }

    fn fork_starter(&mut self, cx: &mut Context) -> io::Result<Starter> {
        if let Some(rotation) = &self.settings.log {
            self.streams.log_to(JsonLog::open(&cx.files.paths.log(), rotation.clone())?);
        }
        let stdio = self.streams.open(&mut cx.watch)?;
        let launcher = &self.launcher;
        let starter = Starter::fork(&stdio.descriptors(), || launcher.start(stdio))?;
        cx.watch.add(starter.as_fd(), Role::Starter(MAIN), Interest::IN)?;
        Ok(starter)
    }

    /// The starter has reported: commits the start and tells.
    pub fn starter_ready(&mut self, cx: &mut Context, door: &mut Door) {
        let (starter, stop) = match std::mem::replace(&mut self.phase, Phase::Created) {
            Phase::Starting { starter, stop } => (starter, stop),
            other => return self.phase = other,
        };
        cx.io.dirty = true;
        let Some(report) = starter.report(&mut cx.io.input) else {
            // The kernel closes its socket before it tells that it has ended, and only then what it made is found.
            cx.mourn(starter);
            return self.start_failed(&Refusal::killed(), cx, door);
        };
        cx.watch.remove(starter.as_fd());
        match report {
            Ok(launched) => {
                self.started(launched, cx, door);
                cx.timers.cancel(Due::Kill);
                if let Some(stop) = stop {
                    self.stop(stop, cx, door);
                }
            }
            Err(refusal) => self.start_failed(&refusal, cx, door),
        }
        starter.acknowledge();
    }

    fn started(&mut self, launched: Launched, cx: &mut Context, door: &mut Door) {
        let Launched { started, network } = launched;
        let pid = started.pid;
        (self.rootfs, self.mounts) = (started.rootfs, started.mounts);
        (self.hub, self.own_network, self.resolver) = (network.hub, network.own, network.resolver);
        network.troubles.iter().for_each(|why| cx.files.complain(why));
        if let Some(master) = started.terminal
            && let Err(error) = self.streams.take_terminal(master, &mut cx.watch)
        {
            cx.files.complain(&format!("terminal: {error}"));
        }
        let state = StateRecord {
            status: Status::Running,
            pid,
            pid_start: process::start_time(pid).unwrap_or_default(),
            boot_id: process::boot_id().unwrap_or_default(),
            started_at: time::now(),
            finished_at: self.state.finished_at,
            exits: self.state.exits,
            kept: self.state.kept,
            endpoints: network.endpoints,
            ports: network.published.iter().map(|one| one.bound).collect(),
            ..StateRecord::default()
        };
        let named = door.name_init(claim::Process { pid, start: state.pid_start }).map_err(|error| error.to_string());
        let committed =
            || ending::commit_start(&cx.files.home, &cx.files.id, &state).map_err(|error| error.to_string());
        if let Err(error) = named.and_then(|()| committed()) {
            take_back(pid);
            network::release(&cx.files.home, &cx.files.id, &state.endpoints);
            drop(network.published);
            return self.start_failed(&Refusal::system(error), cx, door);
        }
        self.state = state;
        self.phase = Phase::Running { pid };
        self.publish(network.published, cx);
        cx.files.tell("start", |record| {
            let mut events = network::events(record, &self.state.endpoints, "connect");
            events.push(Event::container(record, "start", &[]));
            events
        });
        self.streams.listen(&cx.watch);
        door.answer_all(&Reply::Running { pid }, &mut cx.watch, |waits| matches!(waits, Waits::Start));
    }

    /// From now on its published ports are answered at.
    fn publish(&mut self, published: Vec<Listening>, cx: &mut Context) {
        let (Some(own), Some(hub)) = (&self.own_network, &self.hub) else { return };
        let begun = own
            .try_clone()
            .and_then(|own| self.ports.begin(published, Onward::new(own, hub.try_clone()?, &self.state.endpoints), cx));
        if let Err(error) = begun {
            cx.files.complain(&format!("published ports: {error}"));
        }
    }

    /// Nothing runs: records why, as dockerd does, and ends.
    fn start_failed(&mut self, refusal: &Refusal, cx: &mut Context, door: &mut Door) {
        self.state.error.clone_from(&refusal.message);
        self.state.exit_code = refusal.failure.exit_code();
        self.state.pid = 0;
        cx.files.commit_exit(&self.state);
        self.streams.last_words(cx);
        self.streams.disconnect(&mut cx.watch);
        self.clean_up(cx);
        self.persist_end(cx);
        let failed = Reply::Failed { kind: refusal.failure, message: refusal.message.clone() };
        door.answer_all(&failed, &mut cx.watch, |waits| matches!(waits, Waits::Start | Waits::End));
        self.leave(cx, door);
    }

    /// The kernel has ended a process of the container for want of memory.
    pub fn short_of_memory(&mut self, cx: &Context) {
        cx.files.emit("oom", &[]);
        if !std::mem::replace(&mut self.state.oom_killed, true) && self.pid().is_some() {
            // Its end will be recorded with it; until then this is worth knowing, and no more.
            let _ = store::save_state(&cx.files.home, &cx.files.id, &self.state, Durability::Process);
        }
    }

    /// The container's process has ended with this code.
    pub fn ended(&mut self, code: i32, execs: &mut Execs, cx: &mut Context, door: &mut Door) {
        self.phase = Phase::Over;
        cx.timers.cancel(Due::Kill);
        self.ports.close(cx);
        self.streams.last_words(cx);
        self.streams.disconnect(&mut cx.watch);

        self.state.status = Status::Exited;
        self.state.pid = 0;
        self.state.exit_code = code;
        self.state.finished_at = time::now();
        self.state.exits += 1;
        let endpoints = std::mem::take(&mut self.state.endpoints);
        self.state.ports.clear();
        // Nobody who sees the end finds its names.
        network::withdraw(&cx.files.home, &endpoints);
        // From here on every process sees the end.
        cx.files.commit_exit(&self.state);

        let seconds = process::seconds_since(self.state.pid_start);
        cx.files.tell("die", |record| {
            let mut events = network::events(record, &endpoints, "disconnect");
            if self.stop_told {
                events.push(Event::container(record, "stop", &[]));
            }
            let extra = [("exitCode", code.to_string()), ("execDuration", seconds.to_string())];
            events.push(Event::container(record, "die", &extra));
            events
        });

        execs.end_all(cx);
        self.own_network = None;
        network::release(&cx.files.home, &cx.files.id, &endpoints);
        self.clean_up(cx);
        self.persist_end(cx);
        door.answer_all(&Reply::Exited { code }, &mut cx.watch, |waits| matches!(waits, Waits::End));
        self.leave(cx, door);
    }

    /// What cannot be made to last is told all the same: it is so.
    fn persist_end(&self, cx: &Context) {
        if let Err(error) = self.persist(cx) {
            cx.files.complain(&format!("the end may not survive a loss of power: {error}"));
        }
    }

    /// Removes what the container has beside its files, and those too if it was to be removed. The records of exec
    /// sessions stay until the next start: who sees a stream end looks for its exit code there.
    fn clean_up(&mut self, cx: &Context) {
        if let Some(mounts) = self.mounts.take()
            && let Err(error) = runtime::end_all(mounts)
        {
            cx.files.complain(&format!("processes of the container go on: {error}"));
        }
        self.launcher.delete();
        if self.settings.auto_remove {
            cx.files.remove();
        }
    }

    /// Ends the monitor's duties. It stays only as long as a client has not got everything, and then keeps nobody from
    /// starting the container anew.
    pub fn leave(&mut self, cx: &mut Context, door: &mut Door) {
        self.phase = Phase::Over;
        self.streams.finish_clients(cx);
        door.close(cx);
    }

    /// Sends a signal to the container's process, if that has not ended.
    fn send(&self, signal: i32) -> bool {
        self.pid().is_some_and(|pid| spawn::kill(pid, signal).is_ok())
    }

    /// Sends a signal that a person asked for; false if there is no process.
    pub fn signal(&mut self, signal: i32) -> bool {
        let sent = self.send(signal);
        self.state.stopped_by_user |= sent && (matches!(signal, 9 | 15) || signal == self.settings.stop_signal);
        sent
    }

    /// It stays even if it is to be removed at its end: a start follows.
    pub fn keep(&mut self) {
        self.settings.auto_remove = false;
        self.state.kept = true;
    }

    /// The end is to be told as that of a stop.
    pub fn tell_stop(&mut self) {
        self.stop_told = true;
    }

    /// Asks the container to end, and sees to it that it does; false if it does not run (any more). While a starter
    /// works, it is remembered; a starter that hangs is ended.
    pub fn stop(&mut self, stop: Stop, cx: &mut Context, door: &mut Door) -> bool {
        if let Phase::Starting { stop: later, .. } = &mut self.phase {
            *later = Some(stop);
            if stop.signal == spawn::SIGKILL {
                self.end_starter(&stopped(), cx, door);
                return false;
            }
        } else if self.send(stop.signal) {
            self.state.stopped_by_user = true;
        } else {
            return false;
        }
        if let Ok(seconds) = u64::try_from(stop.timeout_s) {
            cx.timers.set_sooner(Due::Kill, Duration::from_secs(seconds.min(u64::from(u32::MAX))));
        }
        true
    }

    /// A stop's time is over.
    pub fn kill(&mut self, cx: &mut Context, door: &mut Door) {
        if self.starter().is_some() {
            return self.end_starter(&stopped(), cx, door);
        }
        cx.files.emit("kill", &[("signal", spawn::SIGKILL.to_string())]);
        self.send(spawn::SIGKILL);
    }

    /// Ends a start that is under way. Its starter may hang in the kernel, so nobody waits for it.
    fn end_starter(&mut self, why: &Refusal, cx: &mut Context, door: &mut Door) {
        if let Phase::Starting { starter, .. } = std::mem::replace(&mut self.phase, Phase::Created) {
            cx.doom(starter);
            self.start_failed(why, cx, door);
        }
    }

    /// Somebody ends the login session: the container is stopped as it should be.
    pub fn terminated(&mut self, cx: &mut Context, door: &mut Door) {
        match self.phase {
            Phase::Created => {
                self.streams.drop_clients(&mut cx.watch);
                self.leave(cx, door);
            }
            Phase::Over => {}
            Phase::Starting { .. } | Phase::Running { .. } => {
                let stop = Stop { signal: self.settings.stop_signal, timeout_s: self.settings.stop_timeout };
                self.stop(stop, cx, door);
            }
        }
    }
}

/// Why a start failed that a person ended.
fn stopped() -> Refusal {
    let message = "the container was stopped while it was being started".to_owned();
    Refusal { failure: Failure::Conflict, message }
}

/// Ends what has just been started: that it runs could not be recorded.
fn take_back(pid: i32) {
    let _ = spawn::kill(pid, spawn::SIGKILL);
    if let Ok(process) = pidfd::open(pid) {
        let _ = pidfd::wait_exit(process, Duration::from_secs(10));
    }
}
