//! Why a network cannot be had.

use std::io;

use crate::model::ErrorKind;

/// Why a network could not be made, or joined.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state on disk.
    #[error(transparent)]
    State(#[from] crate::state::Error),
    /// The user's namespaces.
    #[error(transparent)]
    Holder(#[from] crate::holder::Error),
    /// The kernel refused something.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// There is no such network.
    #[error("network {0} not found")]
    NotFound(String),
    /// What was asked for cannot be.
    #[error("{0}")]
    Invalid(String),
    /// Never for this.
    #[error("{0}")]
    Forbidden(String),
}

impl Error {
    /// The kind of this error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::State(err) => err.kind(),
            Self::Holder(err) => err.kind(),
            Self::System { .. } => ErrorKind::System,
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Invalid(_) => ErrorKind::InvalidParameter,
            Self::Forbidden(_) => ErrorKind::Forbidden,
        }
    }

    /// For `map_err`: what was tried.
    pub(super) fn at(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what: what.into(), source }
    }
}

/// Result of this room.
pub type Result<T, E = Error> = std::result::Result<T, E>;
