//! Talking to a monitor, and launching one.
//!
//! All calls block; those that may block for long ([`Request::Wait`], [`Request::Stop`]) can be split into
//! [`Connection::ask`] and [`Connection::reply`] around waiting for the descriptor.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::protocol::{self, Attach, ExecStart, Failure, MAX_BYTES, Reply, Request};
use crate::model::ErrorKind;
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
pub struct Connection(OwnedFd);

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Connection {
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
        fdpass::send(&self.0, parts, fds).map_err(gone)
    }

    /// The next answer, whatever it says.
    ///
    /// # Errors
    /// [`Error::Gone`] or those of the socket.
    pub fn reply(&self) -> Result<Reply> {
        let mut buf = vec![0; 64 * 1024];
        let got = fdpass::recv(&self.0, &mut buf).map_err(gone)?;
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
    /// removed at its end.
    ///
    /// # Errors
    /// [`Error::Failed`] (Conflict) if it does not run, [`Error::Gone`].
    pub fn stop(&self, signal: i32, timeout_s: i64, keep: bool) -> Result<i32> {
        self.exit(&Request::Stop { signal, timeout_s, keep })
    }

    /// Waits for the container's next end.
    ///
    /// # Errors
    /// [`Error::Gone`] if it was killed or never started.
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
    pub fn exec(self, exec_id: &str, console_size: Option<[u32; 2]>) -> Result<Announced> {
        let start = ExecStart { exec_id: exec_id.to_owned(), detach: false, console_size };
        self.announce(&Request::ExecStart(start))
    }

    /// Starts an exec session without streams; returns its process id.
    ///
    /// # Errors
    /// [`Error::Failed`] with what the runtime said, [`Error::Gone`].
    pub fn exec_detached(&self, exec_id: &str, console_size: Option<[u32; 2]>) -> Result<i32> {
        let start = ExecStart { exec_id: exec_id.to_owned(), detach: true, console_size };
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
/// Those of the socket.
pub fn connect(home: &Home, id: &str) -> Result<Option<Connection>> {
    match fdpass::connect(&home.container(id).monitor_socket()) {
        Ok(socket) => Ok(Some(Connection(socket))),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Ok(None),
            _ => Err(Error::Io(error)),
        },
    }
}

/// Connects to a container's monitor, launching one if none lives. It is detached: no descendant of the caller.
///
/// # Errors
/// [`Error::Launch`] or those of the socket.
pub fn launch(home: &Home, id: &str) -> Result<Connection> {
    for _ in 0..20 {
        if let Some(connection) = connect(home, id)? {
            return Ok(connection);
        }
        spawn(home, id)?;
    }
    Err(Error::Launch("it ends again and again".to_owned()))
}

/// Starts the container through its monitor, launching that if necessary, and again if it was just about to end (after
/// the container's last end). Returns the process id.
///
/// # Errors
/// As [`launch`] and [`Connection::start`].
pub fn start(home: &Home, id: &str) -> Result<i32> {
    for _ in 0..20 {
        match launch(home, id)?.start() {
            Err(Error::Gone) => {}
            other => return other,
        }
    }
    Err(Error::Gone)
}

/// Spawns `pierless monitor <id>` and waits until it listens, or has found another one that does.
fn spawn(home: &Home, id: &str) -> Result<()> {
    let failed = |error: io::Error| Error::Launch(error.to_string());
    let (ready, theirs) = io::pipe().map_err(failed)?;
    // Nothing here asks for work between fork and exec, so this is posix_spawn: quick, and safe with threads.
    let mut child = Command::new("/proc/self/exe")
        .arg0("pierless")
        .args(["monitor", id])
        .env("PIERLESS_DATA", &home.data)
        .env("PIERLESS_RUN", &home.run)
        .stdin(Stdio::null())
        .stdout(theirs)
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let mut said = String::new();
    let read = io::Read::read_to_string(&mut io::BufReader::with_capacity(256, ready), &mut said);
    // The child itself ends as soon as it has detached; this only takes its exit status.
    let _ = child.wait();
    read.map_err(failed)?;
    match said.as_str() {
        READY => Ok(()),
        "" => Err(Error::Launch("it ended without a word".to_owned())),
        why => Err(Error::Launch(why.to_owned())),
    }
}

/// What a monitor writes to its standard output when it, or another one, listens. Anything else is an error's text.
pub const READY: &str = "ready";
