//! Packets with file descriptors: `SOCK_SEQPACKET` unix sockets and SCM_RIGHTS.
//!
//! A packet is whole or absent, so the monitor's protocol needs no framing; an attached client's own socket travels in one.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

/// The most descriptors one packet may carry.
pub const MAX_FDS: usize = 32;

/// What one packet brought.
#[derive(Debug)]
pub struct Received {
    /// Bytes of the packet, at the start of the caller's buffer; 0 with no descriptor means the peer is gone.
    pub len: usize,
    /// The descriptors that came with it, close-on-exec.
    pub fds: Vec<OwnedFd>,
}

/// A connected pair, close-on-exec, blocking.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Calls `f` with an address for `path` that fits `sun_path` however long the path is: through an open directory.
fn with_address<T>(path: &Path, f: impl FnOnce(&SocketAddrUnix) -> io::Result<T>) -> io::Result<T> {
    if let Ok(address) = SocketAddrUnix::new(path) {
        return f(&address);
    }
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    use rustix::fs::{Mode, OFlags};
    let dir = rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let short = Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name);
    f(&SocketAddrUnix::new(short)?)
}

/// Binds and listens at `path` (mode 0600, replacing what was there); non-blocking.
pub fn listen(path: &Path) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    with_address(path, |address| Ok(rustix::net::bind(&socket, address)?))?;
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    rustix::net::listen(&socket, 128)?;
    Ok(socket)
}

/// Connects to a listener at `path`; blocking.
pub fn connect(path: &Path) -> io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    with_address(path, |address| Ok(rustix::net::connect(&socket, address)?))?;
    Ok(socket)
}

/// The next waiting connection, non-blocking; `None` when there is none.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    match rustix::net::accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
        Ok(fd) => Ok(Some(fd)),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::CONNABORTED | rustix::io::Errno::INTR) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Sends one packet, made of `parts`, with `fds`. Never raises SIGPIPE.
pub fn send(socket: impl AsFd, parts: &[&[u8]], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    rustix::io::retry_on_intr(|| rustix::net::sendmsg(&socket, &slices, &mut control, SendFlags::NOSIGNAL))?;
    Ok(())
}

/// Receives one packet into `buf`. A packet larger than `buf` is an error; its descriptors are closed.
pub fn recv(socket: impl AsFd, buf: &mut [u8]) -> io::Result<Received> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = loop {
        let mut slices = [IoSliceMut::new(&mut *buf)];
        match rustix::net::recvmsg(&socket, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    let mut fds = Vec::new();
    for item in control.drain() {
        if let RecvAncillaryMessage::ScmRights(got) = item {
            fds.extend(got);
        }
    }
    if message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "packet too large"));
    }
    Ok(Received { len: message.bytes, fds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_carries_a_descriptor() {
        let (a, b) = pair().expect("pair");
        let (r, w) = rustix::pipe::pipe().expect("pipe");
        send(&a, &[b"he", b"llo"], &[w.as_fd()]).expect("send");
        drop(w);
        let mut buf = [0; 16];
        let got = recv(&b, &mut buf).expect("recv");
        assert_eq!((&buf[..got.len], got.fds.len()), (&b"hello"[..], 1));
        rustix::io::write(&got.fds[0], b"x").expect("write");
        assert_eq!(rustix::io::read(&r, &mut buf).expect("read"), 1);
        drop(a);
        assert_eq!(recv(&b, &mut buf).expect("end").len, 0);
    }

    #[test]
    fn an_oversized_packet_is_refused() {
        let (a, b) = pair().expect("pair");
        send(&a, &[&[7; 64]], &[]).expect("send");
        assert!(recv(&b, &mut [0; 16]).is_err());
    }

    #[test]
    fn a_long_path_is_no_obstacle() {
        let dir = tempfile::tempdir().expect("dir");
        let deep = dir.path().join("d".repeat(120));
        std::fs::create_dir(&deep).expect("mkdir");
        let path = deep.join("monitor.sock");
        let listener = listen(&path).expect("listen");
        let client = connect(&path).expect("connect");
        let server = accept(listener.as_fd()).expect("accept").expect("waiting");
        send(&client, &[b"hi"], &[]).expect("send");
        assert_eq!(recv(&server, &mut [0; 4]).expect("recv").len, 2);
        assert!(accept(listener.as_fd()).expect("accept").is_none());
    }
}
