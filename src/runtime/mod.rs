//! From a root file system and a plan to a running process.
//!
//! The *plan* is an OCI runtime specification: what is in it happens, and nothing else. What it is made of (a container's
//! record, a step of a build) is not known here. Namespaces that are shared, and mounts whose source is not this
//! process's to name, come as descriptors.
//!
//! Everything here is called in a *starter*: a forked, single-threaded child of the monitor that ends afterwards. The
//! process that it starts becomes the monitor's child, for the monitor is a subreaper.

mod child;
mod confine;
mod dev;
mod ending;
mod exec;
mod filter;
pub mod host;
pub mod init;
mod mounting;
mod options;
mod restrict;
pub mod rootfs;
mod start;
pub mod user;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

pub use child::errno_text;
pub use ending::end_all;
pub use exec::{Exec, exec};
pub use start::{Start, delete, plan, start};

/// A process's ends of its streams.
#[derive(Debug)]
pub enum Stdio {
    /// Input, output, error.
    Pipes([OwnedFd; 3]),
    /// A new terminal of the container, of so many rows and columns.
    Terminal(Option<(u16, u16)>),
}

impl Stdio {
    /// The descriptors in it, which a forked process has to keep.
    pub fn descriptors(&self) -> Vec<RawFd> {
        match self {
            Self::Pipes(ends) => ends.iter().map(AsRawFd::as_raw_fd).collect(),
            Self::Terminal(_) => Vec::new(),
        }
    }
}

/// Namespaces that the process shares with others. One that is neither here nor in the plan is the caller's own; one
/// that only the plan has is made anew.
#[derive(Debug, Default)]
pub struct Namespaces {
    /// Network; also one that was made for this process alone, to be configured before the program runs.
    pub network: Option<OwnedFd>,
    /// Interprocess communication.
    pub ipc: Option<OwnedFd>,
    /// Process ids.
    pub pid: Option<OwnedFd>,
}

/// A process that runs its program.
#[derive(Debug)]
pub struct Started {
    /// Its id in the caller's pid namespace.
    pub pid: i32,
    /// Its terminal's master, if it was to have one.
    pub terminal: Option<OwnedFd>,
    /// The root file system, which stays as long as this is open; none for a further process in a container.
    pub rootfs: Option<OwnedFd>,
    /// Its mount namespace, for [`end_all`]; none where the kernel ends all processes of the container with its first.
    pub mounts: Option<OwnedFd>,
}

impl Started {
    /// One of which there is nothing but its terminal to have.
    pub fn new(pid: i32, terminal: Option<OwnedFd>) -> Self {
        Self { pid, terminal, rootfs: None, mounts: None }
    }
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

    /// One that is not about the program.
    pub fn other(message: impl Into<String>) -> Self {
        Self { kind: StartErrorKind::Other, message: message.into() }
    }

    /// The kernel refused `what`.
    pub fn at(what: impl std::fmt::Display) -> impl FnOnce(io::Error) -> Self {
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
