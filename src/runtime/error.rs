//! Why a process does not run, and the exit code that says so.

use std::io;

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
    pub(super) fn in_context(mut self, context: &str) -> Self {
        self.message.insert_str(0, context);
        self
    }
}

impl From<crate::spec::Error> for StartError {
    fn from(err: crate::spec::Error) -> Self {
        Self::other(err.0)
    }
}
