//! Waiting for many descriptors at once: epoll, level-triggered.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll;
pub use rustix::event::epoll::EventFlags as Interest;

/// One thing that happened: which descriptor's token, and what.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// What the caller gave at [`Epoll::add`].
    pub token: u64,
    /// Readable, writable, hung up.
    pub what: Interest,
}

/// Events taken in one wait; the rest come with the next.
const BATCH: usize = 32;

/// An epoll instance, close-on-exec.
#[derive(Debug)]
pub struct Epoll(OwnedFd);

impl AsFd for Epoll {
    /// Readable when something has happened: a set can be a member of another.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Epoll {
    /// A new, empty set.
    pub fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(epoll::CreateFlags::CLOEXEC)?))
    }

    /// Watches `fd`. Hang-up and error are always reported, whatever `interest` says.
    pub fn add(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.0, fd, epoll::EventData::new_u64(token), interest)?)
    }

    /// Changes what is waited for.
    pub fn modify(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.0, fd, epoll::EventData::new_u64(token), interest)?)
    }

    /// No longer watches `fd`. Must come before its close where another process may hold a copy of it.
    pub fn delete(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.0, fd)?)
    }

    /// Blocks until something happens or `timeout` is over (`None`: for ever). Interruption counts as nothing happened.
    pub fn wait(&self, timeout: Option<Duration>, mut each: impl FnMut(Ready)) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); BATCH];
        let limit = timeout
            .map(|t| rustix::time::Timespec { tv_sec: t.as_secs().cast_signed(), tv_nsec: t.subsec_nanos().into() });
        match epoll::wait(&self.0, &mut space[..], limit.as_ref()) {
            Ok((events, _)) => {
                for event in events {
                    each(Ready { token: event.data.u64(), what: event.flags });
                }
                Ok(())
            }
            Err(rustix::io::Errno::INTR) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}
