//! The names of containers: a symbolic link each, from the name to the container's directory.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::atomic::sync;
use super::lock::Lock;
use super::paths::{Home, RENAMING, entry_id};
use super::remains::{Burial, bury};
use super::{Error, Result};

/// Reserves a name for a container: symlink(2) fails if it is taken. That it survives a loss of power is seen to when
/// the record that has the name is saved.
///
/// A name whose container is gone (its remover was killed between the two) is taken over.
///
/// # Errors
/// [`Error::NameTaken`], or those of the file system.
pub fn reserve_name(home: &Home, name: &str, id: &str) -> Result<()> {
    let link = home.names().join(name);
    // Each further round is another one's doing: the name was freed, or has become somebody else's.
    loop {
        match symlink(Path::new("..").join(id), &link) {
            Ok(()) => return Ok(()),
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                make_dir(home)?;
                continue;
            }
            Err(err) => return Err(Error::at(&link)(err)),
        }
        let target = match fs::read_link(&link) {
            Ok(target) => target,
            Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
            // No link, so none of ours to take away.
            Err(_) => return Err(Error::at(&link)(io::ErrorKind::AlreadyExists.into())),
        };
        let Some(owner) = entry_id(&target) else {
            return Err(Error::at(&link)(io::ErrorKind::AlreadyExists.into()));
        };
        let paths = home.container(owner);
        if paths.data.exists() {
            match bury(home, owner) {
                Burial::Done => {}
                Burial::No if paths.data.exists() => {
                    return Err(Error::NameTaken { name: name.to_owned(), owner: owner.to_owned() });
                }
                Burial::No => continue,
                Burial::Busy => {
                    // It is told soon what has become of it. Who is at work there waits for nobody in turn: it has its
                    // name already, or wants none.
                    match Lock::exclusive(&paths.verb_lock()) {
                        Ok(_) | Err(Error::Missing(_)) => continue,
                        Err(err) => return Err(err),
                    }
                }
            }
        }
        release_name(home, name, owner)?;
    }
}

/// The id of the container that has this name.
pub fn name_owner(home: &Home, name: &str) -> Option<String> {
    let target = fs::read_link(home.names().join(name)).ok()?;
    entry_id(&target).map(str::to_owned)
}

/// All names with the ids of the containers that have them, in no order.
pub fn names(home: &Home) -> Vec<(String, String)> {
    let entries = fs::read_dir(home.names()).into_iter().flatten().flatten();
    let name = |entry: fs::DirEntry| entry.file_name().into_string().ok();
    entries.filter_map(name).filter_map(|name| name_owner(home, &name).map(|owner| (name, owner))).collect()
}

/// Frees a name if it is this container's.
///
/// # Errors
/// Those of the file system; a missing link is none.
pub fn release_name(home: &Home, name: &str, id: &str) -> Result<()> {
    let link = home.names().join(name);
    // Looking and unlinking are two steps: without the lock another one's new link could be hit.
    let _lock = match Lock::exclusive(&home.containers().join("lock")) {
        Err(Error::Missing(_)) => return Ok(()),
        other => other?,
    };
    if name_owner(home, name).as_deref() != Some(id) {
        return Ok(());
    }
    match fs::remove_file(&link) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(Error::at(&link)(err)),
        _ => Ok(()),
    }
}

/// Notes in a container's directory that it is about to change its name. A kill can leave it with two names, of which
/// [`settle_rename`] frees one.
///
/// # Errors
/// Those of the file system.
pub fn note_rename(home: &Home, id: &str, old: &str, new: &str) -> Result<()> {
    let note = home.container(id).renaming();
    // Whole or absent, and no name has a slash.
    symlink(format!("{old}/{new}"), &note).map_err(Error::at(&note))
}

/// Frees what names a rename left, finished or not, beside the one that the record has. The caller holds the container's
/// lock, or has taken the container away: then it has none, and `dir` is where it was put.
///
/// # Errors
/// Those of the file system.
pub fn settle_rename(home: &Home, id: &str, dir: &Path, name: Option<&str>) -> Result<()> {
    let note = dir.join(RENAMING);
    let Ok(both) = fs::read_link(&note) else { return Ok(()) };
    for other in both.to_string_lossy().split('/').filter(|other| Some(*other) != name) {
        release_name(home, other, id)?;
    }
    fs::remove_file(&note).map_err(Error::at(&note))
}

/// Makes the directory, once for all containers, and what removals will need when there is no room any more.
fn make_dir(home: &Home) -> Result<()> {
    let names = home.names();
    fs::create_dir_all(&names).map_err(Error::at(&names))?;
    drop(Lock::exclusive(&home.containers().join("lock"))?);
    let above = [Some(home.containers()), Some(home.data.clone()), home.data.parent().map(Path::to_owned)];
    let above: Vec<_> = above.iter().flatten().map(std::path::PathBuf::as_path).collect();
    sync(&above)
}
