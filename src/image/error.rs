//! Why something about an image failed.

use std::io;
use std::path::Path;

use rustix::io::Errno;

use crate::model::ErrorKind;
use crate::model::filters::FilterError;
use crate::model::reference::ReferenceError;
use crate::registry;
use crate::state;

use super::unpack;

/// Why something about an image failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No image has this name or id.
    #[error("No such image: {0}")]
    Missing(String),
    /// No image has a name in this repository.
    #[error("An image does not exist locally with the tag: {0}")]
    NotHere(String),
    /// Others have, and none has this one.
    #[error("tag does not exist: {0}")]
    NoTag(String),
    /// The image is there for another platform.
    #[error(
        "image with reference {name} was found but its platform ({have}) does not match the specified platform ({want})"
    )]
    OtherPlatform {
        /// As the client calls it.
        name: String,
        /// Its platform.
        have: String,
        /// The one asked for.
        want: String,
    },
    /// The image is there, and not for any of these platforms.
    #[error("image with reference {name} was found but does not provide the specified platform ({want})")]
    NoPlatform {
        /// As the client calls it.
        name: String,
        /// What was asked for.
        want: String,
    },
    /// A blob that an image needs is not what it should be.
    #[error("blob {0} of the image is missing or damaged: pull or load the image again")]
    Damaged(String),
    /// A statement about an image cannot be had, or is none.
    #[error("{0}")]
    NoStatement(String),
    /// The name cannot be one.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The archive is not what it should be.
    #[error("{0}")]
    Archive(String),
    /// The request asks for something impossible.
    #[error("{0}")]
    Invalid(String),
    /// The name stands for something else than an image of a registry.
    #[error("'{0}' is a reserved name")]
    Reserved(String),
    /// What is there forbids it.
    #[error("{0}")]
    Conflict(String),
    /// A layer could not be unpacked.
    #[error("unpacking layer: {0}")]
    Unpack(#[from] unpack::UnpackError),
    /// A filter was wrong.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A record failed.
    #[error(transparent)]
    State(#[from] state::Error),
    /// A registry does not have it, or does not give it to whom asks.
    #[error("{0}")]
    NotInRegistry(String),
    /// A registry failed.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// Who an archive is written for has gone, or has no room.
    #[error("writing archive: {0}")]
    Write(#[source] io::Error),
    /// Reading the archive failed.
    #[error("reading archive: {0}")]
    Read(#[source] io::Error),
}

impl Error {
    /// The kind of this error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotHere(_) | Self::NoTag(_) => ErrorKind::NotFound,
            Self::Missing(_) | Self::OtherPlatform { .. } | Self::NoPlatform { .. } | Self::NotInRegistry(_) => {
                ErrorKind::NotFound
            }
            Self::NoStatement(_) | Self::Damaged(_) | Self::Write(_) => ErrorKind::System,
            Self::Reference(_) | Self::Filter(_) | Self::Archive(_) | Self::Invalid(_) => ErrorKind::InvalidParameter,
            Self::Reserved(_) => ErrorKind::Forbidden,
            Self::Conflict(_) => ErrorKind::Conflict,
            Self::Unpack(unpack::UnpackError::Outside(_) | unpack::UnpackError::Owner { .. }) => {
                ErrorKind::InvalidParameter
            }
            Self::Unpack(unpack::UnpackError::Entry { source, .. } | unpack::UnpackError::Read(source)) => {
                of_input(source)
            }
            Self::Read(source) => of_input(source),
            Self::State(error) => error.kind(),
            Self::Registry(error) => error.kind(),
        }
    }

    /// For `map_err`: names the file of an I/O error.
    pub fn at(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::State(state::Error::Io { path: path.to_owned(), source })
    }
}

/// Whether the input was at fault or the host: by a list of what hosts do, for an archive can ask for anything.
fn of_input(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::StorageFull
        | io::ErrorKind::QuotaExceeded
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::OutOfMemory
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::StaleNetworkFileHandle => ErrorKind::System,
        _ => match Errno::from_io_error(error) {
            Some(Errno::IO | Errno::MFILE | Errno::NFILE | Errno::NOSYS | Errno::NODEV | Errno::ROFS) => {
                ErrorKind::System
            }
            _ => ErrorKind::InvalidParameter,
        },
    }
}

/// Result of this room.
pub type Result<T, E = Error> = std::result::Result<T, E>;
