//! Why the namespaces cannot be entered.

use std::io;

use crate::model::ErrorKind;

/// Why the namespaces could not be entered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The run directory.
    #[error(transparent)]
    State(#[from] crate::state::Error),
    /// The kernel refused something.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// Two user ids cannot share one run directory.
    #[error("{0}")]
    Refused(String),
}

impl Error {
    /// The kind of this error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::State(err) => err.kind(),
            Self::System { .. } | Self::Refused(_) => ErrorKind::System,
        }
    }

    pub(super) fn at(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}
