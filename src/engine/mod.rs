//! The verbs: joins the rooms below, owns ordering and rollback. Synchronous; cheap to clone.

use crate::model::ErrorKind;
use crate::state::paths::Home;

pub mod system;

/// The engine on one user's state.
#[derive(Debug, Clone)]
pub struct Engine {
    home: Home,
}

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A failure whose kind and words are already known.
    #[error("{1}")]
    Other(ErrorKind, String),
    /// The records failed.
    #[error(transparent)]
    State(#[from] crate::state::Error),
    /// The caller's stream failed.
    #[error("stream: {0}")]
    Stream(#[from] std::io::Error),
}

impl Error {
    /// The kind of this error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Other(kind, _) => *kind,
            Self::State(err) => err.kind(),
            Self::Stream(_) => ErrorKind::System,
        }
    }
}

/// Result of this room.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Engine {
    /// An engine on this state.
    pub fn new(home: Home) -> Self {
        Self { home }
    }

    /// Where its state is.
    pub fn home(&self) -> &Home {
        &self.home
    }
}
