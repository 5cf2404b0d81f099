//! The door: `monitor.sock`, who is connected there, and what each waits for.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use super::context::Context;
use super::timers::Due;
use super::watch::{Role, Watch};
use crate::monitor::protocol::{self, Attach, Failure, MAX_PACKET, Reply, Request, VERSION};
use crate::state::claim::{self, Process};
use crate::state::lock::Lock;
use crate::sys::epoll::Interest;
use crate::sys::fdpass;

/// How long nobody is let in after there was no descriptor left for one.
const DEAF: Duration = Duration::from_millis(100);

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
    /// The stream of the exec session at this place.
    Exec(usize, Vec<u8>),
    /// The start of a detached exec session.
    ExecStart(usize),
    /// The change of the container's networks that has this number.
    Change(u64),
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
#[derive(Debug)]
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

/// A request that has come in, and the connection to answer on.
#[derive(Debug)]
pub struct Asked {
    /// Who asks.
    pub connection: Connection,
    /// What.
    pub request: Request,
    /// The bytes behind it.
    pub bytes: Vec<u8>,
    /// The descriptor that came with it.
    pub socket: Option<OwnedFd>,
}

/// The monitor's door: who comes in by it, and what they wait for.
#[derive(Debug)]
pub struct Door {
    /// None once it is closed.
    open: Option<Open>,
    connections: Vec<Connection>,
}

/// A socket to listen on, and the lock that says whose it is.
#[derive(Debug)]
struct Open {
    listener: OwnedFd,
    lock: Lock,
    /// Given up for a client that is to be told that there is no descriptor for it.
    spare: Option<OwnedFd>,
}

/// What a connection brought.
#[derive(Debug)]
pub enum Received {
    /// A request.
    Request(Asked),
    /// Its end; it waited for this.
    End(Waits),
    /// Nothing to act upon.
    Nothing,
}

impl Door {
    /// An open door.
    pub fn new(listener: OwnedFd, lock: Lock, watch: &mut Watch) -> io::Result<Self> {
        watch.add(listener.as_fd(), Role::Listener, Interest::IN)?;
        let spare = Some(listener.try_clone()?);
        Ok(Self { open: Some(Open { listener, lock, spare }), connections: Vec::new() })
    }

    /// Writes beside this monitor's name which process is the container's.
    pub fn name_init(&self, init: Process) -> io::Result<()> {
        self.open.as_ref().map_or(Ok(()), |open| claim::name_init(&open.lock, init))
    }

    /// Lets somebody in.
    pub fn admit(&mut self, socket: OwnedFd, watch: &mut Watch) {
        if watch.add(socket.as_fd(), Role::Connection(socket.as_raw_fd()), Interest::IN).is_ok() {
            self.connections.push(Connection { socket, waits: Waits::Request });
        }
    }

    /// Whether nobody is connected.
    pub fn is_deserted(&self) -> bool {
        self.connections.is_empty()
    }

    /// Takes all waiting connections.
    pub fn accept(&mut self, cx: &mut Context) {
        loop {
            let Some(open) = &mut self.open else { return };
            match fdpass::accept(open.listener.as_fd()) {
                Ok(Some(socket)) => self.admit(socket, &mut cx.watch),
                Ok(None) => return,
                Err(error) => {
                    // It is said whether or not somebody waits.
                    let turned_away = open.turn_away(&error);
                    if turned_away && open.spare.is_some() {
                        continue;
                    }
                    if open.spare.is_none() {
                        // Who waits would be reported all the time.
                        cx.watch.remove(open.listener.as_fd());
                        cx.timers.set(Due::Listen, DEAF);
                    }
                    return;
                }
            }
        }
    }

    /// Lets clients in again.
    pub fn listen_again(&mut self, watch: &mut Watch) {
        if let Some(Open { listener, spare, .. }) = &mut self.open {
            *spare = listener.try_clone().ok();
            let _ = watch.add(listener.as_fd(), Role::Listener, Interest::IN);
        }
    }

    /// What a connection has to say.
    pub fn receive(&mut self, fd: RawFd, cx: &mut Context) -> Received {
        let place = self.connections.iter().position(|connection| connection.socket.as_raw_fd() == fd);
        let Some(place) = place else { return Received::Nothing };
        let connection = self.connections.swap_remove(place);
        cx.io.dirty = true;
        let buf = &mut cx.io.input[..MAX_PACKET];
        match fdpass::recv(&connection.socket, buf) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.connections.push(connection);
                Received::Nothing
            }
            Ok(got) if got.len > 0 => match protocol::parse::<Request>(&buf[..got.len]) {
                Ok((request, bytes)) => {
                    let (bytes, socket) = (bytes.to_vec(), got.fds.into_iter().next());
                    Received::Request(Asked { connection, request, bytes, socket })
                }
                Err(_) => {
                    self.settle(connection, unknown(), &mut cx.watch);
                    Received::Nothing
                }
            },
            _ => {
                cx.watch.remove(connection.as_fd());
                Received::End(connection.waits)
            }
        }
    }

    /// What a request came to.
    pub fn settle(&mut self, mut connection: Connection, outcome: Outcome, watch: &mut Watch) {
        let (reply, waits) = match outcome {
            Outcome::Answer(reply) => (Some(reply), Waits::Request),
            Outcome::Later(waits) => (None, waits),
            Outcome::Then(reply, waits) => (Some(reply), waits),
        };
        connection.waits = waits;
        let stays = self.open.is_some();
        match reply.is_none_or(|reply| answer(&connection, &reply)) && stays {
            true => self.connections.push(connection),
            false => watch.remove(connection.as_fd()),
        }
    }

    /// Answers every connection that waits for what `what` says yes to.
    pub fn answer_all(&mut self, reply: &Reply, watch: &mut Watch, what: impl Fn(&Waits) -> bool) {
        for connection in std::mem::take(&mut self.connections) {
            match what(&connection.waits) {
                true => self.settle(connection, Outcome::Answer(reply.clone()), watch),
                false => self.connections.push(connection),
            }
        }
    }

    /// Whether the container is to be started: that has been asked for, and no announced attach is still without its
    /// stream.
    pub fn wants_start(&self) -> bool {
        let asked = self.connections.iter().any(|connection| matches!(connection.waits, Waits::Start));
        asked && !self.connections.iter().any(|connection| matches!(connection.waits, Waits::Attach(..)))
    }

    /// Lets nobody in any more: whoever comes launches the next monitor.
    pub fn close(&mut self, cx: &mut Context) {
        let _ = std::fs::remove_file(cx.files.paths.monitor_socket());
        cx.timers.cancel(Due::Listen);
        if let Some(Open { listener, .. }) = self.open.take() {
            cx.watch.remove(listener.as_fd());
        }
        for connection in std::mem::take(&mut self.connections) {
            cx.watch.remove(connection.as_fd());
        }
    }
}

impl Open {
    /// Tells a client, if one waits, that there is no descriptor left for it.
    fn turn_away(&mut self, why: &io::Error) -> bool {
        if self.spare.take().is_none() {
            return false;
        }
        let waiting = fdpass::accept(self.listener.as_fd()).ok().flatten();
        let waited = waiting.is_some();
        if let Some(socket) = waiting {
            let message = format!("the container's monitor cannot take one more client: {why}");
            let failed = Reply::Failed { kind: Failure::System, message };
            let _ = fdpass::send(&socket, &[&protocol::encode(&failed)], &[]);
        }
        self.spare = self.listener.try_clone().ok();
        waited
    }
}

/// A message of a later version.
fn unknown() -> Outcome {
    refuse(
        Failure::Invalid,
        format!(
            "the container's monitor is from before an upgrade (it speaks version {VERSION}) and does not know this \
             request: restart the container"
        ),
    )
}

/// Sends an answer; false if the connection is gone.
fn answer(connection: &Connection, reply: &Reply) -> bool {
    fdpass::send(&connection.socket, &[&protocol::encode(reply)], &[]).is_ok()
}
