//! Connections on `monitor.sock`: requests in, answers out.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Instant;

use super::attached::{Client, Options};
use super::watch::Role;
use super::{DEAF, MAIN, Phase, Supervisor};
use crate::monitor::detach::{self, Detach};
use crate::monitor::protocol::{self, Attach, Failure, MAX_PACKET, Reply, Request};
use crate::state::exec::ExecRecord;
use crate::state::logfile::{LogReader, Selection};
use crate::sys::epoll::Interest;
use crate::sys::fdpass;

/// Bytes that a client may send before its stream is handed over.
const MAX_EARLY: usize = 1 << 20;

/// What a connection waits for.
#[derive(Debug, Default)]
pub enum Waits {
    /// The next request.
    #[default]
    Request,
    /// The start of the container, that it asked for.
    Start,
    /// The end of the container.
    End,
    /// The stream of an attach.
    Attach(Attach, Vec<u8>),
    /// The stream of an exec session.
    Exec(Box<ExecRecord>, Vec<u8>),
    /// The start of a detached exec session.
    ExecStart(usize),
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    /// What it waits for.
    pub waits: Waits,
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What a request comes to at once.
pub enum Outcome {
    /// This answer, and the next request is awaited.
    Answer(Reply),
    /// The answer comes later.
    Later(Waits),
    /// This answer, and then something particular is awaited.
    Then(Reply, Waits),
}

/// A failure as an outcome.
pub fn refuse(kind: Failure, message: impl ToString) -> Outcome {
    Outcome::Answer(Reply::Failed { kind, message: message.to_string() })
}

impl Supervisor {
    /// Takes all waiting connections.
    pub(super) fn accept(&mut self) {
        let Some(listener) = &self.listener else { return };
        loop {
            let socket = match fdpass::accept(listener.as_fd()) {
                Ok(Some(socket)) => socket,
                Ok(None) => return,
                Err(_) => {
                    // Too many open files: who waits would be reported all the time.
                    self.watch.remove(listener.as_fd());
                    self.deaf = Some(Instant::now());
                    return;
                }
            };
            if self.watch.add(socket.as_fd(), Role::Connection(socket.as_raw_fd()), Interest::IN).is_ok() {
                self.connections.push(Connection { socket, waits: Waits::Request });
            }
        }
    }

    /// Lets clients in again, some time after there was no descriptor left for one.
    pub(super) fn listen_again(&mut self) {
        if self.deaf.is_some_and(|since| since.elapsed() >= DEAF) {
            self.deaf = None;
            if let Some(listener) = &self.listener {
                let _ = self.watch.add(listener.as_fd(), Role::Listener, Interest::IN);
            }
        }
    }

    /// A connection has a request, or has been closed.
    pub(super) fn connection_ready(&mut self, fd: RawFd) {
        let Some(place) = self.connections.iter().position(|connection| connection.socket.as_raw_fd() == fd) else {
            return;
        };
        let mut connection = self.connections.swap_remove(place);
        self.io.dirty = true;
        let received = fdpass::recv(&connection.socket, &mut self.io.input[..MAX_PACKET]);
        let (request, bytes, socket) = match received {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return self.connections.push(connection),
            Ok(got) if got.len > 0 => match protocol::parse::<Request>(&self.io.input[..got.len]) {
                Ok((request, bytes)) => (request, bytes.to_vec(), got.fds.into_iter().next()),
                Err(_) => return self.disconnect(&connection),
            },
            _ => return self.disconnect(&connection),
        };
        let outcome = self.serve(std::mem::take(&mut connection.waits), request, bytes, socket);
        let sent = match outcome {
            Outcome::Answer(reply) => answer(&connection, &reply),
            Outcome::Later(waits) => {
                connection.waits = waits;
                true
            }
            Outcome::Then(reply, waits) => {
                connection.waits = waits;
                answer(&connection, &reply)
            }
        };
        match sent {
            true => self.connections.push(connection),
            false => self.disconnect(&connection),
        }
    }

    fn disconnect(&mut self, connection: &Connection) {
        self.watch.remove(connection.as_fd());
    }

    fn serve(&mut self, waits: Waits, request: Request, bytes: Vec<u8>, socket: Option<OwnedFd>) -> Outcome {
        match (waits, request) {
            (Waits::Attach(attach, early), Request::Input) => more(early, &bytes, |early| Waits::Attach(attach, early)),
            (Waits::Exec(record, early), Request::Input) => more(early, &bytes, |early| Waits::Exec(record, early)),
            (Waits::Attach(attach, mut early), Request::Stream) => {
                early.extend(bytes);
                self.attach(&attach, &early, socket)
            }
            (Waits::Exec(record, mut early), Request::Stream) => {
                early.extend(bytes);
                self.exec_attached(*record, &early, socket)
            }
            (Waits::Request, request) => self.serve_new(request),
            _ => refuse(Failure::Invalid, "not the request that is expected now"),
        }
    }

    fn serve_new(&mut self, request: Request) -> Outcome {
        let running = self.phase == Phase::Running;
        let not_running = || refuse(Failure::Conflict, "container is not running");
        match request {
            Request::Start => match self.phase {
                Phase::Running | Phase::Starting => refuse(Failure::AlreadyRunning, "container is already running"),
                // Answered when the starter has reported; a start waits for announced streams.
                _ => Outcome::Later(Waits::Start),
            },
            Request::Attach(attach) => match detach::parse(&attach.detach_keys) {
                Ok(_) => Outcome::Then(Reply::Ready, Waits::Attach(attach, Vec::new())),
                Err(error) => refuse(Failure::Invalid, error),
            },
            Request::ExecStart(start) => self.exec_announced(&start),
            Request::Input | Request::Stream => refuse(Failure::Invalid, "no stream was announced"),
            Request::Wait => Outcome::Later(Waits::End),
            Request::Stop { .. } if self.phase == Phase::Idle => {
                // The container is to be removed: nobody shall wait for its start any more.
                self.phase = Phase::Over;
                self.main_mut().clients.iter_mut().for_each(Client::drop_now);
                self.leave();
                not_running()
            }
            Request::Stop { signal, timeout_s, keep } if self.phase == Phase::Starting => {
                self.settings.auto_remove &= !keep;
                self.state.kept |= keep;
                self.stop_wanted = Some((signal, timeout_s));
                Outcome::Later(Waits::End)
            }
            Request::Signal { .. } | Request::Stop { .. } if !running => not_running(),
            Request::Signal { signal } => match self.signal_main(signal) {
                true => {
                    self.state.stopped_by_user |= matches!(signal, 9 | 15) || signal == self.settings.stop_signal;
                    Outcome::Answer(Reply::Ok)
                }
                false => not_running(),
            },
            Request::Stop { signal, timeout_s, keep } => match self.stop(signal, timeout_s) {
                true => {
                    self.settings.auto_remove &= !keep;
                    self.state.kept |= keep;
                    Outcome::Later(Waits::End)
                }
                false => not_running(),
            },
            Request::Resize { exec: None, height, width } => match self.main_mut().resize(height, width) {
                Ok(()) => Outcome::Answer(Reply::Ok),
                Err(error) => refuse(Failure::System, error),
            },
            Request::Resize { exec: Some(exec), height, width } => {
                let mut sessions = self.sessions.iter_mut().flatten();
                match sessions.find(|session| session.exec.as_ref() == Some(&exec)).map(|s| s.resize(height, width)) {
                    Some(Ok(())) => Outcome::Answer(Reply::Ok),
                    Some(Err(error)) => refuse(Failure::System, error),
                    None => refuse(Failure::NotFound, format!("No such exec instance: {exec}")),
                }
            }
        }
    }

    /// Attaches a client to the container.
    fn attach(&mut self, attach: &Attach, early: &[u8], socket: Option<OwnedFd>) -> Outcome {
        let Some(socket) = socket else { return refuse(Failure::Invalid, "no socket came with the stream") };
        let data = self.data();
        let log = self.paths.log();
        let replay = (attach.logs && self.settings.log.is_some())
            .then(|| LogReader::open(&log, Selection::default()).ok())
            .flatten();
        let tty = self.settings.tty;
        let options = Options {
            wants: [attach.stdout, attach.stderr],
            stdin: attach.stdin && attach.stream && self.settings.open_stdin,
            framed: !tty,
            stream: attach.stream,
            // Without a terminal the input is data, in which any byte may occur.
            detach: (tty && attach.stdin).then(|| detach::parse(&attach.detach_keys).ok().map(Detach::new)).flatten(),
            replay,
        };
        let stays = attach.stream || options.replay.is_some();
        let mut client = match Client::new(socket, options) {
            Ok(client) => client,
            Err(error) => return refuse(Failure::Invalid, error),
        };
        if stays {
            let session = self.sessions[MAIN].as_mut().expect("the container's own session stays");
            session.attach(MAIN, client, early, &data, &mut self.watch);
        } else {
            client.finish();
        }
        Outcome::Answer(Reply::Ok)
    }

    /// Answers every connection that waits for what `what` says yes to.
    pub(super) fn answer_all(&mut self, reply: &Reply, what: impl Fn(&Waits) -> bool) {
        for mut connection in std::mem::take(&mut self.connections) {
            if what(&connection.waits) {
                connection.waits = Waits::Request;
                if !answer(&connection, reply) {
                    self.disconnect(&connection);
                    continue;
                }
            }
            self.connections.push(connection);
        }
    }

    /// Starts the container if that has been asked for and no announced attach is still without its stream.
    pub(super) fn start_if_asked(&mut self) {
        let asked = self.connections.iter().any(|connection| matches!(connection.waits, Waits::Start));
        let announced = self.connections.iter().any(|connection| matches!(connection.waits, Waits::Attach(..)));
        if asked && !announced {
            self.start();
        }
    }
}

fn more(mut early: Vec<u8>, bytes: &[u8], waits: impl FnOnce(Vec<u8>) -> Waits) -> Outcome {
    if early.len() + bytes.len() > MAX_EARLY {
        return refuse(Failure::Invalid, "too much input before the stream");
    }
    early.extend_from_slice(bytes);
    Outcome::Then(Reply::Ready, waits(early))
}

/// Sends an answer; false if the connection is gone.
fn answer(connection: &Connection, reply: &Reply) -> bool {
    fdpass::send(&connection.socket, &[&protocol::encode(reply)], &[]).is_ok()
}
