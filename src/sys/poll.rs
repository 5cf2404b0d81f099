//! poll(2): waiting until a descriptor has something to tell.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};

/// Waits until one of these descriptors is readable, or hung up: true; or until `gone` is: false.
///
/// # Errors
/// Those of poll(2).
pub fn readable_before<'a>(
    these: impl IntoIterator<Item = BorrowedFd<'a>>,
    gone: Option<BorrowedFd<'a>>,
) -> io::Result<bool> {
    let all = gone.into_iter().chain(these);
    let mut fds: Vec<_> = all.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
    loop {
        match rustix::event::poll(&mut fds, None) {
            Ok(_) if gone.is_some() && !fds[0].revents().is_empty() => return Ok(false),
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(err) => return Err(err.into()),
        }
    }
}

/// Waits until one of these descriptors is readable, or hung up, or for so long.
///
/// # Errors
/// Those of poll(2).
pub fn readable_within<'a>(these: impl IntoIterator<Item = BorrowedFd<'a>>, time: Duration) -> io::Result<()> {
    let mut fds: Vec<_> = these.into_iter().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
    let limit = Timespec::try_from(time).map_err(io::Error::other)?;
    match rustix::event::poll(&mut fds, Some(&limit)) {
        // Whoever waits looks again.
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(err) => Err(err.into()),
    }
}

/// Waits until a file of the kernel's says that it has changed since it was read, or for so long.
///
/// # Errors
/// Those of poll(2).
pub fn changed_within(file: impl AsFd, time: Duration) -> io::Result<()> {
    let limit = Timespec::try_from(time).map_err(io::Error::other)?;
    let mut fds = [PollFd::new(&file, PollFlags::PRI)];
    match rustix::event::poll(&mut fds, Some(&limit)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(err) => Err(err.into()),
    }
}

/// Whether a descriptor is readable now, or hung up.
pub fn is_readable(fd: impl AsFd) -> bool {
    let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, Some(&now))).is_ok_and(|ready| ready > 0)
}
