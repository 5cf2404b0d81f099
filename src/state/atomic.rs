//! Files that are whole or absent.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Error, Result};
use crate::sys::{process, regular};

/// Clock ticks of /proc in a second: the same on all machines.
const TICKS: u64 = 100;

/// What a write must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A killed process: readers see the old file or the new one.
    Process,
    /// A loss of power as well.
    Disk,
}

/// Replaces a file by one with these bytes: writes a temporary neighbour, then renames it.
///
/// # Errors
/// Those of the file system; the old file is then still there, unless only the last sync failed.
pub fn write(path: &Path, bytes: &[u8], durability: Durability) -> Result<()> {
    replace(path, bytes, durability)?;
    match (durability, path.parent()) {
        (Durability::Disk, Some(parent)) => sync(&[parent]),
        _ => Ok(()),
    }
}

/// As [`write`], but for [`Durability::Disk`] the caller still has to [`sync`] the directory, with others.
///
/// # Errors
/// As [`write`].
pub(super) fn replace(path: &Path, bytes: &[u8], durability: Durability) -> Result<()> {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    // Unique among threads and processes: two writers of one file must not share a temporary one. A leftover of a
    // killed process with the same pid is overwritten.
    name.push(format!(".{}.{}", std::process::id(), SERIAL.fetch_add(1, Ordering::Relaxed)));
    let temporary = path.with_file_name(name);
    let written = (|| -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        if durability == Durability::Disk {
            // Before the name: no loss of power may leave the name with less than the whole.
            file.sync_all()?;
        }
        fs::rename(&temporary, path)
    })();
    written.map_err(|source| {
        let _ = fs::remove_file(&temporary);
        Error::at(path)(source)
    })
}

/// Makes what these directories list, and what these files hold, survive a loss of power. They are synced at the same
/// time: the disk flushes its cache for each, and does that once for all that ask together.
///
/// # Errors
/// Those of the file system.
pub fn sync(paths: &[&Path]) -> Result<()> {
    let Some((last, others)) = paths.split_last() else { return Ok(()) };
    thread::scope(|scope| {
        let others: Vec<_> = others
            .iter()
            .map(|path| (path, thread::Builder::new().stack_size(64 * 1024).spawn_scoped(scope, || sync_one(path))))
            .collect();
        let mut result = sync_one(last);
        for (path, thread) in others {
            let one = match thread {
                Ok(thread) => thread.join().unwrap_or_else(|_| sync_one(path)),
                // No more threads: one after the other, then.
                Err(_) => sync_one(path),
            };
            result = result.and(one);
        }
        result
    })
}

fn sync_one(path: &Path) -> Result<()> {
    match File::open(path).and_then(|file| file.sync_all()) {
        // It lists nothing; or its file system knows no such thing.
        Err(err) if matches!(err.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => Ok(()),
        other => other.map_err(Error::at(path)),
    }
}

/// Removes what writers that were killed left in a directory: temporary files of processes that are gone.
pub fn sweep(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_str().and_then(writer).is_some_and(|pid| is_abandoned(&entry.path(), pid)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether what process `pid` made here is nobody's: the process is gone, and if another one has its number by now,
/// that is younger than what was made.
pub(super) fn is_abandoned(path: &Path, pid: &str) -> bool {
    let Ok(pid) = pid.parse() else { return true };
    let Ok(started) = process::start_time(pid) else { return true };
    if process::is_zombie(pid) {
        return true;
    }
    let Ok(Ok(age)) = fs::metadata(path).and_then(|meta| meta.modified()).map(|at| at.elapsed()) else { return false };
    let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let uptime = Duration::from_secs(u64::try_from(boot.tv_sec).unwrap_or(0));
    let process_age = uptime.saturating_sub(Duration::from_secs(started / TICKS));
    // A second for what the two were rounded by.
    process_age + Duration::from_secs(1) < age
}

/// The process that writes, or wrote, the temporary file of this name.
fn writer(name: &str) -> Option<&str> {
    let number = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (rest, _) = name.strip_prefix('.')?.rsplit_once('.').filter(|(_, serial)| number(serial))?;
    let (_, pid) = rest.rsplit_once('.').filter(|(_, pid)| number(pid))?;
    Some(pid)
}

/// A value as JSON, indented for people.
pub(super) fn to_json<T: Serialize>(path: &Path, value: &T) -> Result<Vec<u8>> {
    let mut bytes =
        serde_json::to_vec_pretty(value).map_err(|source| Error::Corrupt { path: path.to_owned(), source })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Replaces a file by a value as JSON, indented for people.
///
/// # Errors
/// As [`write`].
pub fn write_json<T: Serialize>(path: &Path, value: &T, durability: Durability) -> Result<()> {
    write(path, &to_json(path, value)?, durability)
}

/// Reads a value as JSON.
///
/// # Errors
/// [`Error::Missing`], [`Error::Corrupt`], or those of the file system.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    from_json(path, &regular::read(path).map_err(Error::at(path))?)
}

/// What a file that was read holds.
pub(super) fn from_json<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|source| Error::Corrupt { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_and_leaves_no_temporary() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("a.json");
        write_json(&path, &1, Durability::Disk).expect("first");
        write_json(&path, &2, Durability::Process).expect("second");
        assert_eq!(read_json::<i32>(&path).expect("read"), 2);
        assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 1);
        fs::write(&path, "{").expect("spoil");
        assert!(matches!(read_json::<i32>(&path), Err(Error::Corrupt { .. })));
        assert!(matches!(read_json::<i32>(&dir.path().join("b")), Err(Error::Missing(_))));
        sync(&[&dir.path().join("none"), dir.path(), dir.path()]).expect("sync");
        assert!(sync(&[&path.join("in a file"), dir.path()]).is_err());
    }

    #[test]
    fn temporary_files_of_the_dead_are_swept() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let living = format!(".state.json.{}.0", std::process::id());
        let reused = format!(".state.json.{}.1", std::process::id());
        let names = [&living, &reused, ".state.json.0.7", ".a.1x.2", ".hidden", "state.json.0.1", "lock"];
        for name in names {
            fs::write(dir.path().join(name), "").expect("file");
        }
        // Made before the process that has the number now.
        let old = File::options().write(true).open(dir.path().join(&reused)).expect("file");
        old.set_modified(std::time::UNIX_EPOCH).expect("time");
        sweep(dir.path());
        let left = names.map(|name| dir.path().join(name).exists());
        assert_eq!(left, [true, false, false, true, true, true, true]);
    }
}
