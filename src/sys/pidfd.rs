//! pidfds: processes by descriptor, which no reuse of a number can turn into another process.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal};

/// A process.
///
/// # Errors
/// `ESRCH`: there is no such process.
pub fn open(pid: i32) -> io::Result<OwnedFd> {
    let pid = Pid::from_raw(pid).filter(|_| pid > 0).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(rustix::process::pidfd_open(pid, PidfdFlags::empty())?)
}

/// Sends a signal.
///
/// # Errors
/// A number that is no signal; not permitted. A process that has ended is no error.
#[allow(unsafe_code)]
pub fn send_signal(pidfd: impl AsFd, signal: i32) -> io::Result<()> {
    if !(1..=64).contains(&signal) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: real-time signals too may be sent to another process; libc's reserved ones matter to the receiver only
    // if it is this process, which nobody names by a pidfd here.
    let signal = unsafe { Signal::from_raw_unchecked(signal) };
    match rustix::process::pidfd_send_signal(pidfd, signal) {
        Err(rustix::io::Errno::SRCH) | Ok(()) => Ok(()),
        Err(err) => Err(err.into()),
    }
}

/// Waits until the process has ended (it need not be a child, nor be reaped).
///
/// # Errors
/// [`io::ErrorKind::TimedOut`].
pub fn wait_exit(pidfd: impl AsFd, timeout: Duration) -> io::Result<()> {
    let end = Instant::now() + timeout;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = rustix::time::Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
        match poll(&mut fds, Some(&left)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(err) => return Err(err.into()),
        }
    }
}

/// Whether the process has not ended.
pub fn is_alive(pidfd: impl AsFd) -> bool {
    wait_exit(pidfd, Duration::ZERO).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_a_child() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().expect("sleep");
        let pidfd = open(i32::try_from(child.id()).expect("pid")).expect("pidfd");
        assert!(is_alive(&pidfd));
        assert_eq!(wait_exit(&pidfd, Duration::from_millis(1)).map_err(|err| err.kind()), Err(io::ErrorKind::TimedOut));
        send_signal(&pidfd, 9).expect("kill");
        wait_exit(&pidfd, Duration::from_secs(5)).expect("ends");
        child.wait().expect("reap");
        send_signal(&pidfd, 9).expect("gone is fine");
        assert!(send_signal(&pidfd, 0).is_err());
    }
}
