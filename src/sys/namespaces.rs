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
}
