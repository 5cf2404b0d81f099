//! Who asks by TCP: one question after the other, each with its length before it.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::monitor::run::context::Context;
use crate::monitor::run::timers::Due;
use crate::monitor::run::watch::{Asked, Role};
use crate::network::names::MOST_QUERY;
use crate::sys::epoll::Interest;

/// Most streams at a time.
const MOST: usize = 32;
/// How long a stream may be idle.
const IDLE: Duration = Duration::from_secs(10);

/// One stream.
#[derive(Debug)]
struct Stream {
    socket: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
    /// An answer is waited for, and nothing is read meanwhile.
    waits: bool,
    /// Nothing more will be asked.
    over: bool,
    until: Instant,
}

/// All streams, each at a place that it keeps.
#[derive(Debug, Default)]
pub struct Streams(Vec<Option<Box<Stream>>>);

impl Streams {
    /// The one that has to make room for another: the one that has been idle longest, if all places are taken.
    pub fn surplus(&self) -> Option<usize> {
        let all = self.0.iter().enumerate().filter_map(|(at, stream)| Some((at, stream.as_deref()?)));
        if all.clone().count() < MOST {
            return None;
        }
        all.min_by_key(|(_, stream)| (stream.waits, stream.until)).map(|(at, _)| at)
    }

    /// Takes who comes.
    pub fn accept(&mut self, listener: &TcpListener, cx: &mut Context) {
        let Ok((socket, _)) = listener.accept() else { return };
        if socket.set_nonblocking(true).is_err() {
            return;
        }
        let place = self.0.iter().position(Option::is_none).unwrap_or(self.0.len());
        if cx.watch.add(socket.as_fd(), Role::Names(Asked::Stream(place)), Interest::IN).is_err() {
            return;
        }
        if place == self.0.len() {
            self.0.push(None);
        }
        let (input, output, until) = (Vec::new(), Vec::new(), Instant::now() + IDLE);
        self.0[place] = Some(Box::new(Stream { socket, input, output, waits: false, over: false, until }));
        cx.timers.set_sooner(Due::Names, IDLE);
    }

    /// Writes and reads what can be; gives the next question when it is whole. Nothing while an answer is waited for.
    pub fn advance(&mut self, at: usize, cx: &mut Context) -> Option<Vec<u8>> {
        let stream = self.0.get_mut(at)?.as_deref_mut()?;
        match stream.advance(cx) {
            Ok(Some(message)) => Some(message),
            Ok(None) => {
                let interest = match (stream.waits, stream.output.is_empty()) {
                    (true, _) => Interest::empty(),
                    (false, true) => Interest::IN,
                    (false, false) => Interest::OUT,
                };
                let _ = cx.watch.set(stream.socket.as_fd(), interest);
                None
            }
            Err(_) => {
                self.close(at, cx);
                None
            }
        }
    }

    /// The answer to the last question.
    pub fn reply(&mut self, at: usize, answer: &[u8]) {
        let Some(stream) = self.0.get_mut(at).and_then(Option::as_deref_mut) else { return };
        if let Ok(len) = u16::try_from(answer.len()) {
            stream.output.extend(len.to_be_bytes());
            stream.output.extend(answer);
        }
        stream.waits = false;
    }

    /// The answer to the last question comes later.
    pub fn wait(&mut self, at: usize) {
        if let Some(stream) = self.0.get_mut(at).and_then(Option::as_deref_mut) {
            stream.waits = true;
        }
    }

    /// It is gone on with when others have had their turn, whether anything comes or not.
    pub fn soon(&self, at: usize, cx: &Context) {
        if let Some(stream) = self.0.get(at).and_then(Option::as_deref).filter(|stream| !stream.waits) {
            let _ = cx.watch.set(stream.socket.as_fd(), Interest::OUT);
        }
    }

    /// Closes one.
    pub fn close(&mut self, at: usize, cx: &mut Context) {
        if let Some(stream) = self.0.get_mut(at).and_then(Option::take) {
            cx.watch.remove(stream.socket.as_fd());
        }
        while self.0.last().is_some_and(Option::is_none) {
            self.0.pop();
        }
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
    }

    /// Closes those that have been idle for too long.
    pub fn expire(&mut self, cx: &mut Context) {
        let now = Instant::now();
        for at in (0..self.0.len()).rev() {
            match self.0.get(at).and_then(Option::as_deref) {
                Some(stream) if !stream.waits && stream.until <= now => self.close(at, cx),
                Some(stream) => {
                    let left = stream.until.saturating_duration_since(now);
                    cx.timers.set_sooner(Due::Names, if stream.waits { IDLE } else { left });
                }
                None => {}
            }
        }
    }

    /// Closes all.
    pub fn drop_all(&mut self, cx: &mut Context) {
        for stream in std::mem::take(&mut self.0).into_iter().flatten() {
            cx.watch.remove(stream.socket.as_fd());
        }
    }
}

impl Stream {
    fn advance(&mut self, cx: &mut Context) -> io::Result<Option<Vec<u8>>> {
        let mut written = 0;
        while written < self.output.len() {
            match self.socket.write(&self.output[written..]) {
                Ok(len) => written += len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            self.until = Instant::now() + IDLE;
        }
        self.output.drain(..written);
        if self.waits || !self.output.is_empty() {
            return Ok(None);
        }
        self.output = Vec::new();
        loop {
            if let Some((len, rest)) = self.input.split_first_chunk::<2>() {
                let len = usize::from(u16::from_be_bytes(*len));
                if len > MOST_QUERY {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                if rest.len() >= len {
                    let message = rest[..len].to_vec();
                    self.input.drain(..len + 2);
                    self.input.shrink_to_fit();
                    return Ok(Some(message));
                }
            }
            if self.over {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            cx.io.dirty = true;
            match self.socket.read(&mut cx.io.input[..MOST_QUERY]) {
                Ok(0) => self.over = true,
                Ok(len) => {
                    self.input.extend(&cx.io.input[..len]);
                    self.until = Instant::now() + IDLE;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}
