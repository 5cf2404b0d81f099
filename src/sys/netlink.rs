//! Netlink sockets: questions to the kernel and its answers, as bytes. What is in them is their protocol's.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, socket,
};

/// A protocol of netlink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Links, addresses, routes.
    Route,
    /// Firewall rules.
    Netfilter,
}

/// Bytes of a message's header.
pub const HEADER: usize = 16;
/// The kernel's word that something was done, or why not.
const ERROR: u16 = 2;
/// The last message of a list.
const DONE: u16 = 3;
/// The largest datagram that the kernel sends in answer.
const DATAGRAM: usize = 32 * 1024;

/// A socket in the network namespace that its maker was in.
#[derive(Debug)]
pub struct Socket(OwnedFd);

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Socket {
    /// Opens one; `groups` are the bits of the multicast groups whose messages it gets unasked.
    ///
    /// # Errors
    /// The kernel does not have the protocol; no more descriptors.
    pub fn open(protocol: Protocol, groups: u32) -> io::Result<Self> {
        let protocol = match protocol {
            Protocol::Route => SockProtocol::NetlinkRoute,
            Protocol::Netfilter => SockProtocol::NetlinkNetFilter,
        };
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        if groups != 0 {
            bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        }
        Ok(Self(fd))
    }

    /// Sends messages that are numbered `first..=last`, of which at least the last asks for an acknowledgement, and waits
    /// for that. Returns the messages that came in answer, one after the other, each padded to four bytes.
    ///
    /// # Errors
    /// The kernel's answer to the first message that it refuses; what follows it may not have been done.
    pub fn exchange(&self, request: &[u8], first: u32, last: u32) -> io::Result<Vec<u8>> {
        send(self.0.as_raw_fd(), request, MsgFlags::empty())?;
        let mut answers = Vec::new();
        let mut buf = vec![0; DATAGRAM];
        loop {
            let len = match recv(self.0.as_raw_fd(), &mut buf, MsgFlags::empty()) {
                Err(nix::errno::Errno::EINTR) => continue,
                other => other?,
            };
            for (kind, number, message) in messages(&buf[..len]) {
                if !(first..=last).contains(&number) {
                    continue;
                }
                let code =
                    message.get(HEADER..HEADER + 4).map(|code| i32::from_ne_bytes(code.try_into().expect("four")));
                match kind {
                    ERROR => match code.unwrap_or_default() {
                        0 if number == last => return Ok(answers),
                        0 => {}
                        code => return Err(io::Error::from_raw_os_error(-code)),
                    },
                    DONE if number == last => return Ok(answers),
                    DONE => {}
                    _ => answers.extend_from_slice(message),
                }
            }
        }
    }

    /// Takes everything that has come unasked.
    pub fn drain(&self) {
        let mut buf = [0; 1024];
        let taken = |buf: &mut [u8]| recv(self.0.as_raw_fd(), buf, MsgFlags::MSG_DONTWAIT).is_ok();
        while taken(&mut buf) {}
    }
}

/// The messages in these bytes: type, number, and all of each with its header and its padding.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, u32, &[u8])> {
    std::iter::from_fn(move || {
        let number = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let len = usize::try_from(number(0)?).ok().filter(|len| *len >= HEADER)?;
        let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
        let sequence = number(8)?;
        let (message, rest) = bytes.split_at(len.next_multiple_of(4).min(bytes.len()));
        bytes = rest;
        Some((kind, sequence, message))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_apart() {
        let message = |kind: u16, number: u32, body: &[u8]| {
            let mut bytes = u32::try_from(HEADER + body.len()).expect("small").to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0, 0]);
            bytes.extend(number.to_ne_bytes());
            bytes.extend([0; 4]);
            bytes.extend(body);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        let all = [message(7, 1, b"abcde"), message(2, 2, b"")].concat();
        let seen: Vec<_> = messages(&all).map(|(kind, number, bytes)| (kind, number, bytes.len())).collect();
        assert_eq!(seen, [(7, 1, 24), (2, 2, 16)]);
        for len in 0..all.len() {
            assert!(messages(&all[..len]).count() <= 2);
        }
        assert_eq!(messages(&[0; 64]).count(), 0);
    }
}
