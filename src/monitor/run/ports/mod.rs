//! Published ports: who connects to one of the host's sockets is connected to the container.
//!
//! ```text
//! onward       sockets in the container's namespaces, and as whom a client is seen
//! connection   two sockets and their ends
//! flow         one direction, through a pipe
//! datagrams    UDP: clients, and what is said to and fro
//! ```
//!
//! What is waited for is in a set of its own, which the monitor's set has as one member: ten thousand connections make
//! no table of the monitor's larger. At rest a connection costs its two descriptors and a few words.

mod connection;
mod datagrams;
mod flow;
mod onward;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use connection::{Connection, Side, State};
use datagrams::Datagrams;
use flow::Pipes;
pub use onward::Onward;
use rustix::io::Errno;
use rustix::net::{self, SocketFlags};

use super::context::Context;
use super::timers::Due;
use super::watch::Role;
use crate::model::networking::Endpoint;
use crate::model::ports::{Bound, Protocol};
use crate::network::ports::{self, Listening};
use crate::sys::epoll::{Epoll, Interest, Ready};

/// How often this part looks for more before others have their turn.
const ROUNDS: usize = 16;
/// The most connections of one port that are accepted before others have their turn.
const ACCEPTED: usize = 32;
/// Descriptors that are left for everything else.
const SPARE: u64 = 100;
/// So many connections are tried whatever the limit.
const FEWEST: usize = 8;
/// How long until connections are accepted again, should no other have ended meanwhile.
const SOON: Duration = Duration::from_millis(200);

/// A socket of the host's at which connections come, and where they are led.
#[derive(Debug)]
struct Listener {
    socket: OwnedFd,
    target: SocketAddr,
}

/// A place for a connection. Whoever had it before had another number.
#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    connection: Option<Connection>,
}

/// What there is if any port is published.
#[derive(Debug)]
struct Open {
    epoll: Epoll,
    listeners: Vec<Listener>,
    datagrams: Datagrams,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// How many connections there may be.
    most: usize,
    /// No more connections are accepted for now.
    full: bool,
    /// What is wrong has been told once: whoever connects cannot fill the disk.
    told: bool,
    pipes: Pipes,
    onward: Onward,
}

/// A container's published ports.
#[derive(Debug, Default)]
pub struct Ports(Option<Box<Open>>);

/// What the set's members are, in the lower half of their tokens, beside their number.
const KINDS: u64 = 7 << 29;
const LISTENER: u64 = 0;
const RECEIVER: u64 = 1 << 29;
const PEER: u64 = 1 << 30;
const CONNECTION: u64 = 1 << 31;

fn tokens(at: usize, generation: u32) -> [u64; 2] {
    let token = (u64::from(generation) << 32) | CONNECTION | ((at as u64) << 1);
    [token, token | 1]
}

impl Ports {
    /// Answers at these sockets from now on.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn begin(&mut self, published: Vec<Listening>, onward: Onward, cx: &mut Context) -> io::Result<()> {
        if published.is_empty() {
            return Ok(());
        }
        let at_gateways = onward.at_gateways(&published).unwrap_or_else(|error| {
            cx.files.complain(&format!("published ports do not answer at the gateways' addresses: {error}"));
            Vec::new()
        });
        let epoll = Epoll::new()?;
        let (mut listeners, mut datagrams) = (Vec::new(), Datagrams::default());
        for Listening { bound, target, socket } in published.into_iter().chain(at_gateways) {
            let target = SocketAddr::new(target, bound.port);
            if bound.protocol == Protocol::Udp {
                epoll.add(&socket, RECEIVER | datagrams.count() as u64, Interest::IN)?;
                datagrams.add(socket, target);
            } else {
                onward::lasting(&socket)?;
                epoll.add(&socket, LISTENER | listeners.len() as u64, Interest::IN)?;
                listeners.push(Listener { socket, target });
            }
        }
        cx.watch.add(epoll.as_fd(), Role::Ports, Interest::IN)?;
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
        let most = usize::try_from(limit.saturating_sub(SPARE) / 2).unwrap_or(usize::MAX).max(FEWEST);
        let (slots, free, pipes, full, told) = (Vec::new(), Vec::new(), Pipes::default(), false, false);
        self.0 = Some(Box::new(Open { epoll, listeners, datagrams, slots, free, most, full, told, pipes, onward }));
        Ok(())
    }

    /// Whether there are any.
    pub fn are_open(&self) -> bool {
        self.0.is_some()
    }

    /// The container's connections are these now: those that are made from now on lead there.
    pub fn follow(&mut self, published: &[Bound], endpoints: &[Endpoint], cx: &Context) {
        let Some(open) = &mut self.0 else { return };
        let kept = open.onward.moved(published, endpoints);
        let [v4, v6] = ports::targets(endpoints);
        let next = |old: IpAddr| {
            let stays = [v4, v6].contains(&Some(old));
            let other = if old.is_ipv6() { v6.or(v4) } else { v4.or(v6) };
            if stays { None } else { other }
        };
        for listener in &mut open.listeners {
            if let Some(address) = next(listener.target.ip()) {
                listener.target.set_ip(address);
            }
        }
        open.datagrams.follow(next, &mut open.onward);
        if let Err(error) = kept {
            cx.files.complain(&format!("published ports: {error}"));
        }
    }

    /// Something happened at one of the sockets.
    pub fn ready(&mut self, cx: &mut Context) {
        let Some(open) = &mut self.0 else { return };
        cx.io.dirty = true;
        let mut ready = Vec::with_capacity(32);
        for _ in 0..ROUNDS {
            ready.clear();
            if open.epoll.wait(Some(Duration::ZERO), |event| ready.push(event)).is_err() || ready.is_empty() {
                break;
            }
            for &event in &ready {
                let number = event.token & !KINDS & 0xffff_ffff;
                match event.token & KINDS {
                    LISTENER => open.accept(number as usize, cx),
                    RECEIVER => open.receive(number as usize, cx),
                    PEER => open.datagrams.answer(number as u32, &mut cx.io.input),
                    _ => open.connection_ready(event, cx),
                }
            }
        }
    }

    /// Connections are accepted again.
    pub fn due(&mut self, cx: &mut Context) {
        if let Some(open) = &mut self.0 {
            open.accept_again(cx);
        }
    }

    /// Some client by UDP may have been silent for too long.
    pub fn datagrams_due(&mut self, cx: &mut Context) {
        if let Some(open) = &mut self.0
            && let Some(left) = open.datagrams.expire(&mut open.onward)
        {
            cx.timers.set(Due::Datagrams, left);
        }
    }

    /// Nothing has moved for a while: what is not needed goes.
    pub fn rest(&mut self) {
        if let Some(open) = &mut self.0 {
            open.pipes.release();
            open.onward.release();
            while open.slots.last().is_some_and(|slot| slot.connection.is_none()) {
                open.slots.pop();
            }
            let len = open.slots.len();
            open.free.retain(|at| (*at as usize) < len);
            open.slots.shrink_to_fit();
            open.free.shrink_to_fit();
        }
    }

    /// The container has ended: nothing listens any more, and what it said last is passed on.
    pub fn close(&mut self, cx: &mut Context) {
        let Some(mut open) = self.0.take() else { return };
        cx.timers.cancel(Due::Ports);
        cx.timers.cancel(Due::Datagrams);
        cx.watch.remove(open.epoll.as_fd());
        open.listeners.clear();
        ports::give_back(&cx.files.home, &cx.files.id);
        for slot in &mut open.slots {
            if let Some(connection) = &mut slot.connection {
                connection.last_words(&mut open.pipes, &mut cx.io.input);
                connection.give_up(&mut open.pipes);
            }
        }
        cx.io.dirty = true;
    }
}

impl Open {
    fn receive(&mut self, at: usize, cx: &mut Context) {
        let before = self.datagrams.has_peers();
        let received = self.datagrams.receive(at, &mut self.onward, (&self.epoll, PEER), &mut cx.io.input);
        if let Err(error) = received
            && !std::mem::replace(&mut self.told, true)
        {
            cx.files.complain(&format!("a datagram to a published port: {error}"));
        }
        if !before && self.datagrams.has_peers() {
            cx.timers.set(Due::Datagrams, datagrams::SILENCE);
        }
    }

    fn accept(&mut self, at: usize, cx: &mut Context) {
        let Some(listener) = self.listeners.get(at) else { return };
        let target = listener.target;
        for _ in 0..ACCEPTED {
            if self.slots.len() - self.free.len() >= self.most {
                // Until one of them has ended.
                return self.pause();
            }
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let (client, from) = match net::acceptfrom_with(&self.listeners[at].socket, flags) {
                Ok((client, Some(from))) => (client, from),
                Ok((_, None)) | Err(Errno::CONNABORTED | Errno::INTR) => continue,
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    // Others have what is missing: nobody tells when it comes free.
                    cx.timers.set(Due::Ports, SOON);
                    return self.pause();
                }
            };
            let server =
                SocketAddr::try_from(from).map_err(io::Error::from).and_then(|from| self.onward.connect(from, target));
            match server {
                Ok((server, connected)) => self.take(Connection::new(client, server, connected), cx),
                Err(error) => {
                    // As whoever connects without anybody in between would see it.
                    let _ = net::sockopt::set_socket_linger(&client, Some(Duration::ZERO));
                    if error.kind() != io::ErrorKind::ConnectionRefused && !std::mem::replace(&mut self.told, true) {
                        cx.files.complain(&format!("a connection to {target}: {error}"));
                    }
                }
            }
        }
    }

    fn take(&mut self, mut connection: Connection, cx: &mut Context) {
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let slot = &mut self.slots[at as usize];
        slot.generation = slot.generation.wrapping_add(1);
        let tokens = tokens(at as usize, slot.generation);
        match connection.begin(&self.epoll, tokens, &mut self.pipes, &mut cx.io.input) {
            State::Open => slot.connection = Some(connection),
            State::Over => {
                connection.give_up(&mut self.pipes);
                self.free.push(at);
            }
        }
    }

    fn connection_ready(&mut self, event: Ready, cx: &mut Context) {
        let at = ((event.token & (CONNECTION - 1)) >> 1) as usize;
        let side = if event.token & 1 == 0 { Side::Client } else { Side::Server };
        let Some(slot) = self.slots.get_mut(at).filter(|slot| u64::from(slot.generation) == event.token >> 32) else {
            return;
        };
        let Some(connection) = &mut slot.connection else { return };
        let tokens = tokens(at, slot.generation);
        let state = connection.ready(side, event.what, &self.epoll, tokens, &mut self.pipes, &mut cx.io.input);
        if state == State::Over {
            connection.give_up(&mut self.pipes);
            slot.connection = None;
            self.free.push(u32::try_from(at).unwrap_or(u32::MAX));
            self.accept_again(cx);
        }
    }

    /// There is no descriptor left: the kernel keeps those who come until others have gone.
    fn pause(&mut self) {
        if !std::mem::replace(&mut self.full, true) {
            for (at, listener) in self.listeners.iter().enumerate() {
                let _ = self.epoll.modify(&listener.socket, at as u64, Interest::empty());
            }
        }
    }

    fn accept_again(&mut self, cx: &mut Context) {
        if std::mem::replace(&mut self.full, false) {
            cx.timers.cancel(Due::Ports);
            for (at, listener) in self.listeners.iter().enumerate() {
                let _ = self.epoll.modify(&listener.socket, at as u64, Interest::IN);
            }
        }
    }
}
