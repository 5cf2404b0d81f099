//! Images on disk: references, archives, blobs, layers.
//!
//! ```text
//! images/blobs/sha256/<hex>          configurations, manifests, layer archives, each exactly as it arrived
//! images/layers/<chain>/diff/        a layer unpacked; <chain> is the hash of it and all layers below it
//! images/layers/<chain>/layer.json   what it is
//! images/meta/<hex>.json             an image; <hex> is its configuration's hash, which is also its id
//! images/refs/<name>                 a name: the id of its image, and the name itself
//! images/tmp/<random>/               what somebody is making; theirs for as long as they hold `lock` in it
//! images/lock                        exclusive to commit and to delete, shared to begin to use an image
//! ```
//!
//! Everything is made in `tmp` and moved to its place by rename(2) under the lock, names last: a killed process leaves
//! nothing that anybody could see, and the next one removes its directory. Layers are shared between images and are
//! unpacked without any lock: two who unpack the same one do work in vain, but neither waits. What no image and no
//! container refers to is found by reading their records, not by counters that could be wrong.

pub mod archive;
pub mod chain;
pub mod changes;
pub mod compress;
pub mod config;
pub mod entries;
pub mod find;
pub mod flatten;
pub mod garbage;
pub mod import;
pub mod layers;
pub mod load;
pub mod meta;
pub mod publish;
pub mod refs;
pub mod spool;
pub mod staging;
pub mod store;
pub mod unpack;

use std::io;
use std::path::Path;

pub use find::{Image, resolve};
pub use store::Store;

use crate::model::ErrorKind;
use crate::model::filters::FilterError;
use crate::model::reference::ReferenceError;
use crate::state;

/// Why something about an image failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No image has this name or id.
    #[error("No such image: {0}")]
    Missing(String),
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
    /// Several images' ids begin so.
    #[error("image id prefix {0} is ambiguous")]
    Ambiguous(String),
    /// The name cannot be one.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The archive is not what it should be.
    #[error("{0}")]
    Archive(String),
    /// The request asks for something impossible.
    #[error("{0}")]
    Invalid(String),
    /// What is there forbids it.
    #[error("{0}")]
    Conflict(String),
    /// This engine does not do that.
    #[error("{0}")]
    Unsupported(String),
    /// A layer could not be unpacked.
    #[error("unpacking layer: {0}")]
    Unpack(#[from] unpack::UnpackError),
    /// A filter was wrong.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A record failed.
    #[error(transparent)]
    State(#[from] state::Error),
    /// Reading the archive failed.
    #[error("reading archive: {0}")]
    Read(#[source] io::Error),
}

impl Error {
    /// The kind of this error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Missing(_) | Self::OtherPlatform { .. } => ErrorKind::NotFound,
            Self::Ambiguous(_) | Self::Reference(_) | Self::Filter(_) | Self::Archive(_) | Self::Invalid(_) => {
                ErrorKind::InvalidParameter
            }
            Self::Conflict(_) => ErrorKind::Conflict,
            Self::Unsupported(_) => ErrorKind::NotImplemented,
            Self::Unpack(unpack::UnpackError::Outside(_)) => ErrorKind::InvalidParameter,
            Self::Unpack(unpack::UnpackError::Entry { source, .. } | unpack::UnpackError::Read(source)) => {
                of_input(source)
            }
            Self::Read(source) => of_input(source),
            Self::State(error) => error.kind(),
        }
    }

    /// For `map_err`: names the file of an I/O error.
    pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::State(state::Error::Io { path: path.to_owned(), source })
    }
}

/// Whether the input was at fault or the host.
fn of_input(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::InvalidData
        | io::ErrorKind::UnexpectedEof
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::NotFound
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::Other => ErrorKind::InvalidParameter,
        _ => ErrorKind::System,
    }
}

/// Result of this room.
pub type Result<T, E = Error> = std::result::Result<T, E>;
