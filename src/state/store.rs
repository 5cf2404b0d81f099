//! The set of containers on disk: names, listing, removal.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::atomic::{self, Durability};
use super::container::{ContainerRecord, StateRecord};
use super::lock::Lock;
use super::paths::{Home, entry_id};
use super::{Error, Result};
use crate::sys::tree;

/// Marks a directory that is being made or removed: nobody lists it, and whoever finds it without an owner ends it.
const GONE: &str = ".gone-";
/// Marks a directory in which a process, whose number follows, tries something out for a moment.
pub const PROBE: &str = ".overlay-";

/// Reserves a name for a container: symlink(2) fails if it is taken.
///
/// A name whose container is gone (its remover was killed between the two) is taken over.
///
/// # Errors
/// [`Error::NameTaken`], or those of the file system.
pub fn reserve_name(home: &Home, name: &str, id: &str) -> Result<()> {
    let link = home.names().join(name);
    for _ in 0..1000 {
        match symlink(Path::new("..").join(id), &link) {
            Ok(()) => return Ok(()),
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {
                let Some(owner) = name_owner(home, name) else { continue };
                if home.container(&owner).data.exists() && !bury(home, &owner) {
                    return Err(Error::NameTaken { name: name.to_owned(), owner });
                }
                release_name(home, name, &owner)?;
            }
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(home.names()).map_err(Error::at(&home.names()))?;
            }
            Err(err) => return Err(Error::at(&link)(err)),
        }
    }
    // What is there is no link to a container, and none of ours to take away.
    Err(Error::at(&link)(io::ErrorKind::AlreadyExists.into()))
}

/// The id of the container that has this name.
pub fn name_owner(home: &Home, name: &str) -> Option<String> {
    let target = fs::read_link(home.names().join(name)).ok()?;
    entry_id(&target).map(str::to_owned)
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

/// The ids of all containers, in no order. No directory yet: none.
///
/// # Errors
/// Those of the file system.
pub fn ids(home: &Home) -> Result<Vec<String>> {
    let dir = home.containers();
    let entries = match fs::read_dir(&dir) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(Error::at(&dir))?,
    };
    Ok(entries.flatten().filter_map(|entry| entry_id(&entry.path()).map(str::to_owned)).collect())
}

/// Reads what was asked.
///
/// # Errors
/// [`Error::Missing`] if there is no such container, [`Error::Corrupt`].
pub fn load(home: &Home, id: &str) -> Result<ContainerRecord> {
    atomic::read_json(&home.container(id).record())
}

/// Reads what happened; a container that was never started has no such record, and is `created`.
///
/// # Errors
/// [`Error::Corrupt`], or those of the file system.
pub fn load_state(home: &Home, id: &str) -> Result<StateRecord> {
    match atomic::read_json(&home.container(id).state()) {
        Err(Error::Missing(_)) => Ok(StateRecord::default()),
        other => other,
    }
}

/// Commits what was asked, without the configuration's empty fields: a list reads every record.
///
/// # Errors
/// Those of the file system.
pub fn save(home: &Home, record: &ContainerRecord) -> Result<()> {
    let path = home.container(&record.id).record();
    let mut value = serde_json::to_value(record).map_err(|source| Error::Corrupt { path: path.clone(), source })?;
    for half in ["config", "host_config"] {
        if let Some(fields) = value.get_mut(half).and_then(serde_json::Value::as_object_mut) {
            fields.retain(|_, field| !field.is_null() && field != "");
        }
    }
    atomic::write_json(&path, &value, Durability::Process)
}

/// Commits what happened. An end must survive a crash of the machine; a start need not, for nothing runs after one.
///
/// # Errors
/// Those of the file system.
pub fn save_state(home: &Home, id: &str, state: &StateRecord, durability: Durability) -> Result<()> {
    atomic::write_json(&home.container(id).state(), state, durability)
}

/// Removes a container's files and its name. The rename is the moment at which it no longer exists; what is left
/// after a kill is removed by [`sweep`].
///
/// # Errors
/// [`Error::Missing`] if it was gone already, or those of the file system.
pub fn remove(home: &Home, id: &str, name: &str) -> Result<()> {
    let paths = home.container(id);
    let gone = home.containers().join(format!("{GONE}{id}"));
    fs::rename(&paths.data, &gone).map_err(Error::at(&paths.data))?;
    release_name(home, name, id)?;
    remove_tree(&gone)?;
    remove_run(home, id)
}

/// Removes what a container has in the run directory, and its exec sessions' index entries.
///
/// # Errors
/// Those of the file system.
pub fn remove_run(home: &Home, id: &str) -> Result<()> {
    let run = home.container(id).run;
    remove_execs(home, id);
    remove_tree(&run)
}

/// Removes the records of a container's exec sessions.
pub fn remove_execs(home: &Home, id: &str) {
    let execs = home.container(id).run.join("execs");
    for entry in fs::read_dir(&execs).into_iter().flatten().flatten() {
        let _ = fs::remove_file(home.execs().join(entry.file_name()));
    }
    let _ = tree::remove(&execs);
}

/// Ends creations, renames and removals whose process was killed.
pub fn sweep(home: &Home) {
    for id in ids(home).unwrap_or_default() {
        bury(home, &id);
    }
    for entry in fs::read_dir(home.containers()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let abandoned = |pid: &str| !Path::new("/proc").join(pid).exists();
        if name.starts_with(GONE) || name.strip_prefix(PROBE).is_some_and(abandoned) {
            let _ = remove_tree(&entry.path());
        }
    }
    for entry in fs::read_dir(home.names()).into_iter().flatten().flatten() {
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        let Some(id) = name_owner(home, &name) else { continue };
        let paths = home.container(&id);
        // A name is reserved by whoever holds this lock.
        let lock = Lock::try_exclusive(&paths.verb_lock());
        let dead = match &lock {
            Ok(Some(_)) => load(home, &id).is_ok_and(|record| record.name != name),
            Ok(None) => false,
            Err(_) => !paths.data.exists(),
        };
        if dead {
            let _ = release_name(home, &name, &id);
        }
    }
    for entry in fs::read_dir(home.run.join("containers")).into_iter().flatten().flatten() {
        if let Some(id) = entry_id(&entry.path())
            && !home.container(id).data.exists()
            && !Lock::is_held(&home.container(id).monitor_lock()).unwrap_or(true)
        {
            let _ = remove_run(home, id);
        }
    }
}

/// Removes what a killed creation left: a directory without a record, which nobody has locked. True if it was one.
fn bury(home: &Home, id: &str) -> bool {
    let paths = home.container(id);
    if paths.record().exists() {
        return false;
    }
    let Ok(Some(_lock)) = Lock::try_exclusive(&paths.verb_lock()) else { return false };
    if paths.record().exists() {
        return false;
    }
    let gone = home.containers().join(format!("{GONE}{id}"));
    fs::rename(&paths.data, &gone).is_ok() && remove_tree(&gone).is_ok()
}

/// Removes a tree; two may do it at once.
fn remove_tree(path: &Path) -> Result<()> {
    tree::remove(path).map_err(Error::at(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::random_id;

    #[test]
    fn names_are_exclusive_and_freed() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let home = Home { data: dir.path().join("data"), run: dir.path().join("run") };
        let (a, b) = (random_id(), random_id());
        reserve_name(&home, "web", &a).expect("first");
        fs::create_dir_all(home.container(&a).data).expect("container");
        save(&home, &ContainerRecord { id: a.clone(), ..ContainerRecord::default() }).expect("record");
        assert!(matches!(reserve_name(&home, "web", &b), Err(Error::NameTaken { owner, .. }) if owner == a));
        assert_eq!(ids(&home).expect("list"), std::slice::from_ref(&a));
        remove(&home, &a, "web").expect("remove");
        assert!(ids(&home).expect("list").is_empty());
        reserve_name(&home, "web", &b).expect("free again");
        reserve_name(&home, "web", &a).expect("its container never came to be");
    }

    #[test]
    fn what_killed_processes_left_is_swept() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let home = Home { data: dir.path().join("data"), run: dir.path().join("run") };
        let made = |name: &str| {
            let record = ContainerRecord { id: random_id(), name: name.to_owned(), ..ContainerRecord::default() };
            reserve_name(&home, name, &record.id).expect("name");
            fs::create_dir_all(home.container(&record.id).data).expect("container");
            record
        };
        // Killed while it was created; being created; killed while it was renamed.
        let (killed, alive, renamed) = (made("killed"), made("alive"), made("new"));
        let lock = Lock::exclusive(&home.container(&alive.id).verb_lock()).expect("lock");
        save(&home, &renamed).expect("record");
        reserve_name(&home, "old", &renamed.id).expect("name");
        let leftover = home.container(&killed.id).run;
        fs::create_dir_all(&leftover).expect("run directory");

        sweep(&home);
        assert!(!home.container(&killed.id).data.exists() && !leftover.exists());
        let owner = |name: &str| name_owner(&home, name);
        assert_eq!([owner("killed"), owner("old")], [None, None]);
        assert_eq!([owner("alive"), owner("new")], [Some(alive.id), Some(renamed.id)]);
        drop(lock);
        // A name is free at once, without a sweep.
        reserve_name(&home, "alive", &random_id()).expect("its creator is dead");
        fs::write(home.names().join("odd"), "").expect("file");
        assert!(reserve_name(&home, "odd", &random_id()).is_err());
    }
}
