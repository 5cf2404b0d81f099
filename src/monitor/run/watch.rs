//! Which descriptor is what: epoll's set, and a role for each member.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use crate::sys::epoll::{Epoll, Interest, Ready};

/// What a watched descriptor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `monitor.sock`.
    Listener,
    /// The signal descriptor.
    Signals,
    /// A connection on `monitor.sock`.
    Connection(RawFd),
    /// The socket on which a starter reports, by session.
    Starter(usize),
    /// A session's standard output or error, or its terminal.
    Output(usize, usize),
    /// A session's standard input, or its terminal.
    Input(usize),
    /// What the containers' way out is waited for by.
    WayOut,
    /// The set of what published ports wait for.
    Ports,
    /// The socket on which the child reports that changes the container's networks.
    Networks,
    /// A socket of the resolver's.
    Names(Asked),
    /// The counts of the container's cgroup.
    Oom,
    /// The socket of a client attached to a session.
    Client(usize, RawFd),
}

/// A socket by which names are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// By datagrams.
    Datagrams,
    /// By streams to come.
    Listener,
    /// By the stream at this place.
    Stream(usize),
    /// Of others: the question at this place.
    Question(usize),
}

/// Everything that is waited for.
///
/// Slots are indexed by descriptor, which the kernel keeps small. Each has a generation, so that an event of a
/// descriptor that was closed and given out anew while it waited in the batch is recognised.
#[derive(Debug)]
pub struct Watch {
    epoll: Epoll,
    slots: Vec<(u32, Option<Role>)>,
}

impl Watch {
    /// Nothing watched yet.
    pub fn new() -> io::Result<Self> {
        Ok(Self { epoll: Epoll::new()?, slots: Vec::new() })
    }

    fn token(&self, fd: usize) -> u64 {
        (u64::from(self.slots[fd].0) << 32) | fd as u64
    }

    /// Watches `fd`.
    pub fn add(&mut self, fd: BorrowedFd<'_>, role: Role, interest: Interest) -> io::Result<()> {
        let at = index(fd);
        if self.slots.len() <= at {
            self.slots.resize(at + 1, (0, None));
        }
        self.slots[at] = (self.slots[at].0.wrapping_add(1), Some(role));
        self.epoll.add(fd, self.token(at), interest)
    }

    /// Changes what is waited for.
    pub fn set(&self, fd: BorrowedFd<'_>, interest: Interest) -> io::Result<()> {
        self.epoll.modify(fd, self.token(index(fd)), interest)
    }

    /// Forgets `fd`; harmless if it is not watched. Needed before closing: a starter may hold a copy of the descriptor,
    /// and the kernel would go on reporting it.
    pub fn remove(&mut self, fd: BorrowedFd<'_>) {
        if let Some(slot) = self.slots.get_mut(index(fd))
            && slot.1.take().is_some()
        {
            let _ = self.epoll.delete(fd);
        }
    }

    /// Waits; appends what happened to `ready`.
    pub fn wait(&self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        self.epoll.wait(timeout, |event| ready.push(event))
    }

    /// The role behind an event; none if its descriptor is no longer watched.
    pub fn role(&self, event: Ready) -> Option<Role> {
        let (generation, role) = *self.slots.get((event.token & 0xffff_ffff) as usize)?;
        role.filter(|_| u64::from(generation) == event.token >> 32)
    }
}

fn index(fd: BorrowedFd<'_>) -> usize {
    fd.as_fd().as_raw_fd().unsigned_abs() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_event_has_no_role() {
        let mut watch = Watch::new().expect("epoll");
        let (r, w) = rustix::pipe::pipe().expect("pipe");
        rustix::io::write(&w, b"x").expect("write");
        watch.add(r.as_fd(), Role::Input(1), Interest::IN).expect("add");
        let mut ready = Vec::new();
        watch.wait(None, &mut ready).expect("wait");
        assert_eq!(watch.role(ready[0]), Some(Role::Input(1)));
        watch.remove(r.as_fd());
        assert_eq!(watch.role(ready[0]), None);
        watch.add(r.as_fd(), Role::Input(2), Interest::IN).expect("again");
        assert_eq!(watch.role(ready[0]), None);
    }
}
