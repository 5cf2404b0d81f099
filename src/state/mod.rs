//! What is on disk: paths, locks, records, the event log. Plain files that a person can read; each record has one
//! writer; each write is whole or absent.
//!
//! # What survives a loss of power
//!
//! One rule for the whole store: **the answer follows the sync of the record and of the directories that lead to it.** A
//! record that replaces another is synced before it gets the name, so a name never leads to less than the whole; then
//! its directory, the one above and, for a container, the one with its name's link, all at once, for a disk flushes once
//! for all that ask together ([`atomic::sync`]); a new container's record with them. So a created, renamed or removed container, an image and a name that a client was
//! told of are there afterwards, and what was taken away stays away.
//!
//! * *Exempt* are containers that are to be removed at their end (`--rm`), which are not to outlive anything, and the
//!   event log.
//! * *A start* is one that is under way ([`ending::commit_begin`]) while its starter works, and this is synced meanwhile;
//!   the record that it runs is not, for after a loss of power nothing runs. What is left then is that it was started,
//!   and an end that counts as lost: exit code 137, with an error text that says so.
//! * *An end* is committed, cleaned up after, synced, and then told to those who wait ([`ending::persist`]): one flush of
//!   the disk. Who looks at the container in these milliseconds sees it, and is promised nothing.
//! * syncfs(2) is never called for a container: it would wait for what all the others have written.
//! * An *empty* record is one that was never acknowledged, and is swept like a directory without a record; unless something
//!   has run there: then it is one that cannot be read.
//!
//! # What cannot be read
//!
//! A container whose record is unreadable ([`Error::is_unreadable`]; also what is no file, or too large) is listed as
//! `dead` and can be removed; it stands in nobody's way: not of lists, of its neighbours' names, nor of the image store's
//! garbage collection, for it can never be started again. A state that is unreadable counts as an end with exit code 137
//! and a text.
//!
//! # Records of older versions
//!
//! A `container.json` from before the request's texts were stored as what they mean has no `settings`; it is read again
//! each time, by the same parsers ([`container::ContainerRecord::settings`]). What today's rules do not allow any more is
//! told when such a container is started. New fields have defaults: a record is never rewritten only to be newer.
//!
//! # When there is no room
//!
//! See [`ending`]: the end of a container needs no room that its start has not made.

pub mod atomic;
pub mod cache;
pub mod claim;
pub mod container;
pub mod ending;
pub mod events;
pub mod exec;
pub mod lock;
pub mod logfile;
pub mod meaning;
mod names;
pub mod paths;
mod remains;
pub mod store;
pub mod sweep;

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

    /// Whether this is what a record has become, not what a moment's want (of descriptors, of memory) did to a reader.
    pub fn is_unreadable(&self) -> bool {
        use rustix::io::Errno;
        let lasting = [Errno::IO, Errno::UCLEAN, Errno::BADMSG, Errno::ISDIR, Errno::LOOP, Errno::ACCESS, Errno::PERM];
        match self {
            Self::Corrupt { .. } => true,
            Self::Io { source, .. } => {
                source.kind() == io::ErrorKind::InvalidData
                    || Errno::from_io_error(source).is_some_and(|err| lasting.contains(&err))
            }
            Self::Missing(_) | Self::NameTaken { .. } => false,
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
