//! What is on disk: paths, locks, records, the event log. Plain files that a person can read; each record has one
//! writer; each write is whole or absent.

pub mod atomic;
pub mod container;
pub mod events;
pub mod exec;
pub mod lock;
pub mod logfile;
pub mod paths;
pub mod store;

use std::io;
use std::path::{Path, PathBuf};

use crate::model::ErrorKind;

/// Why something on disk could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such record.
    #[error("no such record: {0}")]
    Missing(String),
    /// The name belongs to another container, whose id is given.
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{owner}\". You have to remove (or \
         rename) that container to be able to reuse that name."
    )]
    NameTaken {
        /// The name.
        name: String,
        /// The container that has it.
        owner: String,
    },
    /// A record that is no longer what was written.
    #[error("unreadable record {path}: {source}")]
    Corrupt {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The file system failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Error {
    /// The kind of this error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Missing(_) => ErrorKind::NotFound,
            Self::NameTaken { .. } => ErrorKind::Conflict,
            Self::Corrupt { .. } | Self::Io { .. } => ErrorKind::System,
        }
    }

    /// For `map_err`: names the file of an I/O error; a missing file is [`Error::Missing`].
    pub fn at(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| match source.kind() {
            io::ErrorKind::NotFound => Self::Missing(path.display().to_string()),
            _ => Self::Io { path: path.to_owned(), source },
        }
    }
}

/// Result of this room.
pub type Result<T, E = Error> = std::result::Result<T, E>;
