//! Processes: detaching oneself, forking a helper, reaping, and the descriptors by which the kernel tells of it.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use rustix::process::{Pid, Signal, WaitOptions};

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its process id, free for reuse from now on.
    pub pid: i32,
    /// As a shell and Docker count it: the exit status, or 128 + the signal that killed it.
    pub code: i32,
}

/// Forks; the child runs `child` and exits with what it returns, running no destructor and no exit handler.
///
/// Only for single-threaded processes (the monitor): the child may then use anything, as if it were a new program.
pub fn fork(child: impl FnOnce() -> i32) -> io::Result<i32> {
    fork_into(None, child)
}

/// The same, with the child born in a cgroup of version 2, whose directory this is.
///
/// # Errors
/// Also those of cgroups: `EACCES` where a common ancestor of the two groups is not the caller's to write, `EBUSY` where
/// the group has others below it.
pub fn fork_into(group: Option<BorrowedFd<'_>>, child: impl FnOnce() -> i32) -> io::Result<i32> {
    forked(clone_into(group)?, child)
}

/// The same, where that can be; else the child is where this process is.
///
/// # Errors
/// Those of fork(2).
pub fn fork_beside(group: Option<BorrowedFd<'_>>, child: impl FnOnce() -> i32) -> io::Result<i32> {
    forked(clone_beside(group)?, child)
}

fn forked(pid: i32, child: impl FnOnce() -> i32) -> io::Result<i32> {
    if pid != 0 {
        return Ok(pid);
    }
    let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(125);
    // SAFETY: ends this process at once; nothing of the parent's (buffers, files) is flushed or removed twice.
    unsafe { nix::libc::_exit(code) }
}

/// Forks; 0 in the child.
fn clone_into(group: Option<BorrowedFd<'_>>) -> io::Result<i32> {
    use nix::libc;
    let Some(group) = group else {
        // SAFETY: the caller is single-threaded, so no lock can be held by a thread that the child does not have.
        return match unsafe { nix::unistd::fork() }? {
            nix::unistd::ForkResult::Parent { child } => Ok(child.as_raw()),
            nix::unistd::ForkResult::Child => Ok(0),
        };
    };
    // SAFETY: all-zero bytes are valid: integers.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = CLONE_INTO_CGROUP;
    args.exit_signal = libc::SIGCHLD.unsigned_abs().into();
    args.cgroup = group.as_raw_fd().unsigned_abs().into();
    // SAFETY: without a flag that shares memory this is fork(2); the C library's handlers around that put its locks in
    // order, which no other thread holds here.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) } {
        -1 => Err(io::Error::last_os_error()),
        pid => i32::try_from(pid).map_err(io::Error::other),
    }
}

/// The child is born in a cgroup.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Forks into a cgroup, or, where that is not to be, where this process is; 0 in the child.
fn clone_beside(group: Option<BorrowedFd<'_>>) -> io::Result<i32> {
    clone_into(group).or_else(|err| if group.is_some() { clone_into(None) } else { Err(err) })
}

/// Leaves the caller's process and session: the parent exits with 0 at once, the child goes on, detached, and if it can be
/// in this cgroup.
pub fn detach(group: Option<BorrowedFd<'_>>) -> io::Result<()> {
    match clone_beside(group)? {
        0 => {
            rustix::process::setsid()?;
            Ok(())
        }
        // SAFETY: as in `forked`.
        _ => unsafe { nix::libc::_exit(0) },
    }
}

/// Writes without the standard library's lock on the stream, which in a test program another thread may have held when
/// this process was forked. What nobody takes is lost.
pub fn say(stream: BorrowedFd<'_>, text: &str) {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match rustix::io::retry_on_intr(|| rustix::io::write(stream, rest)) {
            Ok(taken) if taken > 0 => rest = rest.get(taken..).unwrap_or_default(),
            _ => return,
        }
    }
}

/// This process is killed when its parent ends, which must be this one still. What it executes keeps that.
///
/// # Errors
/// The parent has ended.
pub fn end_with(parent: i32) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    match rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get()) == Some(parent) {
        true => Ok(()),
        false => Err(io::ErrorKind::NotFound.into()),
    }
}

/// This process exits as soon as a child of it ends, whatever it waits for.
pub fn end_with_children() {
    use nix::sys::signal::{SigHandler, Signal, signal};
    extern "C" fn end(_: nix::libc::c_int) {
        // SAFETY: may be called in a handler; ends this process at once.
        unsafe { nix::libc::_exit(0) }
    }
    // SAFETY: the handler does nothing but exit.
    let _ = unsafe { signal(Signal::SIGCHLD, SigHandler::Handler(end)) };
    // One that has ended before.
    if reap().is_some() {
        end(0);
    }
}

/// Orphans among the descendants become this process's children, so that it learns of their end.
pub fn become_subreaper() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Pid::from_raw(1))?)
}

/// Closes what a careless ancestor left open, all but the standard streams. First thing in `main`, before anything that
/// is owned has been opened.
pub fn close_strays() {
    // SAFETY: nothing in this process owns a descriptor yet. Kernels before 5.9 cannot, and keep the strays.
    unsafe { nix::libc::syscall(nix::libc::SYS_close_range, 3, u32::MAX, 0) };
}

/// Gives every signal its default action and blocks none: what whoever launched this process ignored is no business of
/// a container's.
pub fn default_signals() {
    use nix::libc;
    // All zeros: no handler, no flags, no mask. By system call, for the C library keeps two signals for itself, which it
    // would leave ignored.
    let default = [0_u64; 4];
    let (none, set_size) = (std::ptr::null_mut::<u64>(), size_of::<u64>());
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: the kernel reads at most as many bytes as `default` has, writes nothing, and installs no handler; the
        // two signals that have no other action are refused.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), none, set_size) };
    }
    let _ = nix::sys::signal::SigSet::all().thread_unblock();
}

/// Closes every descriptor but the standard streams and those in `keep`: a forked process must not take what its parent
/// has open to where others could get hold of it. To be called first thing in a forked child, which from then on may use
/// no object of its parent's that owns a descriptor that is not in `keep`.
///
/// # Errors
/// A kernel before 5.9.
pub fn close_all_but(keep: &[RawFd]) -> io::Result<()> {
    let mut keep: Vec<u32> = keep.iter().filter_map(|fd| u32::try_from(*fd).ok()).filter(|fd| *fd > 2).collect();
    keep.sort_unstable();
    let mut first = 3;
    for end in keep.into_iter().chain([u32::MAX]) {
        if end > first {
            // SAFETY: by this function's contract nobody in this process uses these descriptors any more, and a forked
            // child runs no destructors of its parent's objects.
            let closed = unsafe { nix::libc::syscall(nix::libc::SYS_close_range, first, end - 1, 0) };
            if closed != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        first = end.saturating_add(1);
    }
    Ok(())
}

/// Points standard input, output and error to `/dev/null`.
pub fn silence_stdio() -> io::Result<()> {
    use rustix::fs::{Mode, OFlags};
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}

/// The next child that has ended, without blocking.
pub fn reap() -> Option<Ended> {
    loop {
        return match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                let code = match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => code,
                    (None, Some(signal)) => 128 + signal,
                    (None, None) => continue,
                };
                Some(Ended { pid: pid.as_raw_nonzero().get(), code })
            }
            Err(rustix::io::Errno::INTR) => continue,
            _ => None,
        };
    }
}

/// Blocks until the child `pid` has ended.
pub fn wait_for(pid: i32) -> Option<i32> {
    let status = rustix::io::retry_on_intr(|| rustix::process::waitpid(Pid::from_raw(pid), WaitOptions::empty()));
    status.ok().flatten().and_then(|(_, status)| status.exit_status())
}

/// Sends `signal` to `pid`; 0 only asks whether it could. The caller must know that the pid is still its own child's (not reaped yet).
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    let target = nix::unistd::Pid::from_raw(pid);
    if pid <= 0 || signal < 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: kill(2) takes two integers. nix's enum has no real-time signals, which Docker clients may send.
    if unsafe { nix::libc::kill(target.as_raw(), signal) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Blocks the signals of interest and gives a descriptor that becomes readable when one is pending.
#[derive(Debug)]
pub struct Signals(nix::sys::signalfd::SignalFd);

impl Signals {
    /// Catches SIGCHLD and SIGTERM; SIGHUP, SIGINT and SIGPIPE are ignored from now on.
    pub fn catch() -> io::Result<Self> {
        use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
        use nix::sys::signalfd::{SfdFlags, SignalFd};
        let mut set = SigSet::empty();
        set.add(Signal::SIGCHLD);
        set.add(Signal::SIGTERM);
        set.thread_block()?;
        for ignored in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGPIPE] {
            // SAFETY: ignoring a signal installs no handler.
            unsafe { signal(ignored, SigHandler::SigIgn) }?;
        }
        Ok(Self(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?))
    }

    /// Takes what is pending; true if SIGTERM was among it.
    pub fn drain(&self) -> bool {
        let mut term = false;
        while let Ok(Some(info)) = self.0.read_signal() {
            term |= info.ssi_signo == nix::libc::SIGTERM.unsigned_abs();
        }
        term
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Undoes [`Signals::catch`] in a forked child, so that what it executes starts with ordinary signals.
pub fn ordinary_signals() {
    use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
    for ignored in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGPIPE] {
        // SAFETY: restores the default action; no handler is installed.
        let _ = unsafe { signal(ignored, SigHandler::SigDfl) };
    }
    let _ = SigSet::all().thread_unblock();
}

/// SIGKILL's number.
pub const SIGKILL: i32 = Signal::KILL.as_raw();
