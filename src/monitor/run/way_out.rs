//! The containers' way out, as a monitor sees to it: every container with a network does, so that one that was killed
//! comes back though nobody looks.
//!
//! Whoever of the monitors wakes first starts it; the others find it started. Where it cannot be, because the host is not
//! connected to anything, they wait for the host's routes to change.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use super::context::Context;
use super::timers::Due;
use super::watch::Role;
use crate::holder::Found;
use crate::network::way_out;
use crate::sys::epoll::Interest;
use crate::sys::netlink::Socket;
use crate::sys::spawn;

/// How long until another look at one that begins.
const SOON: Duration = Duration::from_millis(20);
/// One that ends sooner does not begin again by itself at once.
const SHORT: Duration = Duration::from_secs(2);
/// How long until a further try, twice as long after each; none comes later than a minute after the one before.
const FIRST_TRY: Duration = Duration::from_secs(2);
const LAST_TRY: Duration = Duration::from_secs(60);

/// A container's interest in the way out.
#[derive(Debug, Default)]
pub struct WayOut {
    watched: Option<Watched>,
    /// Until the next try.
    patience: Duration,
}

/// What is waited for.
#[derive(Debug)]
enum Watched {
    /// Its end; since when it is known.
    End(Found, Instant),
    /// That a process which starts it has done so: the end of this pipe.
    Start(OwnedFd),
    /// The host's routes.
    Routes(Socket),
}

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::End(found, _) => found.pidfd().as_fd(),
            Self::Start(pipe) => pipe.as_fd(),
            Self::Routes(socket) => socket.as_fd(),
        }
    }
}

impl WayOut {
    /// Looks who it is, and waits for what may become of it.
    pub fn look(&mut self, cx: &mut Context) {
        if let Some(found) = way_out::find(&cx.files.home) {
            return self.wait_for(Watched::End(found, Instant::now()), cx);
        }
        if way_out::is_there(&cx.files.home) {
            self.forget(cx);
            return cx.timers.set(Due::WayOut, SOON);
        }
        match way_out::route_changes() {
            Ok(socket) => self.wait_for(Watched::Routes(socket), cx),
            Err(error) => cx.files.complain(&format!("netlink: {error}")),
        }
        self.patience = (self.patience * 2).max(FIRST_TRY);
        if self.patience <= LAST_TRY {
            cx.timers.set(Due::WayOut, self.patience);
        }
    }

    /// Its time is over: one that begins is looked at again, one that is not there is tried again.
    pub fn due(&mut self, cx: &mut Context) {
        match self.watched {
            Some(Watched::Routes(_)) => self.revive(cx),
            _ => self.look(cx),
        }
    }

    /// What was waited for has come.
    pub fn ready(&mut self, cx: &mut Context) {
        match &self.watched {
            Some(Watched::End(_, since)) if since.elapsed() >= SHORT => {
                self.patience = Duration::ZERO;
                self.revive(cx);
            }
            Some(Watched::Routes(_)) => self.revive(cx),
            _ => self.look(cx),
        }
    }

    /// Nothing is waited for any more.
    pub fn forget(&mut self, cx: &mut Context) {
        if let Some(watched) = self.watched.take() {
            cx.watch.remove(watched.as_fd());
        }
        cx.timers.cancel(Due::WayOut);
    }

    fn wait_for(&mut self, watched: Watched, cx: &mut Context) {
        self.forget(cx);
        match cx.watch.add(watched.as_fd(), Role::WayOut, Interest::IN) {
            Ok(()) => self.watched = Some(watched),
            Err(error) => cx.files.complain(&format!("epoll: {error}")),
        }
    }

    /// Has a process start it: to find a program, and the namespaces it needs, is not for who must stay small.
    fn revive(&mut self, cx: &mut Context) {
        let home = &cx.files.home;
        let forked = || -> io::Result<OwnedFd> {
            let (end, done) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
            spawn::fork(|| {
                let closed = spawn::close_all_but(&[done.as_raw_fd()]);
                i32::from(closed.is_err() || way_out::revive(home).is_err())
            })?;
            Ok(end)
        };
        match forked() {
            Ok(end) => self.wait_for(Watched::Start(end), cx),
            Err(error) => cx.files.complain(&format!("the way out cannot be started: {error}")),
        }
    }
}
