//! Records that were read before, for processes that list again and again.
//!
//! A copy is used only while the file is the same one by inode, size and both times, in nanoseconds. Kernels stamp files
//! with a clock of some milliseconds' coarseness, so two writes may bear one stamp: a file that is younger than that
//! when it is read is not kept. What is kept can so be outdated by no write, be it by rename(2) or in place.

use std::collections::{HashMap, HashSet};
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::atomic::from_json;
use super::container::{ContainerRecord, StateRecord};
use super::paths::Home;
use super::store::{self, Seen};
use super::{Error, Result};
use crate::model::time::{self, Nanos, SECOND};

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
    fn of(meta: &Metadata) -> Self {
        let modified = (meta.mtime(), meta.mtime_nsec());
        Self { inode: meta.ino(), size: meta.len(), modified, changed: (meta.ctime(), meta.ctime_nsec()) }
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
    fn get(kept: Option<&Self>, path: &Path) -> Option<T> {
        let kept = kept?;
        // Asked for only if there is something to compare it with.
        let meta = std::fs::metadata(path).ok()?;
        (Stamp::of(&meta) == kept.stamp).then(|| kept.value.clone())
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

impl Cache {
    /// As [`store::load`].
    ///
    /// # Errors
    /// As [`store::load`].
    pub fn record(&self, home: &Home, id: &str) -> Result<Arc<ContainerRecord>> {
        let path = home.container(id).record();
        if let Some(record) = self.with(id, |entry| Kept::get(entry.record.as_ref(), &path)) {
            return Ok(record);
        }
        let (stamp, record) = read(&path, |bytes| store::parse(home, id, bytes))?;
        let record = Arc::new(record);
        self.with(id, |entry| entry.record = keep(stamp, &record));
        Ok(record)
    }

    /// As [`store::see_state`].
    ///
    /// # Errors
    /// As [`store::see_state`].
    pub fn state(&self, home: &Home, id: &str) -> Result<Seen> {
        let path = home.container(id).state();
        if let Some(state) = self.with(id, |entry| Kept::get(entry.state.as_ref(), &path)) {
            return Ok(store::with_late_end(home, id, state));
        }
        match read(&path, |bytes| from_json(&path, bytes)) {
            Ok((stamp, state)) => {
                self.with(id, |entry| entry.state = keep(stamp, &state));
                Ok(store::with_late_end(home, id, state))
            }
            // It was never started.
            Err(Error::Missing(_)) => Ok(Seen { state: StateRecord::default(), late: false }),
            Err(_) => store::see_state(home, id),
        }
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

/// Reads a file. The stamp is taken first: a content that is newer than it will be found out by it.
fn read<T>(path: &Path, parse: impl FnOnce(&[u8]) -> Result<T>) -> Result<(Stamp, T)> {
    let content = || -> io::Result<(Stamp, Vec<u8>)> {
        let mut file = File::open(path)?;
        let meta = file.metadata()?;
        let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0) + 1);
        file.read_to_end(&mut bytes)?;
        Ok((Stamp::of(&meta), bytes))
    };
    let (stamp, bytes) = content().map_err(Error::at(path))?;
    Ok((stamp, parse(&bytes)?))
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
        while Stamp::of(&fs::metadata(path).expect("file")).is_young() {
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
        assert!(matches!(cache.record(&home, &record.id), Err(Error::Missing(_))));
        // As fast as they come, and of one length: each is seen.
        for round in 0..200u8 {
            record.name = format!("n{:03}", round);
            record.host_config.auto_remove = true;
            store::save(&home, &record).expect("record");
            let state = StateRecord { status: Status::Exited, exit_code: 100 + i32::from(round), ..Default::default() };
            store::save_state(&home, &record.id, &state, Durability::Process).expect("state");
            assert_eq!(cache.record(&home, &record.id).expect("record").name, record.name);
            assert_eq!(cache.state(&home, &record.id).expect("state").state, state);
        }
        grow_old(&paths.record());
        let first = cache.record(&home, &record.id).expect("record");
        let again = cache.record(&home, &record.id).expect("record");
        assert!(Arc::ptr_eq(&first, &again), "an old one is kept");
        // In place, of the same length.
        let text = fs::read_to_string(paths.record()).expect("text");
        fs::write(paths.record(), text.replace("n199", "n777")).expect("edit");
        assert_eq!(cache.record(&home, &record.id).expect("record").name, "n777");
        fs::write(paths.record(), "{").expect("spoil");
        assert!(cache.record(&home, &record.id).expect_err("spoiled").is_unreadable());
        fs::write(paths.state(), "{").expect("spoil");
        assert_eq!(cache.state(&home, &record.id).expect("state").state.exit_code, 137);
        fs::remove_file(paths.record()).expect("remove");
        assert!(matches!(cache.record(&home, &record.id), Err(Error::Missing(_))));
        cache.retain(&[]);
        assert!(cache.entries.lock().expect("entries").is_empty());
    }
}
