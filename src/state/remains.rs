//! What is no container, or none any more: directories of killed creations and of removals, and run directories.

use std::fs;
use std::io;
use std::path::Path;

use super::lock::Lock;
use super::paths::{ContainerPaths, Home};
use super::{Error, Result};
use crate::sys::tree;

/// Marks a directory in which a process, whose number follows, tries something out for a moment.
pub const PROBE: &str = ".overlay-";

/// Whether this is a container: its record is there, readable or not. One that is empty or missing makes it none, for no
/// acknowledged write can leave that (see [`super`]); but where something
/// has run, or a monitor lives, the record was there and is lost.
pub fn has_record(paths: &ContainerPaths) -> bool {
    match fs::metadata(paths.record()) {
        Ok(meta) if !meta.is_file() || meta.len() > 0 => true,
        Err(err) if !matches!(err.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => true,
        _ => {
            fs::symlink_metadata(paths.state()).is_ok()
                || fs::symlink_metadata(&paths.data).is_ok() && Lock::is_held(&paths.monitor_lock()).unwrap_or(true)
        }
    }
}

/// What became of a directory that may be no container's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Burial {
    /// It was what a killed creation left, and is gone.
    Done,
    /// It is a container's, or cannot be removed.
    No,
    /// Somebody is at work on it: creates the container, or buries what is left.
    Busy,
}

/// Removes what a killed creation left: a directory without a record, which nobody has locked.
pub(super) fn bury(home: &Home, id: &str) -> Burial {
    let paths = home.container(id);
    if has_record(&paths) {
        return Burial::No;
    }
    let _lock = match Lock::try_exclusive(&paths.verb_lock()) {
        Ok(Some(lock)) => lock,
        Ok(None) => return Burial::Busy,
        Err(_) => return Burial::No,
    };
    if has_record(&paths) {
        return Burial::No;
    }
    match fs::rename(&paths.data, home.gone(id)).is_ok() && remove_remains(home, id).is_ok() {
        true => Burial::Done,
        false => Burial::No,
    }
}

/// Removes what is left of a container that was taken away.
///
/// # Errors
/// Those of the file system.
pub fn remove_remains(home: &Home, id: &str) -> Result<()> {
    // What says that there is something to remove goes last: by it the next who looks finds the rest.
    remove_run(home, id)?;
    remove_tree(&home.gone(id))
}

/// Removes what a container has in the run directory, and its exec sessions' index entries.
///
/// # Errors
/// Those of the file system.
pub fn remove_run(home: &Home, id: &str) -> Result<()> {
    remove_execs(home, id);
    remove_tree(&home.container(id).run)
}

/// Removes the records of a container's exec sessions.
pub fn remove_execs(home: &Home, id: &str) {
    let execs = home.container(id).run.join("execs");
    for entry in fs::read_dir(&execs).into_iter().flatten().flatten() {
        let _ = fs::remove_file(home.execs().join(entry.file_name()));
    }
    let _ = tree::remove(&execs);
}

/// Removes a tree; two may do it at once.
pub(super) fn remove_tree(path: &Path) -> Result<()> {
    tree::remove(path).map_err(Error::at(path))
}
