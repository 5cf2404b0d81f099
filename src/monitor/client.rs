//! Talking to a monitor, and launching one.
//!
//! All calls block; those that may block for long ([`Request::Wait`], [`Request::Stop`]) can be split into
//! [`Connection::ask`] and [`Connection::reply`] around waiting for the descriptor.

use std::env;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::protocol::{self, Attach, ExecStart, Failure, MAX_BYTES, Phase, Reply, Request, VERSION};
use crate::holder;
use crate::model::ErrorKind;
use crate::model::networking::EndpointSettings;
use crate::network::names::upstream;
use crate::state::paths::Home;
use crate::sys::fdpass;

/// Why a monitor could not be asked, or what it refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The monitor ended before it answered: its container has ended, or it was killed.
    #[error("the container's monitor has ended")]
    Gone,
    /// It answered, with a failure.
    #[error("{message}")]
    Failed {
        /// What sort of failure.
        failure: Failure,
        /// For a person.
        message: String,
    },
    /// It could not be launched.
    #[error("cannot launch the container's monitor: {0}")]
    Launch(String),
    /// It answered something else than the protocol allows.
    #[error("unexpected answer from the container's monitor: {0:?}")]
    Unexpected(Reply),
    /// The kernel refused.
    #[error("container's monitor: {0}")]
    Io(#[from] io::Error),
}

impl Error {
    /// The kind of this error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Failed { failure, .. } => failure.kind(),
            Self::Gone => ErrorKind::Conflict,
            _ => ErrorKind::System,
        }
    }
}

/// Result of talking to a monitor.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A connection to one container's monitor.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    version: u32,
    phase: Phase,
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Connection {
    /// Greets.
    fn greet(socket: OwnedFd) -> Result<Self> {
        let mut connection = Self { socket, version: VERSION, phase: Phase::Other };
        let _ = connection.ask(&Request::Hello { version: VERSION });
        // One that has no descriptor left answers unasked and hangs up: the answer is behind the broken connection.
        let answer = match connection.answer() {
            Err(Error::Gone) => connection.answer(),
            other => other,
        };
        match answer? {
            Reply::Welcome { version, phase } => {
                (connection.version, connection.phase) = (version, phase);
                Ok(connection)
            }
            other => Err(Error::Unexpected(other)),
        }
    }

    /// Whether its container was being started when this connection was made.
    pub fn is_starting(&self) -> bool {
        self.phase == Phase::Starting
    }

    /// Whether its container ran when this connection was made. One of version 0 does not say, and is asked whether there
    /// is a process to send a signal to: its own child, whose number is nobody else's until it has taken its exit code.
    pub fn is_running(&self) -> bool {
        self.phase == Phase::Running || (self.version == 0 && self.signal(0).is_ok())
    }

    /// Whether the monitor tells of a stop itself. One of version 0 does not.
    pub fn tells_of_stops(&self) -> bool {
        self.version >= 1
    }

    /// Sends a request without waiting for its answer.
    ///
    /// # Errors
    /// [`Error::Gone`] or those of the socket.
    pub fn ask(&self, request: &Request) -> Result<()> {
        self.send(request, &[], &[])
    }

    fn send(&self, request: &Request, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
        let message = protocol::encode(request);
        let parts: &[&[u8]] = if bytes.is_empty() { &[&message] } else { &[&message, b"\0", bytes] };
        fdpass::send(&self.socket, parts, fds).map_err(gone)
    }

    /// The next answer, whatever it says.
    ///
    /// # Errors
    /// [`Error::Gone`] or those of the socket.
    pub fn reply(&self) -> Result<Reply> {
        let mut buf = vec![0; 64 * 1024];
        let got = fdpass::recv(&self.socket, &mut buf).map_err(gone)?;
        if got.len == 0 {
            return Err(Error::Gone);
        }
        let (reply, _) = protocol::parse(&buf[..got.len]).map_err(io::Error::from)?;
        Ok(reply)
    }

    /// The next answer; a refusal as an error.
    fn answer(&self) -> Result<Reply> {
        match self.reply()? {
            Reply::Failed { kind, message } => Err(Error::Failed { failure: kind, message }),
            reply => Ok(reply),
        }
    }

    fn call(&self, request: &Request) -> Result<Reply> {
        self.ask(request)?;
        self.answer()
    }

    fn done(&self, request: &Request) -> Result<()> {
        match self.call(request)? {
            Reply::Ok => Ok(()),
            other => Err(Error::Unexpected(other)),
        }
    }

    /// Starts the container; returns the process id of its init.
    ///
    /// # Errors
    /// [`Error::Failed`] with what the runtime said, [`Error::Gone`].
    pub fn start(&self) -> Result<i32> {
        match self.call(&Request::Start)? {
            Reply::Running { pid } => Ok(pid),
            other => Err(Error::Unexpected(other)),
        }
    }

    /// Sends a signal to the container's process.
    ///
    /// # Errors
    /// [`Error::Failed`] (Conflict) if it does not run, [`Error::Gone`].
    pub fn signal(&self, signal: i32) -> Result<()> {
        self.done(&Request::Signal { signal })
    }

    /// Stops the container and returns its exit code when that is committed. With `keep` it stays even if it is to be
    /// removed at its end; with `tell` the monitor emits the event of a stop, if it [tells](Self::tells_of_stops) of any.
    ///
    /// # Errors
    /// [`Error::Failed`] (Conflict) if it does not run, [`Error::Gone`].
    pub fn stop(&self, signal: i32, timeout_s: i64, keep: bool, tell: bool) -> Result<i32> {
        self.exit(&Request::Stop { signal, timeout_s, keep, tell })
    }

    /// Waits for the container's next end.
    ///
    /// # Errors
    /// [`Error::Gone`] if it was killed or never started.
    #[cfg(test)]
    pub fn wait(&self) -> Result<i32> {
        self.exit(&Request::Wait)
    }

    fn exit(&self, request: &Request) -> Result<i32> {
        match self.call(request)? {
            Reply::Exited { code } => Ok(code),
            other => Err(Error::Unexpected(other)),
        }
    }

    /// Sets a terminal's size: the container's, or an exec session's.
    ///
    /// # Errors
    /// [`Error::Failed`] (NotFound) if there is no such session, [`Error::Gone`].
    pub fn resize(&self, exec: Option<&str>, height: u16, width: u16) -> Result<()> {
        self.done(&Request::Resize { exec: exec.map(str::to_owned), height, width })
    }

    /// Connects the running container to a network, named by its id.
    ///
    /// # Errors
    /// [`Error::Failed`]: what the network or the kernel refuses; Conflict if it does not run, or its monitor is too old.
    pub fn connect(&self, network: &str, settings: &EndpointSettings) -> Result<()> {
        self.knows_networks()?;
        let request = Request::Connect { network: network.to_owned(), settings: Box::new(settings.clone()) };
        if protocol::encode(&request).len() > MAX_BYTES {
            return Err(Error::Failed { failure: Failure::Invalid, message: "the settings are too long".to_owned() });
        }
        self.done(&request)
    }

    /// Takes the running container out of a network, named by its id.
    ///
    /// # Errors
    /// As [`Connection::connect`].
    pub fn disconnect(&self, network: &str) -> Result<()> {
        self.knows_networks()?;
        self.done(&Request::Disconnect { network: network.to_owned() })
    }

    fn knows_networks(&self) -> Result<()> {
        let message = "the container's monitor is from before an upgrade and cannot change the networks of a container that \
                       runs: restart the container";
        match self.version >= 2 {
            true => Ok(()),
            false => Err(Error::Failed { failure: Failure::Conflict, message: message.to_owned() }),
        }
    }

    /// Announces an attach. From now on a start waits until the stream is handed over or this is dropped.
    ///
    /// # Errors
    /// [`Error::Failed`] (Invalid) for detach keys that are none, [`Error::Gone`].
    pub fn attach(self, attach: Attach) -> Result<Announced> {
        self.announce(&Request::Attach(attach))
    }

    /// Announces an exec session; it starts when its stream is handed over.
    ///
    /// # Errors
    /// [`Error::Failed`] (NotFound, Conflict), [`Error::Gone`].
    pub fn exec(self, exec_id: &str, console_size: Option<[u32; 2]>, raw: bool) -> Result<Announced> {
        let start = ExecStart { exec_id: exec_id.to_owned(), detach: false, console_size, raw: Some(raw) };
        self.announce(&Request::ExecStart(start))
    }

    /// Starts an exec session without streams; returns its process id.
    ///
    /// # Errors
    /// [`Error::Failed`] with what the runtime said, [`Error::Gone`].
    pub fn exec_detached(&self, exec_id: &str, console_size: Option<[u32; 2]>) -> Result<i32> {
        let start = ExecStart { exec_id: exec_id.to_owned(), detach: true, console_size, raw: None };
        match self.call(&Request::ExecStart(start))? {
            Reply::Running { pid } => Ok(pid),
            other => Err(Error::Unexpected(other)),
        }
    }

    fn announce(self, request: &Request) -> Result<Announced> {
        match self.call(request)? {
            Reply::Ready => Ok(Announced(self)),
            other => Err(Error::Unexpected(other)),
        }
    }
}

/// An attach or exec that waits for its stream.
#[derive(Debug)]
pub struct Announced(Connection);

impl Announced {
    /// Hands over the client's socket, with the bytes that were already read from it. The HTTP answer's head must have
    /// been written before. Returns when the monitor has it; the caller then closes its own copy.
    ///
    /// # Errors
    /// [`Error::Gone`] or those of the socket.
    pub fn hand_over(self, socket: BorrowedFd<'_>, mut buffered: &[u8]) -> Result<()> {
        while let Some((chunk, rest)) = buffered.split_at_checked(MAX_BYTES) {
            self.0.send(&Request::Input, chunk, &[])?;
            match self.0.answer()? {
                Reply::Ready => buffered = rest,
                other => return Err(Error::Unexpected(other)),
            }
        }
        self.0.send(&Request::Stream, buffered, &[socket])?;
        match self.0.answer()? {
            Reply::Ok => Ok(()),
            other => Err(Error::Unexpected(other)),
        }
    }
}

/// A broken connection is a monitor that has ended.
fn gone(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::NotConnected => Error::Gone,
        _ => Error::Io(error),
    }
}

/// Connects to a container's monitor, if one lives.
///
/// # Errors
/// Those of the socket; [`Error::Failed`] if it has no descriptor left for one more client.
pub fn connect(home: &Home, id: &str) -> Result<Option<Connection>> {
    let Some(socket) = reach(home, id)? else { return Ok(None) };
    match Connection::greet(socket) {
        Ok(connection) => Ok(Some(connection)),
        // It has just ended; or it is from before there was a greeting, and hung up on it.
        Err(Error::Gone) => {
            let again = reach(home, id)?;
            Ok(again.map(|socket| Connection { socket, version: 0, phase: Phase::Other }))
        }
        Err(error) => Err(error),
    }
}

fn reach(home: &Home, id: &str) -> Result<Option<OwnedFd>> {
    match fdpass::connect(&home.container(id).monitor_socket()) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Ok(None),
            _ => Err(Error::Io(error)),
        },
    }
}

/// Connects to a container's monitor, launching one if none lives. It is detached: no descendant of the caller. One that
/// is killed while it is launched is launched again; that a second one is killed, too, is no accident.
///
/// # Errors
/// [`Error::Launch`] or those of the socket.
pub fn launch(home: &Home, id: &str) -> Result<Connection> {
    let mut killed = false;
    loop {
        if let Some(connection) = connect(home, id)? {
            return Ok(connection);
        }
        match spawn(home, id) {
            Ok(Some(connection)) => return Ok(connection),
            // Another one lived a moment ago.
            Ok(None) => {}
            Err(Error::Gone) if !killed => killed = true,
            Err(Error::Gone) => return Err(Error::Launch("it was killed, and a second one as well".to_owned())),
            Err(error) => return Err(error),
        }
    }
}

/// Spawns `pierless monitor <id>`, which has this connection from the beginning; none if it found another monitor.
fn spawn(home: &Home, id: &str) -> Result<Option<Connection>> {
    let failed = |error: io::Error| Error::Launch(error.to_string());
    let (ready, says) = io::pipe().map_err(failed)?;
    let (socket, theirs) = fdpass::pair().map_err(failed)?;
    // Nothing here asks for work between fork and exec, so this is posix_spawn: quick, and safe with threads.
    let program = holder::program::copy(home).map_err(failed)?;
    let mut child = Command::new(holder::program::executable(program))
        .arg0(holder::program::path())
        .args(["monitor", id])
        // The same for all, whoever launches it.
        .env_clear()
        .env("PIERLESS_DATA", &home.data)
        .env("PIERLESS_RUN", &home.run)
        .envs(env::var_os(upstream::VARIABLE).map(|path| (upstream::VARIABLE, path)))
        .stdin(theirs)
        .stdout(says)
        // By which the role knows that it was meant.
        .stderr(program.try_clone().map_err(failed)?)
        .spawn()
        .map_err(failed)?;
    let mut said = String::new();
    let read = io::Read::read_to_string(&mut io::BufReader::with_capacity(256, ready), &mut said);
    // The child itself ends as soon as it has detached; this only takes its exit status.
    let _ = child.wait();
    read.map_err(failed)?;
    match said.as_str() {
        READY => Connection::greet(socket).map(Some),
        ANOTHER => Ok(None),
        "" => Err(Error::Gone),
        why => Err(Error::Launch(why.to_owned())),
    }
}

/// What a monitor writes to its standard output when it listens. Its standard input is then its first client.
pub const READY: &str = "ready";
/// What it writes there when it has found another one that does. Anything else is an error's text.
pub const ANOTHER: &str = "another";
