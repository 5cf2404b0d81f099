//! A connection to a published port: the client's socket, the one towards the container, and a flow each way.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt;

use super::flow::{Flow, Pipes};
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::sockets;

/// Which of the two sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client's.
    Client,
    /// The one towards the container.
    Server,
}

/// What has become of it.
#[derive(Debug, PartialEq, Eq)]
pub enum State {
    /// It goes on.
    Open,
    /// It is over.
    Over,
}

/// One socket, and what it is waited for.
#[derive(Debug)]
struct End {
    socket: OwnedFd,
    /// None: it is not in the set.
    watched: Option<Interest>,
    /// It is not, for it would tell without end that it is hung up.
    left_out: bool,
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    client: End,
    server: End,
    /// From the client.
    up: Flow,
    /// To the client.
    down: Flow,
    /// The container has answered.
    connected: bool,
}

impl Connection {
    /// One whose second socket is connected, or is being so.
    pub fn new(client: OwnedFd, server: OwnedFd, connected: bool) -> Self {
        let end = |socket| {
            // What was sent as urgent has its place among the other bytes.
            let _ = sockopt::set_socket_oobinline(&socket, true);
            End { socket, watched: None, left_out: false }
        };
        Self { client: end(client), server: end(server), up: Flow::default(), down: Flow::default(), connected }
    }

    /// Begins: what is there goes through, and for what may come is waited. Tokens are those of the sides.
    pub fn begin(&mut self, epoll: &Epoll, tokens: [u64; 2], pipes: &mut Pipes, buf: &mut [u8]) -> State {
        if self.connected {
            return self.go_on(epoll, tokens, pipes, buf, None);
        }
        // Until the container has answered, nothing is waited for from the client but its end.
        let watched = self.server.watch(epoll, tokens[1], Interest::OUT);
        match watched.and_then(|()| self.client.watch(epoll, tokens[0], Interest::empty())) {
            Ok(()) => State::Open,
            Err(_) => self.broken(),
        }
    }

    /// Something happened at one of its sockets.
    pub fn ready(
        &mut self,
        side: Side,
        what: Interest,
        epoll: &Epoll,
        tokens: [u64; 2],
        pipes: &mut Pipes,
        buf: &mut [u8],
    ) -> State {
        if !self.connected {
            match side {
                Side::Client => return self.broken(),
                Side::Server => match sockopt::socket_error(&self.server.socket) {
                    Ok(Ok(())) if !what.contains(Interest::HUP) => self.connected = true,
                    // Refused, or not answered.
                    _ => return self.broken(),
                },
            }
        }
        let hung_up = what.intersects(Interest::HUP | Interest::ERR).then_some((side, what));
        self.go_on(epoll, tokens, pipes, buf, hung_up)
    }

    fn go_on(
        &mut self,
        epoll: &Epoll,
        tokens: [u64; 2],
        pipes: &mut Pipes,
        buf: &mut [u8],
        hung_up: Option<(Side, Interest)>,
    ) -> State {
        let (client, server) = (self.client.socket.as_fd(), self.server.socket.as_fd());
        let up = self.up.pump(client, server, pipes, buf);
        let down = self.down.pump(server, client, pipes, buf);
        if up.is_err() || down.is_err() {
            return self.broken();
        }
        if self.up.is_over() && self.down.is_over() {
            return State::Over;
        }
        if hung_up.is_some_and(|(_, what)| what.contains(Interest::ERR)) {
            return self.broken();
        }
        match self.watch(epoll, tokens, hung_up.map(|(side, _)| side)) {
            Ok(()) => State::Open,
            Err(_) => self.broken(),
        }
    }

    /// The container has ended, or the monitor is about to: what is there goes through, and then it is over.
    pub fn last_words(&mut self, pipes: &mut Pipes, buf: &mut [u8]) {
        let (client, server) = (self.client.socket.as_fd(), self.server.socket.as_fd());
        if !self.connected || self.down.pump(server, client, pipes, buf).is_err() {
            self.broken();
        }
    }

    /// Waits for what the flows need. A socket at which there is nothing to wait for, and which is hung up, is left out.
    fn watch(&mut self, epoll: &Epoll, tokens: [u64; 2], hung_up: Option<Side>) -> io::Result<()> {
        let interest = |from: &Flow, to: &Flow| {
            let input = if from.wants_in() { Interest::IN } else { Interest::empty() };
            input | if to.wants_out() { Interest::OUT } else { Interest::empty() }
        };
        let client = interest(&self.up, &self.down);
        let server = interest(&self.down, &self.up);
        self.client.set(epoll, tokens[0], client, hung_up == Some(Side::Client))?;
        self.server.set(epoll, tokens[1], server, hung_up == Some(Side::Server))
    }

    /// One side is gone: the other learns it as it would without anybody in between. What the other side has not got yet
    /// of what was sent to it before is not lost for that.
    fn broken(&self) -> State {
        for end in [&self.client, &self.server] {
            if sockets::unacknowledged(&end.socket).unwrap_or_default() == 0 {
                let _ = sockopt::set_socket_linger(&end.socket, Some(Duration::ZERO));
            }
        }
        State::Over
    }

    /// Gives up what it has borrowed.
    pub fn give_up(&mut self, pipes: &mut Pipes) {
        self.up.give_up(pipes);
        self.down.give_up(pipes);
    }
}

impl End {
    /// Begins to wait.
    fn watch(&mut self, epoll: &Epoll, token: u64, wanted: Interest) -> io::Result<()> {
        epoll.add(&self.socket, token, wanted)?;
        self.watched = Some(wanted);
        Ok(())
    }

    fn set(&mut self, epoll: &Epoll, token: u64, wanted: Interest, hung_up: bool) -> io::Result<()> {
        let wanted = (!(wanted.is_empty() && hung_up)).then_some(wanted);
        // One that was left out stays out until something is wanted of it.
        let wanted = if self.left_out && wanted == Some(Interest::empty()) { None } else { wanted };
        if wanted == self.watched {
            return Ok(());
        }
        match (self.watched, wanted) {
            (None, Some(wanted)) => epoll.add(&self.socket, token, wanted)?,
            (Some(_), Some(wanted)) => epoll.modify(&self.socket, token, wanted)?,
            (_, None) => epoll.delete(&self.socket)?,
        }
        self.left_out = wanted.is_none();
        self.watched = wanted;
        Ok(())
    }
}
