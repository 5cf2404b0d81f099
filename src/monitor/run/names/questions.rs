//! Questions that others are asked, each by a socket of its own: the port and the id of each are of the kernel's choice
//! and chance, and only what comes from the server that was asked, with that id and that question, is an answer.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::monitor::run::context::Context;
use crate::monitor::run::timers::Due;
use crate::monitor::run::watch::{Asked, Role};
use crate::network::names::message::{Question, Verdict};
use crate::sys::epoll::Interest;
use crate::sys::namespaces;

/// Most questions under way; those beyond are answered by a failure.
const MOST: usize = 256;
/// How long a server may take that is not the last one, and how long that.
const PATIENCE: Duration = Duration::from_secs(2);
const LAST_PATIENCE: Duration = Duration::from_secs(4);

/// Who has asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Whoever is at this address.
    Datagram(SocketAddr),
    /// The stream at this place.
    Stream(usize),
}

/// A question of which all is known.
#[derive(Debug)]
pub struct Done {
    /// Who has asked.
    pub origin: Origin,
    /// What.
    pub question: Question,
    /// As it came.
    pub message: Vec<u8>,
    /// The answer; none: no server had one.
    pub answer: Option<Vec<u8>>,
}

/// A question under way.
#[derive(Debug)]
struct Pending {
    origin: Origin,
    question: Question,
    /// As it is sent: its length, then the message with an id of its own.
    sent: Vec<u8>,
    /// The id that it came with.
    id: [u8; 2],
    /// Those that have not been asked yet, the next one last.
    servers: Vec<SocketAddr>,
    /// They are asked from the container's network.
    inside: bool,
    link: Option<Link>,
    until: Instant,
}

/// How a server is asked.
#[derive(Debug)]
enum Link {
    Udp(UdpSocket),
    /// How much has been written, and what has been read.
    Tcp(TcpStream, usize, Vec<u8>),
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Udp(socket) => socket.as_fd(),
            Self::Tcp(socket, ..) => socket.as_fd(),
        }
    }
}

/// All questions under way, each at a place that it keeps.
#[derive(Debug, Default)]
pub struct Questions(Vec<Option<Box<Pending>>>);

impl Questions {
    /// Asks servers, one after the other; false if that cannot be. `own` is the network namespace from which they are
    /// asked, if that is not this process's.
    pub fn pass_on(
        &mut self,
        question: &Question,
        message: &[u8],
        origin: Origin,
        mut servers: Vec<SocketAddr>,
        own: Option<BorrowedFd<'_>>,
        cx: &mut Context,
    ) -> bool {
        let (Ok(len), Some(id)) = (u16::try_from(message.len()), message.first_chunk::<2>()) else { return false };
        let place = self.0.iter().position(Option::is_none).unwrap_or(self.0.len());
        if place >= MOST {
            return false;
        }
        if let (Origin::Datagram(_), [only]) = (origin, &servers[..]) {
            // What was lost on the way is asked again.
            let only = *only;
            servers.push(only);
        }
        servers.reverse();
        let sent = [&len.to_be_bytes(), message].concat();
        let (question, inside) = (question.clone(), own.is_some());
        let until = Instant::now();
        let mut pending = Box::new(Pending { origin, question, sent, id: *id, servers, inside, link: None, until });
        if !pending.next(place, own, cx) {
            return false;
        }
        if place == self.0.len() {
            self.0.push(None);
        }
        self.0[place] = Some(pending);
        true
    }

    /// The socket of the question at this place is ready: what is known now, if that is all.
    pub fn ready(&mut self, at: usize, own: Option<BorrowedFd<'_>>, cx: &mut Context) -> Option<Done> {
        let pending = self.0.get_mut(at)?.as_deref_mut()?;
        let answer = match pending.take(cx) {
            Ok(None) => return None,
            Ok(Some(answer)) => Some(answer),
            Err(_) if pending.next(at, own, cx) => return None,
            Err(_) => None,
        };
        self.done(at, answer, cx)
    }

    /// A question whose time is over, and for which there is no other server.
    pub fn expire(&mut self, own: Option<BorrowedFd<'_>>, cx: &mut Context) -> Option<Done> {
        let now = Instant::now();
        for at in 0..self.0.len() {
            let Some(pending) = self.0[at].as_deref_mut() else { continue };
            if pending.until <= now && !pending.next(at, own, cx) {
                return self.done(at, None, cx);
            }
            cx.timers.set_sooner(Due::Names, pending.until.saturating_duration_since(now));
        }
        None
    }

    /// Nobody waits for what this one has asked.
    pub fn forget(&mut self, origin: Origin, cx: &mut Context) {
        let of = |pending: &Option<Box<Pending>>| pending.as_ref().is_some_and(|pending| pending.origin == origin);
        if let Some(at) = self.0.iter().position(of) {
            let _ = self.done(at, None, cx);
        }
    }

    /// Forgets all.
    pub fn drop_all(&mut self, cx: &mut Context) {
        for mut pending in std::mem::take(&mut self.0).into_iter().flatten() {
            pending.hang_up(cx);
        }
    }

    fn done(&mut self, at: usize, answer: Option<Vec<u8>>, cx: &mut Context) -> Option<Done> {
        let mut pending = self.0.get_mut(at)?.take()?;
        pending.hang_up(cx);
        while self.0.last().is_some_and(Option::is_none) {
            self.0.pop();
        }
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
        let Pending { origin, question, mut sent, id, .. } = *pending;
        sent.drain(..2);
        sent[..2].copy_from_slice(&id);
        Some(Done { origin, question, message: sent, answer })
    }
}

impl Pending {
    /// Asks the next server that can be asked; false if there is none.
    fn next(&mut self, at: usize, own: Option<BorrowedFd<'_>>, cx: &mut Context) -> bool {
        self.hang_up(cx);
        while let Some(server) = self.servers.pop() {
            let _ = rustix::rand::getrandom(&mut self.sent[2..4], rustix::rand::GetRandomFlags::empty());
            let own = if self.inside { own } else { None };
            let Ok(link) = self.open(server, own) else { continue };
            let interest = if matches!(link, Link::Udp(_)) { Interest::IN } else { Interest::OUT };
            if cx.watch.add(link.as_fd(), Role::Names(Asked::Question(at)), interest).is_ok() {
                let patience = if self.servers.is_empty() { LAST_PATIENCE } else { PATIENCE };
                (self.link, self.until) = (Some(link), Instant::now() + patience);
                cx.timers.set_sooner(Due::Names, patience);
                return true;
            }
        }
        false
    }

    /// A socket that leads to a server, the question sent if it is a datagram.
    fn open(&self, server: SocketAddr, own: Option<BorrowedFd<'_>>) -> io::Result<Link> {
        let datagram = matches!(self.origin, Origin::Datagram(_));
        let open = || {
            let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
            let kind = if datagram { SocketType::DGRAM } else { SocketType::STREAM };
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            Ok(rustix::net::socket_with(family, kind, flags, None)?)
        };
        // It belongs where it was opened.
        let socket = if let Some(own) = own { namespaces::in_network(own, open)? } else { open()? };
        if !datagram {
            return match rustix::net::connect(&socket, &server) {
                Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(Link::Tcp(socket.into(), 0, Vec::new())),
                Err(error) => Err(error.into()),
            };
        }
        // A port of the kernel's choice, by chance: connect(2) alone would go through them in their order.
        let any = if server.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
        rustix::net::bind(&socket, &SocketAddr::new(any, 0))?;
        rustix::net::connect(&socket, &server)?;
        let socket = UdpSocket::from(socket);
        socket.send(&self.sent[2..])?;
        Ok(Link::Udp(socket))
    }

    /// The answer, if it has come whole.
    ///
    /// # Errors
    /// Nothing will come of this server.
    fn take(&mut self, cx: &mut Context) -> io::Result<Option<Vec<u8>>> {
        let Self { link, sent, question, id, .. } = self;
        cx.io.dirty = true;
        let judge = |answer: &[u8]| match question.verdict(&sent[2..], answer) {
            None => Ok(None),
            Some(Verdict::Failed) => Err(io::ErrorKind::InvalidData.into()),
            Some(Verdict::Answered) => Ok(Some([&id[..], &answer[2..]].concat())),
        };
        match link {
            None => Ok(None),
            Some(Link::Udp(socket)) => match still(socket.recv(&mut cx.io.input))? {
                None => Ok(None),
                Some(len) => judge(&cx.io.input[..len]),
            },
            Some(Link::Tcp(socket, written, read)) => {
                while *written < sent.len() {
                    let Some(len) = still(socket.write(&sent[*written..]))? else { return Ok(None) };
                    *written += len;
                    if *written == sent.len() {
                        cx.watch.set(socket.as_fd(), Interest::IN)?;
                    }
                }
                let Some(len) = still(socket.read(&mut cx.io.input))? else { return Ok(None) };
                read.extend(&cx.io.input[..len]);
                match read.split_first_chunk::<2>() {
                    Some((len, answer)) if answer.len() >= usize::from(u16::from_be_bytes(*len)) => {
                        judge(&answer[..usize::from(u16::from_be_bytes(*len))])?
                            .map_or_else(|| Err(io::ErrorKind::InvalidData.into()), |answer| Ok(Some(answer)))
                    }
                    _ if len == 0 => Err(io::ErrorKind::UnexpectedEof.into()),
                    _ => Ok(None),
                }
            }
        }
    }

    fn hang_up(&mut self, cx: &mut Context) {
        if let Some(link) = self.link.take() {
            cx.watch.remove(link.as_fd());
        }
    }
}

/// What was done; none if that has to wait.
fn still(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
        other => other.map(Some),
    }
}
