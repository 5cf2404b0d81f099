//! Why a verb failed.

use crate::model::ErrorKind;
use crate::model::filters::FilterError;
use crate::monitor::client;
use crate::{image, network, state};

/// Why a verb failed. The texts are what a user of Docker's clients reads.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was asked cannot be.
    #[error("{0}")]
    InvalidParameter(String),
    /// What was named is not there.
    #[error("{0}")]
    NotFound(String),
    /// Not in this state.
    #[error("{0}")]
    Conflict(String),
    /// It is so already.
    #[error("already so")]
    NotModified,
    /// This engine does not do that.
    #[error("{0}")]
    NotImplemented(String),
    /// The host failed.
    #[error("{0}")]
    System(String),
    /// A stream failed: the client's, or a file's.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A filter was wrong.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The state on disk failed.
    #[error(transparent)]
    State(#[from] state::Error),
    /// The image store failed.
    #[error(transparent)]
    Image(#[from] image::Error),
    /// A network failed.
    #[error(transparent)]
    Network(#[from] network::Error),
    /// A monitor failed, or could not be reached.
    #[error(transparent)]
    Monitor(#[from] client::Error),
}

impl Error {
    /// The kind of this error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidParameter(_) | Self::Filter(_) => ErrorKind::InvalidParameter,
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Conflict(_) => ErrorKind::Conflict,
            Self::NotModified => ErrorKind::NotModified,
            Self::NotImplemented(_) => ErrorKind::NotImplemented,
            Self::System(_) | Self::Io(_) => ErrorKind::System,
            Self::State(err) => err.kind(),
            Self::Image(err) => err.kind(),
            Self::Network(err) => err.kind(),
            Self::Monitor(err) => err.kind(),
        }
    }

    /// No container of that name.
    pub(super) fn no_container(name: &str) -> Self {
        Self::NotFound(format!("No such container: {name}"))
    }

    /// For `map_err` where a missing record means that the container of that name has vanished.
    pub(super) fn vanished<E: Into<Self>>(name: &str) -> impl Fn(E) -> Self + '_ {
        move |err| match err.into() {
            Self::State(state::Error::Missing(_)) => Self::no_container(name),
            other => other,
        }
    }

    /// For `map_err` where the host failed at something that no caller can tell from another failure.
    pub(super) fn system<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> Self + '_ {
        move |err| Self::System(format!("{what}: {err}"))
    }
}

/// Result of this room.
pub type Result<T, E = Error> = std::result::Result<T, E>;
