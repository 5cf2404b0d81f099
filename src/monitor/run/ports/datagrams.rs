//! Published ports of UDP: each client has a socket towards the container for as long as something is said, so that
//! answers find their way back. They leave from the very address that the client spoke to.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrStorage, recvmsg, sendmsg,
};
use rustix::net::{RecvFlags, SendFlags};

use super::onward::Onward;
use crate::sys::epoll::{Epoll, Interest};

/// A client that says nothing, and to whom nothing is said, for so long is forgotten.
pub const SILENCE: Duration = Duration::from_secs(90);
/// The most clients of a container. One more, and the one that has been silent longest is forgotten.
const MOST: usize = 1024;
/// The most datagrams that are taken from one socket before others have their turn.
const TURNS: usize = 64;

/// One of the host's sockets.
#[derive(Debug)]
struct Receiver {
    socket: OwnedFd,
    target: SocketAddr,
}

/// Who speaks to what: the receiver, the client, and the host's address that it speaks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Talk {
    receiver: usize,
    client: SocketAddr,
    host: IpAddr,
}

/// A client.
#[derive(Debug)]
struct Peer {
    talk: Talk,
    onward: OwnedFd,
    /// Its address, if the container has to be told that it is here.
    kept: Option<IpAddr>,
    last: Instant,
}

/// The published ports of UDP, and who speaks to them.
#[derive(Debug, Default)]
pub struct Datagrams {
    receivers: Vec<Receiver>,
    talks: BTreeMap<Talk, u32>,
    peers: BTreeMap<u32, Peer>,
    next: u32,
}

impl Datagrams {
    /// How many sockets are received at: the next one's number.
    pub fn count(&self) -> usize {
        self.receivers.len()
    }

    /// Receives at this socket, too.
    pub fn add(&mut self, socket: OwnedFd, target: SocketAddr) {
        self.receivers.push(Receiver { socket, target });
    }

    /// Something came from clients. `token` is what a client's number is watched by.
    pub fn receive(
        &mut self,
        receiver: usize,
        onward: &mut Onward,
        (epoll, token): (&Epoll, u64),
        buf: &mut [u8],
    ) -> io::Result<()> {
        for _ in 0..TURNS {
            let Some(Receiver { socket, .. }) = self.receivers.get(receiver) else { return Ok(()) };
            let Some((len, client, host)) = receive_from(socket, buf)? else { return Ok(()) };
            let talk = Talk { receiver, client, host };
            let number = match self.talks.get(&talk) {
                Some(number) => *number,
                None => self.begin(talk, onward, (epoll, token))?,
            };
            if let Some(peer) = self.peers.get_mut(&number) {
                peer.last = Instant::now();
                // What is not taken at once is lost, as datagrams may be; that nobody listens is known by the next one.
                let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
                let _ = rustix::net::sendto(&peer.onward, &buf[..len], flags, &self.receivers[receiver].target);
            }
        }
        Ok(())
    }

    fn begin(&mut self, talk: Talk, onward: &mut Onward, (epoll, token): (&Epoll, u64)) -> io::Result<u32> {
        if self.peers.len() >= MOST
            && let Some(oldest) = self.peers.iter().min_by_key(|(_, peer)| peer.last).map(|(number, _)| *number)
        {
            self.forget(oldest, onward);
        }
        let target = self.receivers[talk.receiver].target;
        let (socket, kept) = onward.connect_datagrams(talk.client, target)?;
        self.next = (self.next + 1) & NUMBERS;
        let number = self.next;
        epoll.add(&socket, token | u64::from(number), Interest::IN)?;
        self.talks.insert(talk, number);
        self.peers.insert(number, Peer { talk, onward: socket, kept, last: Instant::now() });
        Ok(number)
    }

    /// The container has something to say to a client.
    pub fn answer(&mut self, number: u32, buf: &mut [u8]) {
        let Some(peer) = self.peers.get_mut(&number) else { return };
        let Receiver { socket, target } = &self.receivers[peer.talk.receiver];
        for _ in 0..TURNS {
            match rustix::net::recvfrom(&peer.onward, &mut *buf, RecvFlags::DONTWAIT) {
                Ok((len, _, from)) => {
                    if from.and_then(|from| SocketAddr::try_from(from).ok()).is_some_and(|from| answers(from, *target))
                    {
                        peer.last = Instant::now();
                        let _ = send_to(socket, &buf[..len.min(buf.len())], peer.talk.client, peer.talk.host);
                    }
                }
                Err(rustix::io::Errno::AGAIN) => return,
                // Nobody listens there, and the kernel has now said so.
                Err(_) => {}
            }
        }
    }

    /// Forgets who has been silent for too long. How long until it is the next one's turn; none if there is nobody.
    pub fn expire(&mut self, onward: &mut Onward) -> Option<Duration> {
        let silent = |peer: &Peer| peer.last.elapsed() >= SILENCE;
        let gone: Vec<u32> = self.peers.iter().filter(|(_, peer)| silent(peer)).map(|(number, _)| *number).collect();
        gone.into_iter().for_each(|number| self.forget(number, onward));
        let oldest = self.peers.values().map(|peer| peer.last).min()?;
        Some(SILENCE.saturating_sub(oldest.elapsed()))
    }

    fn forget(&mut self, number: u32, onward: &mut Onward) {
        let Some(peer) = self.peers.remove(&number) else { return };
        self.talks.remove(&peer.talk);
        let kept = |other: &Peer| (other.kept, other.talk.receiver) == (peer.kept, peer.talk.receiver);
        if let Some(address) = peer.kept
            && !self.peers.values().any(kept)
        {
            onward.let_go(self.receivers[peer.talk.receiver].target.ip(), address);
        }
    }

    /// The container is elsewhere: whom that concerns begins anew.
    pub fn follow(&mut self, next: impl Fn(IpAddr) -> Option<IpAddr>, onward: &mut Onward) {
        for at in 0..self.receivers.len() {
            let Some(address) = next(self.receivers[at].target.ip()) else { continue };
            let of_it = self.peers.iter().filter(|(_, peer)| peer.talk.receiver == at);
            let gone: Vec<u32> = of_it.map(|(number, _)| *number).collect();
            gone.into_iter().for_each(|number| self.forget(number, onward));
            self.receivers[at].target.set_ip(address);
        }
    }

    /// Whether anybody speaks.
    pub fn has_peers(&self) -> bool {
        !self.peers.is_empty()
    }
}

/// Whether it is the program that answers: from where it was spoken to, or from the loopback address there.
fn answers(from: SocketAddr, target: SocketAddr) -> bool {
    from.port() == target.port() && (from.ip() == target.ip() || from.ip().is_loopback())
}

/// The numbers that clients have: as many as there is room for in a token.
const NUMBERS: u32 = (1 << 29) - 1;

/// A datagram, who sent it, and to which address of this host; none if there is none.
fn receive_from(socket: &OwnedFd, buf: &mut [u8]) -> io::Result<Option<(usize, SocketAddr, IpAddr)>> {
    let mut control = nix::cmsg_space!(libc::in6_pktinfo);
    let mut slices = [IoSliceMut::new(buf)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let got = match recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags) {
        Ok(got) => got,
        Err(nix::errno::Errno::EAGAIN) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let from = got.address.and_then(|from| {
        let v4 = from.as_sockaddr_in().map(|from| SocketAddr::V4((*from).into()));
        v4.or_else(|| from.as_sockaddr_in6().map(|from| SocketAddr::V6((*from).into())))
    });
    let from = from.ok_or(io::ErrorKind::InvalidData)?;
    let mut host = None;
    for message in got.cmsgs()? {
        host = match message {
            // The address that answers have: the same one, or one of this host's where that was for many.
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                Some(IpAddr::from(u32::from_be(info.ipi_spec_dst.s_addr).to_be_bytes()))
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                Some(IpAddr::V6(if address.is_multicast() { Ipv6Addr::UNSPECIFIED } else { address }))
            }
            _ => host,
        };
    }
    let unspecified = || if from.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { IpAddr::from([0, 0, 0, 0]) };
    Ok(Some((got.bytes, from, host.unwrap_or_else(unspecified))))
}

/// Sends a datagram from this address of the host.
fn send_to(socket: &OwnedFd, bytes: &[u8], client: SocketAddr, host: IpAddr) -> io::Result<()> {
    let (fd, slices, flags) = (socket.as_raw_fd(), [IoSlice::new(bytes)], MsgFlags::MSG_DONTWAIT);
    let sent = match (client, host) {
        (SocketAddr::V4(client), IpAddr::V4(host)) => {
            let source = libc::in_addr { s_addr: u32::from_ne_bytes(host.octets()) };
            let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: libc::in_addr { s_addr: 0 } };
            let control = [ControlMessage::Ipv4PacketInfo(&info)];
            sendmsg(fd, &slices, &control, flags, Some(&SockaddrIn::from(client)))
        }
        (SocketAddr::V6(client), IpAddr::V6(host)) => {
            let info = libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: host.octets() }, ipi6_ifindex: 0 };
            let control = [ControlMessage::Ipv6PacketInfo(&info)];
            sendmsg(fd, &slices, &control, flags, Some(&SockaddrIn6::from(client)))
        }
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    Ok(sent.map(drop)?)
}
