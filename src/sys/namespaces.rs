//! Namespaces: making them, joining another process's, telling them apart.

use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

pub use nix::sched::CloneFlags as Kinds;

/// Device and inode of a namespace: equal numbers, same namespace.
pub type Identity = (u64, u64);

/// Leaves the given namespaces for new ones. A new user or pid namespace needs a single-threaded caller; a pid
/// namespace is entered by the next child.
///
/// # Errors
/// Those of unshare(2).
pub fn unshare(kinds: Kinds) -> io::Result<()> {
    Ok(nix::sched::unshare(kinds)?)
}

/// Joins namespaces: all of `kinds` of the process behind a pidfd, or the one that an open `/proc/PID/ns` file is.
///
/// # Errors
/// Those of setns(2): `EPERM`, `EINVAL` if the caller has threads or is in that user namespace already.
pub fn join(target: impl AsFd, kinds: Kinds) -> io::Result<()> {
    Ok(nix::sched::setns(target, kinds)?)
}

/// Opens a namespace of a process: `name` as in `/proc/PID/ns`.
///
/// # Errors
/// The process is gone, or may not be looked at.
pub fn open(pid: i32, name: &str) -> io::Result<OwnedFd> {
    Ok(fs::File::open(format!("/proc/{pid}/ns/{name}"))?.into())
}

/// Which namespace of this kind a process is in; `pid` as in `/proc`, so `self` too.
///
/// # Errors
/// The process is gone, or may not be looked at.
pub fn identity(pid: &str, name: &str) -> io::Result<Identity> {
    let meta = fs::metadata(format!("/proc/{pid}/ns/{name}"))?;
    Ok((meta.dev(), meta.ino()))
}

/// Which namespace a descriptor is open on.
///
/// # Errors
/// Those of fstat(2).
pub fn identity_of(namespace: impl AsFd) -> io::Result<Identity> {
    let stat = rustix::fs::fstat(namespace)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Makes a network namespace with its loopback interface up. This process is in it from now on: the way back to one that
/// another user namespace owns is closed.
///
/// # Errors
/// Not permitted, or too many of them.
pub fn new_network() -> io::Result<OwnedFd> {
    unshare(Kinds::CLONE_NEWNET)?;
    loopback_up()?;
    Ok(fs::File::open("/proc/self/ns/net")?.into())
}

/// Does something in another network namespace, which has `target` open, and stays where it is: sockets that are opened
/// there belong there, whoever uses them. This thread waits meanwhile; the process may have others.
///
/// # Errors
/// Those of clone(2) and setns(2): `EPERM` if the namespace belongs to a user namespace in which this process may nothing.
#[allow(unsafe_code)]
pub fn in_network<T>(target: impl AsFd, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    use nix::sys::wait::{WaitPidFlag, waitpid};
    // There is no way back into the host's network namespace, so another task goes: with this one's memory and descriptors,
    // and this thread stopped as long as it exists.
    let flags = Kinds::CLONE_VM | Kinds::CLONE_FILES | Kinds::CLONE_VFORK;
    let mut stack = super::memory::Buffer::new(VISIT)?;
    let (mut work, mut done) = (Some(work), None);
    let mut visited = || {
        nix::sched::setns(target.as_fd(), Kinds::CLONE_NEWNET)?;
        work.take().map_or_else(|| Err(io::ErrorKind::Other.into()), |work| work())
    };
    let visit = Box::new(|| {
        done = Some(std::panic::catch_unwind(std::panic::AssertUnwindSafe(&mut visited)));
        0
    });
    // SAFETY: the task runs on a stack of its own, which outlives it, for this call returns only when it has ended. It has
    // this thread's thread-local data while this thread does not run, as if it were this thread. It gives no signal.
    let task = unsafe { nix::sched::clone(visit, &mut stack, flags, None) }?;
    waitpid(task, Some(WaitPidFlag::__WALL))?;
    match done {
        Some(Ok(result)) => result,
        Some(Err(panic)) => std::panic::resume_unwind(panic),
        // It was killed.
        None => Err(io::ErrorKind::Interrupted.into()),
    }
}

/// Room for the stack of a visit to another namespace, in bytes.
const VISIT: usize = 256 * 1024;

/// The user namespace above a user namespace.
///
/// # Errors
/// `EPERM`: it is not below this process's own.
#[allow(unsafe_code)]
pub fn parent(namespace: impl AsFd) -> io::Result<OwnedFd> {
    use std::os::fd::{AsRawFd, FromRawFd};
    const NS_GET_PARENT: nix::libc::Ioctl = 0xb702;
    // SAFETY: this request takes no argument and gives a new descriptor, close-on-exec, or -1.
    match unsafe { nix::libc::ioctl(namespace.as_fd().as_raw_fd(), NS_GET_PARENT) } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: it was opened by the call, and nobody else knows it.
        fd => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
    }
}

/// Writes one id map (`uid_map`, `gid_map`) or `setgroups` of a process: these files take one single write.
///
/// # Errors
/// The kernel refuses the map.
pub fn write_map(pid: i32, file: &str, text: &str) -> io::Result<()> {
    fs::OpenOptions::new().write(true).open(format!("/proc/{pid}/{file}"))?.write_all(text.as_bytes())
}

/// Brings the loopback interface of this network namespace up.
///
/// # Errors
/// Those of the socket's ioctls; not permitted if the namespace belongs to another user namespace.
#[allow(unsafe_code)]
pub fn loopback_up() -> io::Result<()> {
    use nix::libc;
    use std::os::fd::AsRawFd;
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: all-zero bytes are a valid ifreq: integers, and unions of integers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    let flags = libc::IFF_UP | libc::IFF_RUNNING;
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which `request` is, and keeps no pointer to it.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sets the domain name of this UTS namespace.
///
/// # Errors
/// Too long, or not permitted.
#[allow(unsafe_code)]
pub fn set_domainname(name: &str) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `name`'s bytes, which the kernel only reads.
    match unsafe { nix::libc::setdomainname(name.as_ptr().cast(), name.len()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_own() {
        let pid = std::process::id();
        assert_eq!(identity("self", "user").expect("own"), identity(&pid.to_string(), "user").expect("by number"));
    }

    #[test]
    fn a_visit_leaves_this_process_where_it_is() {
        let own = identity("self", "net").expect("own");
        let here = fs::File::open("/proc/thread-self/ns/net").expect("open");
        // Where this test may not go, the visit fails and nothing else happens.
        match in_network(&here, || Ok(vec![7; 9000])) {
            Ok(brought) => assert_eq!(brought, [7; 9000]),
            Err(error) => assert_eq!(error.raw_os_error(), Some(nix::libc::EPERM)),
        }
        assert_eq!(identity("self", "net").expect("own"), own);
        // In a user namespace of its own, a child may.
        let child = crate::sys::spawn::fork(|| {
            let visited = || -> io::Result<bool> {
                unshare(Kinds::CLONE_NEWUSER | Kinds::CLONE_NEWNET)?;
                let first: OwnedFd = fs::File::open("/proc/self/ns/net")?.into();
                unshare(Kinds::CLONE_NEWNET)?;
                let second = identity("self", "net")?;
                let (seen, opened) = in_network(&first, || {
                    Ok((identity("thread-self", "net")?, fs::File::open("/proc/thread-self/ns/net")?))
                })?;
                let expected = identity_of(&first)?;
                Ok(seen == expected && identity_of(&opened)? == expected && identity("self", "net")? == second)
            };
            i32::from(!visited().unwrap_or(false))
        });
        let ended = crate::sys::spawn::wait_for(child.expect("fork"));
        assert_eq!(ended, Some(0));
    }
}
