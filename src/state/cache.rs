//! Records that were read before, for processes that list again and again.
//!
//! A copy is used only while the file is the same one by inode, size and both times, in nanoseconds. Kernels stamp files
//! with a clock of some milliseconds' coarseness, so two writes may bear one stamp: a file that is younger than that
//! when it is read is not kept. What is kept can so be outdated by no write, be it by rename(2) or in place.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Stat, fstat, openat, statat};

use super::atomic::from_json;
use super::container::{ContainerRecord, StateRecord};
use super::paths::{DOOR, Home, RECORD, STATE};
use super::store::{self, Seen};
use super::{Error, Result};
use crate::model::time::{self, Nanos, SECOND};
use crate::sys::regular;

/// Well above the coarseness of the clock that stamps files: a tick is at most 10 ms.
const COARSENESS: Nanos = SECOND / 20;

/// What tells one content of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    #[allow(clippy::useless_conversion, reason = "the fields' types differ by machine")]
    fn of(stat: &Stat) -> Self {
        let time = |seconds, nanos| (i64::from(seconds), i64::try_from(nanos).unwrap_or_default());
        Self {
            inode: u64::from(stat.st_ino),
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            modified: time(stat.st_mtime, stat.st_mtime_nsec),
            changed: time(stat.st_ctime, stat.st_ctime_nsec),
        }
    }

    /// Whether a later write might bear the same stamp.
    fn is_young(&self) -> bool {
        let changed = self.changed.0.saturating_mul(SECOND).saturating_add(self.changed.1);
        changed > time::now() - COARSENESS
    }
}

/// A file's content and the stamp under which it was read.
#[derive(Debug)]
struct Kept<T> {
    stamp: Stamp,
    value: T,
}

impl<T: Clone> Kept<T> {
    fn get(kept: Option<&Self>, file: &Place<'_>) -> Option<T> {
        let kept = kept?;
        // Asked for only if there is something to compare it with.
        (file.stamp().ok()? == kept.stamp).then(|| kept.value.clone())
    }
}

#[derive(Debug, Default)]
struct Entry {
    record: Option<Kept<Arc<ContainerRecord>>>,
    state: Option<Kept<StateRecord>>,
}

/// The records of all containers that were looked at.
#[derive(Debug, Default)]
pub struct Cache {
    entries: Mutex<HashMap<String, Entry>>,
}

/// Reads through the cache. It holds the containers' directory: each file is two names away, however deep the home is.
#[derive(Debug)]
pub struct Reader<'a> {
    cache: &'a Cache,
    home: &'a Home,
    containers: OwnedFd,
    /// The same in the run directory; none if it is not there.
    running: Option<OwnedFd>,
}

/// A file of a container.
#[derive(Debug)]
struct Place<'a> {
    containers: &'a OwnedFd,
    /// Below the containers' directory.
    name: String,
}

impl Place<'_> {
    fn stamp(&self) -> io::Result<Stamp> {
        Ok(Stamp::of(&statat(self.containers, self.name.as_str(), AtFlags::empty())?))
    }

    /// What it holds. The stamp is taken first: a content that is newer than it will be found out by it.
    fn read(&self) -> io::Result<(Stamp, Vec<u8>)> {
        let fd = openat(self.containers, self.name.as_str(), OFlags::RDONLY | regular::FLAGS, Mode::empty())
            .map_err(|err| regular::refusal(err.into()))?;
        let stat = fstat(&fd)?;
        Ok((Stamp::of(&stat), regular::read_opened(fd, &stat)?))
    }
}

impl Reader<'_> {
    /// As [`store::load`].
    ///
    /// # Errors
    /// As [`store::load`].
    pub fn record(&self, id: &str) -> Result<Arc<ContainerRecord>> {
        let file = self.place(id, RECORD);
        if let Some(record) = self.cache.with(id, |entry| Kept::get(entry.record.as_ref(), &file)) {
            return Ok(record);
        }
        let (stamp, bytes) = file.read().map_err(|err| Error::at(&self.path(&file))(err))?;
        let record = Arc::new(store::parse(self.home, id, &bytes)?);
        self.cache.with(id, |entry| entry.record = keep(stamp, &record));
        Ok(record)
    }

    /// As [`store::see_state`].
    ///
    /// # Errors
    /// As [`store::see_state`].
    pub fn state(&self, id: &str) -> Result<Seen> {
        let file = self.place(id, STATE);
        if let Some(state) = self.cache.with(id, |entry| Kept::get(entry.state.as_ref(), &file)) {
            return Ok(store::with_late_end(self.home, id, state, self.has_door(id)));
        }
        let (stamp, bytes) = match file.read() {
            Ok(read) => read,
            // It was never started.
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                return Ok(Seen { state: StateRecord::default(), late: false, door: self.has_door(id) });
            }
            Err(_) => return store::see_state(self.home, id),
        };
        match from_json(&self.path(&file), &bytes) {
            Ok(state) => {
                self.cache.with(id, |entry| entry.state = keep(stamp, &state));
                Ok(store::with_late_end(self.home, id, state, self.has_door(id)))
            }
            Err(_) => store::see_state(self.home, id),
        }
    }

    fn has_door(&self, id: &str) -> bool {
        let name = || [id, DOOR].join("/");
        self.running.as_ref().is_some_and(|dir| statat(dir, name(), AtFlags::SYMLINK_NOFOLLOW).is_ok())
    }

    fn place(&self, id: &str, name: &str) -> Place<'_> {
        Place { containers: &self.containers, name: [id, name].join("/") }
    }

    /// For messages.
    fn path(&self, file: &Place<'_>) -> PathBuf {
        self.home.containers().join(&file.name)
    }
}

impl Cache {
    /// To read from as it is now.
    ///
    /// # Errors
    /// There is no containers' directory.
    pub fn reader<'a>(&'a self, home: &'a Home) -> Result<Reader<'a>> {
        let open = |path: &Path| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            openat(CWD, path, flags, Mode::empty()).map_err(|err| Error::at(path)(io::Error::from(err)))
        };
        let running = match open(&home.running()) {
            Err(Error::Missing(_)) => None,
            other => Some(other?),
        };
        Ok(Reader { cache: self, home, containers: open(&home.containers())?, running })
    }

    /// Forgets all containers but these.
    pub fn retain(&self, ids: &[String]) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() > ids.len() {
            let ids: HashSet<&str> = ids.iter().map(String::as_str).collect();
            entries.retain(|id, _| ids.contains(id.as_str()));
            entries.shrink_to_fit();
        }
    }

    fn with<T>(&self, id: &str, work: impl FnOnce(&mut Entry) -> T) -> T {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        match entries.get_mut(id) {
            Some(entry) => work(entry),
            None => work(entries.entry(id.to_owned()).or_default()),
        }
    }
}

fn keep<T: Clone>(stamp: Stamp, value: &T) -> Option<Kept<T>> {
    (!stamp.is_young()).then(|| Kept { stamp, value: value.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::random_id;
    use crate::state::atomic::Durability;
    use crate::state::container::Status;
    use std::fs;

    /// Waits until what has been written is old enough to be kept.
    fn grow_old(path: &Path) {
        while Stamp::of(&rustix::fs::stat(path).expect("file")).is_young() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    #[test]
    fn no_write_outdates_what_is_kept() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let home = Home { data: dir.path().join("data"), run: dir.path().join("run") };
        let mut record = ContainerRecord { id: random_id(), ..ContainerRecord::default() };
        let paths = home.container(&record.id);
        fs::create_dir_all(&paths.data).expect("container");
        let cache = Cache::default();
        let record_of = |id: &str| cache.reader(&home).expect("reader").record(id);
        let state_of = |id: &str| cache.reader(&home).expect("reader").state(id);
        assert!(matches!(record_of(&record.id), Err(Error::Missing(_))));
        // As fast as they come, and of one length: each is seen.
        for round in 0..200u8 {
            record.name = format!("n{:03}", round);
            record.host_config.auto_remove = true;
            store::save(&home, &record).expect("record");
            let state = StateRecord { status: Status::Exited, exit_code: 100 + i32::from(round), ..Default::default() };
            store::save_state(&home, &record.id, &state, Durability::Process).expect("state");
            assert_eq!(record_of(&record.id).expect("record").name, record.name);
            assert_eq!(state_of(&record.id).expect("state").state, state);
        }
        grow_old(&paths.record());
        let first = record_of(&record.id).expect("record");
        let again = record_of(&record.id).expect("record");
        assert!(Arc::ptr_eq(&first, &again), "an old one is kept");
        // In place, of the same length.
        let text = fs::read_to_string(paths.record()).expect("text");
        fs::write(paths.record(), text.replace("n199", "n777")).expect("edit");
        assert_eq!(record_of(&record.id).expect("record").name, "n777");
        fs::write(paths.record(), "{").expect("spoil");
        assert!(record_of(&record.id).expect_err("spoiled").is_unreadable());
        fs::write(paths.state(), "{").expect("spoil");
        assert_eq!(state_of(&record.id).expect("state").state.exit_code, 137);
        fs::remove_file(paths.record()).expect("remove");
        assert!(matches!(record_of(&record.id), Err(Error::Missing(_))));
        cache.retain(&[]);
        assert!(cache.entries.lock().expect("entries").is_empty());
    }
}
