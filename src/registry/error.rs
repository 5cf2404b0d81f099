//! Why a registry did not give what was asked for.

use std::io;
use std::path::PathBuf;

use crate::model::ErrorKind;

/// Why a registry did not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It said no, in its own words.
    #[error("{text}")]
    Refused {
        /// The status of its answer.
        status: u16,
        /// Its code for the error, such as `MANIFEST_UNKNOWN`; empty: it gave none.
        code: String,
        /// Code and message as people are shown them.
        text: String,
        /// Seconds after which to try again, if it said so.
        retry_after: Option<u64>,
    },
    /// The connection failed, or what came over it was broken.
    #[error("{what}: {source}")]
    Connection {
        /// The request: method and address, without a query.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// What it sent is not what it must be.
    #[error("{0}")]
    Invalid(String),
    /// What it sent is another thing than its digest says: something on the way may have spoilt it.
    #[error("{0}")]
    Spoilt(String),
    /// Whoever asked has left.
    #[error("broken off: nobody waits for it any more")]
    Cancelled,
    /// The user's configuration is wrong.
    #[error("{path}: {why}")]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong in it, with the line.
        why: String,
    },
    /// The request cannot be.
    #[error("{0}")]
    Request(String),
}

impl Error {
    /// The kind of this error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused { status: 401 | 403, .. } => ErrorKind::Unauthorized,
            Self::Refused { status: 404, .. } => ErrorKind::NotFound,
            Self::Refused { status: 429 | 500..=599, .. } | Self::Connection { .. } => ErrorKind::System,
            Self::Request(_) => ErrorKind::InvalidParameter,
            Self::Refused { .. } | Self::Invalid(_) | Self::Spoilt(_) | Self::Cancelled | Self::Config { .. } => {
                ErrorKind::System
            }
        }
    }

    /// Whether the same request may succeed a little later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Refused { status, retry_after, .. } => match status {
                429 => retry_after.is_some_and(|seconds| seconds <= 30),
                500 | 502..=599 => true,
                _ => false,
            },
            // Whoever has another certificate, or speaks no TLS, will not have changed.
            Self::Connection { source, .. } => source.kind() != io::ErrorKind::InvalidData,
            Self::Spoilt(_) => true,
            _ => false,
        }
    }
}

/// Result of this room.
pub type Result<T, E = Error> = std::result::Result<T, E>;
