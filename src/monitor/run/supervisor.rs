//! The loop: waits until something happens, and tells the part whose it is.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use super::children::{self, Children, Loss};
use super::context::Context;
use super::door::Received;
use super::execs::EXPIRY;
use super::life::{MAIN, Phase};
use super::parts::Parts;
use super::requests;
use super::streams::Streams;
use super::timers::Due;
use super::watch::Role;
use crate::sys::epoll::{Interest, Ready};
use crate::sys::memory;
use crate::sys::process;
use crate::sys::spawn::Signals;

/// How long a monitor stays that nobody has asked anything.
const DESERTED: Duration = Duration::from_secs(2);
/// After so long without an event the buffers' pages are given back.
const AT_REST: Duration = Duration::from_millis(500);

/// The supervisor of one container.
#[derive(Debug)]
pub struct Supervisor {
    parts: Parts,
    children: Children,
    signals: Signals,
}

impl Supervisor {
    /// Supervises.
    pub fn new(mut parts: Parts) -> io::Result<Self> {
        let signals = Signals::catch()?;
        parts.cx.watch.add(signals.as_fd(), Role::Signals, Interest::IN)?;
        Ok(Self { parts, children: Children::default(), signals })
    }

    /// Runs until there is nothing left to do.
    pub fn run(mut self) -> io::Result<()> {
        let mut ready = Vec::with_capacity(32);
        self.plan();
        loop {
            ready.clear();
            self.parts.cx.watch.wait(self.parts.cx.timers.patience(), &mut ready)?;
            while let Some(due) = self.parts.cx.timers.expired() {
                self.due(due);
            }
            for &event in &ready {
                if let Some(role) = self.parts.cx.watch.role(event) {
                    self.dispatch(role, event);
                }
            }
            self.parts.execs.tidy(&mut self.parts.cx);
            let Parts { life, networks, cx, door, .. } = &mut self.parts;
            networks.begin(life, cx, door);
            if matches!(self.parts.life.phase(), Phase::Created) && self.parts.door.wants_start() {
                self.parts.life.start(&mut self.parts.cx, &mut self.parts.door);
            }
            if matches!(self.parts.life.phase(), Phase::Over)
                && !self.parts.life.streams.has_clients()
                && !self.parts.execs.have_clients()
                && self.parts.cx.doomed.is_empty()
            {
                return Ok(());
            }
            if !ready.is_empty() {
                self.plan();
            }
        }
    }

    /// Something happened: what follows if nothing more does.
    fn plan(&mut self) {
        self.parts.cx.rest_later(AT_REST);
        let waits = matches!(self.parts.life.phase(), Phase::Created);
        match waits && self.parts.door.is_deserted() && !self.parts.life.streams.has_clients() {
            true => self.parts.cx.timers.set(Due::Desertion, DESERTED),
            false => self.parts.cx.timers.cancel(Due::Desertion),
        }
    }

    fn due(&mut self, due: Due) {
        match due {
            Due::Rest => {
                self.parts.cx.io.release();
                self.parts.life.streams.calm_down();
                self.parts.life.ports.rest();
                self.parts.execs.all_streams().for_each(Streams::calm_down);
                memory::rest();
            }
            Due::Desertion => self.parts.life.leave(&mut self.parts.cx, &mut self.parts.door),
            Due::Listen => self.parts.door.listen_again(&mut self.parts.cx.watch),
            Due::Kill => self.parts.life.kill(&mut self.parts.cx, &mut self.parts.door),
            Due::LastWords(at) => self.parts.execs.no_more_words(at, &mut self.parts.cx),
            Due::WayOut => self.parts.way_out.due(&mut self.parts.cx),
            Due::Ports => self.parts.life.ports.due(&mut self.parts.cx),
            Due::Datagrams => self.parts.life.ports.datagrams_due(&mut self.parts.cx),
            Due::Names => {
                let Parts { names, life, cx, .. } = &mut self.parts;
                names.due(life, cx);
            }
            Due::Expiry => {
                if self.parts.cx.files.expire_execs(EXPIRY) {
                    self.parts.cx.timers.set(Due::Expiry, EXPIRY);
                }
            }
        }
    }

    fn dispatch(&mut self, role: Role, event: Ready) {
        match role {
            Role::Listener => self.parts.door.accept(&mut self.parts.cx),
            Role::Signals => {
                let term = self.signals.drain();
                let Parts { life, execs, cx, .. } = &mut self.parts;
                for loss in self.children.reap(life, execs, &mut cx.doomed) {
                    self.lost(loss);
                }
                if term {
                    self.parts.life.terminated(&mut self.parts.cx, &mut self.parts.door);
                }
            }
            Role::Connection(fd) => match self.parts.door.receive(fd, &mut self.parts.cx) {
                Received::Request(asked) => requests::serve(asked, &mut self.parts),
                Received::End(waits) => requests::gone(&waits, &mut self.parts),
                Received::Nothing => {}
            },
            Role::Starter(at) => self.starter_ready(at),
            Role::Networks => {
                let Parts { life, networks, way_out, cx, door, .. } = &mut self.parts;
                networks.ready(life, cx, door);
                if life.leads_out() {
                    way_out.look(cx);
                }
            }
            Role::WayOut if self.parts.life.leads_out() => self.parts.way_out.ready(&mut self.parts.cx),
            Role::Oom => self.look_for_oom(),
            Role::WayOut => self.parts.way_out.forget(&mut self.parts.cx),
            Role::Ports => self.parts.life.ports.ready(&mut self.parts.cx),
            Role::Names(what) => {
                let Parts { names, life, cx, .. } = &mut self.parts;
                names.ready(what, event, life, cx);
            }
            Role::Output(at, stream) => {
                // Who sees what it prints may take it for started, and signal it.
                if at == MAIN && self.parts.life.starter().is_some() {
                    self.take_reports();
                }
                if let Some((streams, cx, _)) = self.streams(at) {
                    streams.readable(stream, cx);
                }
            }
            Role::Input(at) => {
                if let Some((streams, cx, _)) = self.streams(at) {
                    streams.feed(&mut cx.watch);
                }
            }
            Role::Client(at, fd) => {
                if let Some((streams, cx, exec)) = self.streams(at)
                    && streams.client_ready(fd, event.what, cx).is_some()
                {
                    match exec {
                        Some(exec) => cx.files.emit("exec_detach", &[("execID", exec.to_owned())]),
                        None => cx.files.emit("detach", &[]),
                    }
                }
            }
        }
    }

    /// The streams that descriptors with this number belong to, and the exec session that they are of.
    fn streams(&mut self, at: usize) -> Option<(&mut Streams, &mut Context, Option<&str>)> {
        match at {
            MAIN => Some((&mut self.parts.life.streams, &mut self.parts.cx, None)),
            at => self.parts.execs.streams(at).map(|(streams, id)| (streams, &mut self.parts.cx, Some(id))),
        }
    }

    fn look_for_oom(&mut self) {
        if self.parts.oom.look() {
            self.parts.life.short_of_memory(&self.parts.cx);
        }
    }

    fn lost(&mut self, loss: Loss) {
        if matches!(loss, Loss::Container(_)) {
            self.look_for_oom();
            self.parts.oom.forget(&mut self.parts.cx);
        }
        let Parts { life, execs, networks, cx, door, names, .. } = &mut self.parts;
        match loss {
            Loss::Exec(at, code) => execs.ended(at, code, cx),
            Loss::Container(code) => {
                names.end(cx);
                networks.end(cx, door);
                life.ended(code, execs, cx, door);
            }
            Loss::Starter(pid, since) => {
                // In this order: what a starter made is a child of this process only once that starter has ended, and
                // then its report, if it made one, is there to be taken.
                let children = process::children();
                self.take_reports();
                let Parts { life, execs, networks, cx, .. } = &mut self.parts;
                // It is not waited for any more.
                cx.doomed.retain(|(doomed, _)| *doomed != pid);
                children::end_strays(&children, since, life, execs, networks.child(), &cx.doomed);
            }
        }
    }

    fn take_reports(&mut self) {
        let Parts { life, execs, .. } = &self.parts;
        let own = life.starter().map(|starter| (MAIN, starter));
        let all = own.into_iter().chain(execs.starters());
        let reported: Vec<usize> = all.filter(|(_, starter)| starter.has_reported()).map(|(at, _)| at).collect();
        reported.into_iter().for_each(|at| self.starter_ready(at));
    }

    /// A starter has reported; its process may have ended before.
    fn starter_ready(&mut self, at: usize) {
        let pid = if at == MAIN {
            self.parts.oom.watch(&mut self.parts.cx);
            self.parts.life.starter_ready(&mut self.parts.cx, &mut self.parts.door);
            if self.parts.life.leads_out() {
                self.parts.way_out.look(&mut self.parts.cx);
            }
            if let Some(resolver) = self.parts.life.take_resolver() {
                self.parts.names.begin(resolver, &mut self.parts.cx);
            }
            self.parts.life.pid()
        } else {
            self.parts.execs.starter_ready(at, &mut self.parts.cx, &mut self.parts.door);
            self.parts.execs.pid(at)
        };
        if let Some(code) = self.children.claim(pid, &self.parts.life, &self.parts.execs) {
            self.lost(if at == MAIN { Loss::Container(code) } else { Loss::Exec(at, code) });
        }
    }
}
