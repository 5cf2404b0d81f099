//! The only room that names libcontainer: from a record to a running process.
//!
//! libcontainer prepares the root file system, changes into it and installs the system call filter. Which process does
//! that, and in which order, is decided here rather than by libcontainer's own builders, for three reasons. Those need a
//! cgroup to manage, and would kill every process in it when a start fails; here a container may have none. They tell
//! errors as text of their own, and clients of Docker tell exit codes 126 and 127 by Docker's texts. And they fork twice
//! and talk over four sockets, where one fork and one pipe do.
//!
//! Everything here is called in a *starter*: a forked, single-threaded child of the monitor that ends afterwards. The
//! process that it starts becomes the monitor's child, for the monitor is a subreaper.

mod child;
mod confine;
mod exec;
mod filter;
mod host;
pub mod init;
mod mounting;
pub mod rootfs;
mod start;
pub mod user;

use std::io;
use std::os::fd::OwnedFd;

pub use exec::{Exec, exec};
pub use start::{Start, delete, start};

/// A process's ends of its streams.
#[derive(Debug)]
pub enum Stdio {
    /// Input, output, error.
    Pipes([OwnedFd; 3]),
    /// A new terminal of the container, of so many rows and columns.
    Terminal(Option<(u16, u16)>),
}

/// A process that runs its program.
#[derive(Debug)]
pub struct Started {
    /// Its id in the caller's pid namespace.
    pub pid: i32,
    /// Its terminal's master, if it was to have one.
    pub terminal: Option<OwnedFd>,
}

/// What sort of failure a start met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartErrorKind {
    /// There is no such program: exit code 127.
    NotFound,
    /// It is no program, or not this user's to run: exit code 126.
    NotExecutable,
    /// Anything else: exit code 128.
    Other,
}

/// Why a process does not run; nothing of it remains.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StartError {
    /// What sort of failure.
    pub kind: StartErrorKind,
    /// For a person, and for clients that look for Docker's words in it.
    pub message: String,
}

impl StartError {
    /// The exit code that Docker records for it.
    pub fn exit_code(&self) -> i32 {
        match self.kind {
            StartErrorKind::NotFound => 127,
            StartErrorKind::NotExecutable => 126,
            StartErrorKind::Other => 128,
        }
    }

    fn other(message: impl Into<String>) -> Self {
        Self { kind: StartErrorKind::Other, message: message.into() }
    }

    fn at(what: impl std::fmt::Display) -> impl FnOnce(io::Error) -> Self {
        move |err| Self::other(format!("{what}: {err}"))
    }

    /// With Docker's words before it.
    fn in_context(mut self, context: &str) -> Self {
        self.message.insert_str(0, context);
        self
    }
}

impl From<crate::spec::Error> for StartError {
    fn from(err: crate::spec::Error) -> Self {
        Self::other(err.0)
    }
}
