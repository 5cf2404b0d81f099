//! Options of sockets for which there is no safe function elsewhere.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::libc;

/// Lets a socket have an address that is not this host's: needs CAP_NET_ADMIN in the network namespace that it is of.
///
/// # Errors
/// Those of setsockopt(2).
pub fn set_transparent(socket: impl AsFd, ipv6: bool) -> io::Result<()> {
    match ipv6 {
        true => set(socket, libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT, 1),
        false => set(socket, libc::IPPROTO_IP, libc::IP_TRANSPARENT, 1),
    }
}

/// Has a port that is left open chosen when the socket is connected: then others to other places may have the same.
///
/// # Errors
/// Those of setsockopt(2).
pub fn choose_port_late(socket: impl AsFd) -> io::Result<()> {
    set(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)
}

/// How often a connection is begun anew that nobody answers, each time after twice as long, from one second on.
///
/// # Errors
/// Those of setsockopt(2).
pub fn limit_tries(socket: impl AsFd, tries: u8) -> io::Result<()> {
    set(socket, libc::IPPROTO_TCP, libc::TCP_SYNCNT, tries.into())
}

/// How many bytes the other end of a TCP connection has not acknowledged yet.
///
/// # Errors
/// Those of ioctl(2).
pub fn unacknowledged(socket: impl AsFd) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: SIOCOUTQ, which has TIOCOUTQ's number, writes one int, which `bytes` is, and keeps no pointer to it.
    match unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) } {
        0 => Ok(usize::try_from(bytes).unwrap_or_default()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn set(socket: impl AsFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let len = libc::socklen_t::try_from(size_of::<libc::c_int>()).expect("four bytes");
    // SAFETY: the kernel reads `len` bytes, which `value` has, and keeps no pointer to it.
    match unsafe { libc::setsockopt(socket.as_fd().as_raw_fd(), level, name, (&raw const value).cast(), len) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
