//! A container's start and end on disk, by its monitor: the end needs no room that the start has not made.
//!
//! A start makes a *spare* beside `state.json`, with its blocks and its inode, before anything runs. The end is written
//! into the spare, which then takes the record's name: on a full disk as on any other. Where not even that can be (the
//! file system was made read-only), the end goes to the run directory; readers see it there, and it comes to its place
//! when there is one again.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use rustix::fs::{FallocateFlags, fallocate};

use super::atomic::{self, Durability};
use super::container::StateRecord;
use super::paths::{ContainerPaths, Home};
use super::{Error, Result};
use crate::model::time;
use crate::sys::process;

/// Bytes that the record of an end may have. The longest text in it is why a start failed.
const ROOM: u64 = 4096;

/// Makes room for the container's end. To be called before anything of it runs: what fails here fails the start.
///
/// # Errors
/// Those of the file system, with no room left above all.
pub fn prepare_exit(home: &Home, id: &str) -> Result<()> {
    let paths = home.container(id);
    let spare = paths.spare();
    let made = || -> io::Result<()> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&spare)?;
        match fallocate(&file, FallocateFlags::KEEP_SIZE, 0, ROOM) {
            // A file system that cannot promise; what is written is at least there.
            Err(rustix::io::Errno::OPNOTSUPP) => file.write_all_at(&[0; ROOM as usize], 0),
            other => Ok(other?),
        }
    };
    made().map_err(|err| {
        let _ = fs::remove_file(&spare);
        Error::at(&spare)(err)
    })
}

/// Commits that a start is under way, on top of what was so before. To be made to last by [`persist`] while the starter
/// works, and so before anybody is told that the container runs: whatever becomes of the record of that, after a loss of
/// power the container has been started.
///
/// # Errors
/// Those of the file system; nothing of the container may then be started.
pub fn commit_begin(home: &Home, id: &str, before: &StateRecord) -> Result<()> {
    let state = StateRecord {
        starting: true,
        boot_id: process::boot_id().unwrap_or_default(),
        started_at: time::now(),
        ..before.clone()
    };
    atomic::write_json(&home.container(id).state(), &state, Durability::Process)
}

/// Commits that the container runs. This need not survive a loss of power, for the container does not, and that it was
/// started does already.
///
/// # Errors
/// Those of the file system; nothing of the container may then go on running.
pub fn commit_start(home: &Home, id: &str, state: &StateRecord) -> Result<()> {
    atomic::write_json(&home.container(id).state(), state, Durability::Process)
}

/// Commits an end, or why a start failed. From here on every process sees it; see [`persist`] for the rest.
///
/// # Errors
/// Those of the file system: neither the data directory nor the run directory takes it.
pub fn commit_exit(home: &Home, id: &str, state: &StateRecord) -> Result<()> {
    let paths = home.container(id);
    let path = paths.state();
    let bytes = atomic::to_json(&path, state)?;
    let Err(first) = into_spare(&paths, &bytes) else { return Ok(()) };
    if atomic::write(&path, &bytes, Durability::Process).is_ok() {
        return Ok(());
    }
    match atomic::write(&paths.late_state(), &bytes, Durability::Process) {
        Ok(()) => Ok(()),
        Err(_) => Err(Error::at(&path)(first)),
    }
}

/// Writes into the room that the start has made, and gives it the record's name.
fn into_spare(paths: &ContainerPaths, bytes: &[u8]) -> io::Result<()> {
    let spare = paths.spare();
    let file = OpenOptions::new().write(true).open(&spare)?;
    file.write_all_at(bytes, 0)?;
    if file.metadata()?.len() > bytes.len() as u64 {
        file.set_len(bytes.len() as u64)?;
    }
    fs::rename(&spare, paths.state())
}

/// Brings an end that waits in the run directory to its place.
///
/// # Errors
/// Those of the file system; it then still waits.
pub fn place(home: &Home, id: &str, state: &StateRecord) -> Result<()> {
    let paths = home.container(id);
    let bytes = atomic::to_json(&paths.state(), state)?;
    if into_spare(&paths, &bytes).is_err() {
        atomic::write(&paths.state(), &bytes, Durability::Process)?;
    }
    persist(home, id)?;
    let _ = fs::remove_file(paths.late_state());
    Ok(())
}

/// Makes the committed state survive a loss of power. The file first, which on all file systems that have a journal takes
/// its new name along: so the disk flushes its cache once.
///
/// # Errors
/// Those of the file system. That the container has been removed is none.
pub fn persist(home: &Home, id: &str) -> Result<()> {
    let paths = home.container(id);
    for path in [paths.state(), paths.data] {
        match File::open(&path).and_then(|file| file.sync_all()) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(Error::at(&path)(err)),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::container::Status;
    use crate::state::store;

    fn home(dir: &std::path::Path) -> Home {
        let home = Home { data: dir.join("data"), run: dir.join("run") };
        fs::create_dir_all(home.container("c").data).expect("container");
        fs::create_dir_all(home.container("c").run).expect("run directory");
        home
    }

    #[test]
    fn an_end_takes_the_room_of_the_start() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let home = home(dir.path());
        let paths = home.container("c");
        let mut state = StateRecord { status: Status::Running, pid: 7, ..StateRecord::default() };
        for exits in 1..3 {
            prepare_exit(&home, "c").expect("room");
            let inode = |path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).expect("file"));
            let spare = inode(paths.spare());
            state.status = Status::Running;
            commit_start(&home, "c", &state).expect("start");
            (state.status, state.exit_code, state.exits) = (Status::Exited, 3, exits);
            commit_exit(&home, "c", &state).expect("end");
            assert_eq!(store::load_state(&home, "c").expect("state"), state);
            assert_eq!(inode(paths.state()), spare);
            assert!(!paths.spare().exists());
        }
        // Without a spare as well: it was removed, or the start was an older program's.
        state.exit_code = 4;
        commit_exit(&home, "c", &state).expect("end");
        assert_eq!(store::load_state(&home, "c").expect("state").exit_code, 4);
    }

    #[test]
    fn where_the_data_directory_takes_nothing_the_run_directory_does() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let home = home(dir.path());
        let paths = home.container("c");
        let mut state = StateRecord { status: Status::Running, pid: 7, exits: 4, ..StateRecord::default() };
        commit_start(&home, "c", &state).expect("start");
        // What no permission withholds from root: names that are taken.
        let kept = fs::read(paths.state()).expect("state");
        fs::remove_file(paths.state()).expect("remove");
        fs::create_dir_all(paths.state().join("x")).expect("obstacle");
        (state.status, state.exits) = (Status::Exited, 5);
        commit_exit(&home, "c", &state).expect("end");
        crate::sys::tree::remove(&paths.state()).expect("remove");
        fs::write(paths.state(), kept).expect("the old record");
        assert_eq!(store::load_state(&home, "c").expect("state"), state);
        // An end of a run before the present one is no end of this.
        (state.status, state.exits) = (Status::Running, 5);
        commit_start(&home, "c", &state).expect("start");
        assert!(store::load_state(&home, "c").expect("state").is_running());
    }
}
