//! The set of containers on disk: listing, records, removal.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::atomic::{self, Durability, sync};
use super::container::{ContainerRecord, StateRecord};
use super::paths::{ContainerPaths, GONE, Home};
use super::{Error, Result};
use crate::model::ids::is_full_id;
use crate::model::time::{Nanos, SECOND};
use crate::sys::regular;

pub use super::names::{name_owner, names, note_rename, release_name, reserve_name, settle_rename};
pub use super::remains::{PROBE, has_record, remove_execs, remove_remains, remove_run};

/// The ids of all containers, in no order. No directory yet: none.
///
/// # Errors
/// Those of the file system.
pub fn ids(home: &Home) -> Result<Vec<String>> {
    Ok(ids_and_gone(home)?.0)
}

/// The ids of all containers, and of those that are being removed, or whose removal was cut short.
///
/// # Errors
/// Those of the file system.
pub fn ids_and_gone(home: &Home) -> Result<(Vec<String>, Vec<String>)> {
    let dir = home.containers();
    let entries = match fs::read_dir(&dir) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Default::default()),
        other => other.map_err(Error::at(&dir))?,
    };
    let (mut ids, mut gone) = (Vec::new(), Vec::new());
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        if is_full_id(&name) {
            ids.push(name);
        } else if let Some(id) = name.strip_prefix(GONE) {
            gone.push(id.to_owned());
        }
    }
    Ok((ids, gone))
}

/// Reads what was asked.
///
/// # Errors
/// [`Error::Missing`] if there is no such container; [`Error::is_unreadable`] if its record is none any more.
pub fn load(home: &Home, id: &str) -> Result<ContainerRecord> {
    let path = home.container(id).record();
    parse(home, id, &regular::read(&path).map_err(Error::at(&path))?)
}

/// What a record's file holds.
pub(super) fn parse(home: &Home, id: &str, bytes: &[u8]) -> Result<ContainerRecord> {
    let path = home.container(id).record();
    if bytes.is_empty() {
        return Err(Error::Missing(path.display().to_string()));
    }
    let record: ContainerRecord = atomic::from_json(&path, bytes)?;
    // All fields have defaults: that it is a record at all, and this one's, its id tells.
    if record.id != id {
        let source = serde::de::Error::custom(format!("it is of container {:?}", record.id));
        return Err(Error::Corrupt { path, source });
    }
    Ok(record)
}

/// A state as it was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// What happened.
    pub state: StateRecord,
    /// Whether it is an end that waits in the run directory for its place: see [`super::ending`].
    pub late: bool,
    /// Whether the monitor's socket is there: a monitor takes it away when it has done everything. Looked for also where
    /// nothing was ever committed, for the monitor may have been killed just before it was.
    pub door: bool,
}

/// Reads what happened. A container that was never started has no such record, and is `created`; one whose record
/// cannot be read counts as ended.
///
/// # Errors
/// Those of the file system that may be gone with the next try.
pub fn see_state(home: &Home, id: &str) -> Result<Seen> {
    let paths = home.container(id);
    let state = match atomic::read_json(&paths.state()) {
        Err(Error::Missing(_)) => StateRecord::default(),
        Err(err) if err.is_unreadable() => StateRecord::lost(time_of(&paths.state()), err.to_string()),
        other => other?,
    };
    let door = fs::symlink_metadata(paths.monitor_socket()).is_ok();
    Ok(with_late_end(home, id, state, door))
}

/// An end that waits in the run directory is later than what says that the container runs.
pub(super) fn with_late_end(home: &Home, id: &str, state: StateRecord, door: bool) -> Seen {
    let late = || atomic::read_json::<StateRecord>(&home.container(id).late_state()).ok();
    match state.may_run().then(late).flatten().filter(|late| late.exits > state.exits) {
        Some(state) => Seen { state, late: true, door },
        None => Seen { state, late: false, door },
    }
}

/// As [`see_state`], wherever it was found.
///
/// # Errors
/// As [`see_state`].
pub fn load_state(home: &Home, id: &str) -> Result<StateRecord> {
    Ok(see_state(home, id)?.state)
}

/// When a file was last written; 0 if that is not to be known.
pub fn time_of(path: &Path) -> Nanos {
    let meta = fs::metadata(path);
    meta.map_or(0, |meta| meta.mtime().saturating_mul(SECOND).saturating_add(meta.mtime_nsec()))
}

/// Commits what was asked of a new container. It survives a loss of power, with the container's directory and its name,
/// unless the container is to be removed at its end. All is synced at once: before it is acknowledged, a record may be
/// empty after a loss of power.
///
/// # Errors
/// Those of the file system.
pub fn create(home: &Home, record: &ContainerRecord) -> Result<()> {
    let paths = home.container(&record.id);
    atomic::replace(&paths.record(), &encode(&paths, record)?, Durability::Process)?;
    if record.host_config.auto_remove {
        return Ok(());
    }
    sync(&[&paths.data, &home.containers(), &home.names(), &paths.record()])
}

/// Replaces what was asked of a container, as lastingly as [`create`].
///
/// # Errors
/// Those of the file system.
pub fn save(home: &Home, record: &ContainerRecord) -> Result<()> {
    let paths = home.container(&record.id);
    let durability = if record.host_config.auto_remove { Durability::Process } else { Durability::Disk };
    atomic::replace(&paths.record(), &encode(&paths, record)?, durability)?;
    match durability {
        Durability::Disk => sync(&[&paths.data, &home.containers(), &home.names()]),
        Durability::Process => Ok(()),
    }
}

/// A record as JSON, without the configuration's empty fields: a list reads every record.
fn encode(paths: &ContainerPaths, record: &ContainerRecord) -> Result<Vec<u8>> {
    let path = paths.record();
    let mut value = serde_json::to_value(record).map_err(|source| Error::Corrupt { path: path.clone(), source })?;
    for half in ["config", "host_config"] {
        if let Some(fields) = value.get_mut(half).and_then(serde_json::Value::as_object_mut) {
            fields.retain(|_, field| !field.is_null() && field != "");
        }
    }
    atomic::to_json(&path, &value)
}

/// Commits what happened.
///
/// # Errors
/// Those of the file system.
pub fn save_state(home: &Home, id: &str, state: &StateRecord, durability: Durability) -> Result<()> {
    atomic::write_json(&home.container(id).state(), state, durability)
}

/// Takes a container away: after this it no longer exists, and its name is free. What it has on disk is left to
/// [`remove_remains`], or after a kill to [`super::sweep`].
///
/// # Errors
/// [`Error::Missing`] if it was gone already, or those of the file system.
pub fn take_away(home: &Home, id: &str, name: &str, durability: Durability) -> Result<()> {
    let paths = home.container(id);
    fs::rename(&paths.data, home.gone(id)).map_err(Error::at(&paths.data))?;
    settle_rename(home, id, &home.gone(id), None)?;
    release_name(home, name, id)?;
    match durability {
        Durability::Disk => sync_removal(home),
        Durability::Process => Ok(()),
    }
}

/// Takes a container away, tells of it, and removes its files.
///
/// # Errors
/// As [`take_away`] and [`remove_remains`].
pub fn remove(home: &Home, id: &str, name: &str, durability: Durability, tell: impl FnOnce()) -> Result<()> {
    take_away(home, id, name, durability)?;
    tell();
    remove_remains(home, id)
}

/// Makes removals, and names that became free, survive a loss of power.
///
/// # Errors
/// Those of the file system.
pub fn sync_removal(home: &Home) -> Result<()> {
    sync(&[&home.containers(), &home.names()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::random_id;
    use crate::state::container::Status;
    use crate::state::lock::Lock;

    fn home(dir: &Path) -> Home {
        Home { data: dir.join("data"), run: dir.join("run") }
    }

    #[test]
    fn names_are_exclusive_and_freed() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let home = home(dir.path());
        let (a, b) = (random_id(), random_id());
        reserve_name(&home, "web", &a).expect("first");
        fs::create_dir_all(home.container(&a).data).expect("container");
        save(&home, &ContainerRecord { id: a.clone(), ..ContainerRecord::default() }).expect("record");
        assert!(matches!(reserve_name(&home, "web", &b), Err(Error::NameTaken { owner, .. }) if owner == a));
        assert_eq!(ids(&home).expect("list"), std::slice::from_ref(&a));
        remove(&home, &a, "web", Durability::Disk, || ()).expect("remove");
        assert!(ids(&home).expect("list").is_empty());
        reserve_name(&home, "web", &b).expect("free again");
        reserve_name(&home, "web", &a).expect("its container never came to be");
    }

    #[test]
    fn a_name_that_somebody_is_at_work_on_is_waited_for() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let home = home(dir.path());
        for created in [false, true] {
            let (a, b) = (random_id(), random_id());
            reserve_name(&home, "web", &a).expect("first");
            fs::create_dir_all(home.container(&a).data).expect("container");
            let lock = Lock::exclusive(&home.container(&a).verb_lock()).expect("creates it");
            std::thread::scope(|scope| {
                let second = scope.spawn(|| reserve_name(&home, "web", &b));
                if created {
                    create(&home, &ContainerRecord { id: a.clone(), ..ContainerRecord::default() }).expect("record");
                }
                drop(lock);
                let second = second.join().expect("no panic");
                assert_eq!(second.is_err(), created, "{second:?}");
            });
            assert_eq!(name_owner(&home, "web"), Some(if created { a } else { b.clone() }));
            release_name(&home, "web", &b).expect("free again");
        }
    }

    #[test]
    fn what_cannot_be_read_has_a_name() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let home = home(dir.path());
        let id = random_id();
        let paths = home.container(&id);
        fs::create_dir_all(&paths.data).expect("container");
        assert!(matches!(load(&home, &id), Err(Error::Missing(_))));
        assert_eq!(load_state(&home, &id).expect("none").status, Status::Created);
        fs::write(paths.record(), "").expect("never written");
        assert!(matches!(load(&home, &id), Err(Error::Missing(_))));
        for odd in ["[]", "{}", "{\"id\": \"another\"}"] {
            fs::write(paths.record(), odd).expect("spoil");
            assert!(load(&home, &id).expect_err("spoiled").is_unreadable(), "{odd:?}");
        }
        for odd in ["{", "\0\0\0\0", "{\"status\": 7, \"id\": 7}"] {
            fs::write(paths.record(), odd).expect("spoil");
            assert!(load(&home, &id).expect_err("spoiled").is_unreadable(), "{odd:?}");
            fs::write(paths.state(), odd).expect("spoil");
            let state = load_state(&home, &id).expect("an end");
            assert_eq!((state.status, state.exit_code), (Status::Exited, 137), "{odd:?}");
            assert!(state.error.contains("state.json") && state.finished_at > 0, "{state:?}");
        }
        fs::remove_file(paths.record()).expect("remove");
        fs::create_dir(paths.record()).expect("a directory in its place");
        assert!(load(&home, &id).expect_err("no file").is_unreadable());
    }
}
