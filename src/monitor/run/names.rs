//! The container's resolver: who asks at 127.0.0.11 in its network namespace is answered here.
//!
//! Its sockets were opened there by the starter, and keep what is asked before this listens. What [`crate::network::names`]
//! knows is answered at once; the rest is passed on, see [`questions`], as it came: by datagrams or by a stream. At rest
//! it is two sockets.

mod questions;
mod streams;

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;

use self::questions::{Done, Origin, Questions};
use self::streams::Streams;
use super::context::Context;
use super::launch::Resolver;
use super::life::Life;
use super::watch::{Asked, Role};
use crate::network::names::message::{By, Code, Fault, Question};
use crate::network::names::resolve::Asker;
use crate::network::names::upstream::Upstream;
use crate::network::names::{MOST_QUERY, Terms};
use crate::sys::epoll::{Interest, Ready};

/// Most datagrams read in one go: others have their turn.
const BURST: usize = 64;

/// A container's resolver.
#[derive(Debug, Default)]
pub struct Names {
    open: Option<(UdpSocket, TcpListener)>,
    terms: Terms,
    upstream: Upstream,
    questions: Questions,
    streams: Streams,
}

/// What becomes of a question.
enum Outcome {
    /// This is the answer.
    Answer(Vec<u8>),
    /// It has been passed on.
    Later,
    /// Nothing.
    Nothing,
}

impl Names {
    /// Listens: the container runs.
    pub fn begin(&mut self, resolver: Resolver, cx: &mut Context) {
        let Resolver { sockets, terms } = resolver;
        let (udp, tcp) = (UdpSocket::from(sockets.udp), TcpListener::from(sockets.tcp));
        let watched = cx.watch.add(udp.as_fd(), Role::Names(Asked::Datagrams), Interest::IN);
        let watched = watched.and_then(|()| cx.watch.add(tcp.as_fd(), Role::Names(Asked::Listener), Interest::IN));
        if let Err(error) = watched {
            cx.files.complain(&format!("names are not resolved: epoll: {error}"));
        }
        self.terms = terms;
        self.open = Some((udp, tcp));
    }

    /// Nobody asks any more: the container has ended.
    pub fn end(&mut self, cx: &mut Context) {
        if let Some((udp, tcp)) = self.open.take() {
            cx.watch.remove(udp.as_fd());
            cx.watch.remove(tcp.as_fd());
        }
        self.questions.drop_all(cx);
        self.streams.drop_all(cx);
        self.terms = Terms::default();
    }

    /// Something of this part's is ready.
    pub fn ready(&mut self, what: Asked, event: Ready, life: &Life, cx: &mut Context) {
        match what {
            Asked::Datagrams => self.datagrams(life, cx),
            Asked::Listener => {
                if let Some(at) = self.streams.surplus() {
                    self.close(at, cx);
                }
                if let Some((_, listener)) = &self.open {
                    self.streams.accept(listener, cx);
                }
            }
            Asked::Stream(at) => {
                if event.what.intersects(Interest::HUP | Interest::ERR) {
                    return self.close(at, cx);
                }
                self.stream(at, life, cx);
            }
            Asked::Question(at) => {
                if let Some(done) = self.questions.ready(at, life.own_network(), cx) {
                    self.deliver(done, life, cx);
                }
            }
        }
    }

    /// Closes a stream, which may wait for an answer.
    fn close(&mut self, at: usize, cx: &mut Context) {
        self.questions.forget(Origin::Stream(at), cx);
        self.streams.close(at, cx);
    }

    /// Some time is over: questions are asked elsewhere or given up, idle streams closed.
    pub fn due(&mut self, life: &Life, cx: &mut Context) {
        self.streams.expire(cx);
        while let Some(done) = self.questions.expire(life.own_network(), cx) {
            self.deliver(done, life, cx);
        }
    }

    fn datagrams(&mut self, life: &Life, cx: &mut Context) {
        let mut space = [0; MOST_QUERY];
        for _ in 0..BURST {
            let Some((udp, _)) = &self.open else { return };
            let (message, from) = match udp.recv_from(&mut space) {
                Ok((len, from)) => (&space[..len], from),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            if let Outcome::Answer(answer) = self.ask(message, By::Udp, Origin::Datagram(from), life, cx) {
                self.send(&answer, from);
            }
        }
    }

    /// An answer that cannot be sent is lost, as any datagram may be.
    fn send(&self, answer: &[u8], to: SocketAddr) {
        if let Some((udp, _)) = &self.open {
            let _ = udp.send_to(answer, to);
        }
    }

    /// Goes on with a stream: reads and answers until there is nothing to read, or an answer has to be waited for.
    fn stream(&mut self, at: usize, life: &Life, cx: &mut Context) {
        for _ in 0..BURST {
            let Some(message) = self.streams.advance(at, cx) else { return };
            match self.ask(&message, By::Tcp, Origin::Stream(at), life, cx) {
                Outcome::Answer(answer) => self.streams.reply(at, &answer),
                Outcome::Later => self.streams.wait(at),
                Outcome::Nothing => self.streams.close(at, cx),
            }
        }
        self.streams.soon(at, cx);
    }

    fn deliver(&mut self, done: Done, life: &Life, cx: &mut Context) {
        let answer = done.answer.unwrap_or_else(|| {
            let by = if matches!(done.origin, Origin::Datagram(_)) { By::Udp } else { By::Tcp };
            done.question.answer(&done.message, by, Code::Failure, &[])
        });
        match done.origin {
            Origin::Datagram(to) => self.send(&answer, to),
            Origin::Stream(at) => {
                self.streams.reply(at, &answer);
                self.stream(at, life, cx);
            }
        }
    }

    fn ask(&mut self, message: &[u8], by: By, origin: Origin, life: &Life, cx: &mut Context) -> Outcome {
        let question = match Question::read(message) {
            Ok(question) => question,
            Err(Fault::Say(answer)) => return Outcome::Answer(answer),
            Err(Fault::Silence) => return Outcome::Nothing,
        };
        let say = |code, records: &[_]| Outcome::Answer(question.answer(message, by, code, records));
        let (home, id, endpoints) = (&cx.files.home, cx.files.id.as_str(), life.endpoints());
        let asker = Asker { home, id, endpoints, hosts: &self.terms.hosts };
        if let Some(records) = asker.resolve(&question) {
            return say(Code::NoError, &records);
        }
        if self.terms.complete && question.asks_addresses() && question.is_bare() {
            return say(Code::NoError, &[]);
        }
        let inside = !self.terms.servers.is_empty();
        let servers = match inside {
            true => self.terms.servers.clone(),
            false if asker.leads_out() => self.upstream.servers().to_vec(),
            false => Vec::new(),
        };
        let own = if inside { life.own_network() } else { None };
        if servers.is_empty() || inside && own.is_none() {
            return say(Code::Failure, &[]);
        }
        match self.questions.pass_on(&question, message, origin, servers, own, cx) {
            true => Outcome::Later,
            false => say(Code::Failure, &[]),
        }
    }
}
