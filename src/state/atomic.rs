//! Files that are whole or absent.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Error, Result};

/// What a write must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A killed process: readers see the old file or the new one.
    Process,
    /// A crash of the machine as well.
    Disk,
}

/// Replaces a file by one with these bytes: writes a temporary neighbour, then renames it.
///
/// # Errors
/// Those of the file system; the old file is then still there.
pub fn write(path: &Path, bytes: &[u8], durability: Durability) -> Result<()> {
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
            file.sync_all()?;
        }
        fs::rename(&temporary, path)?;
        if durability == Durability::Disk
            && let Some(parent) = path.parent()
        {
            File::open(parent)?.sync_all()?;
        }
        Ok(())
    })();
    written.map_err(|source| {
        let _ = fs::remove_file(&temporary);
        Error::at(path)(source)
    })
}

/// Replaces a file by a value as JSON, indented for people.
///
/// # Errors
/// As [`write`].
pub fn write_json<T: Serialize>(path: &Path, value: &T, durability: Durability) -> Result<()> {
    let mut bytes =
        serde_json::to_vec_pretty(value).map_err(|source| Error::Corrupt { path: path.to_owned(), source })?;
    bytes.push(b'\n');
    write(path, &bytes, durability)
}

/// Reads a value as JSON.
///
/// # Errors
/// [`Error::Missing`], [`Error::Corrupt`], or those of the file system.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = fs::read(path).map_err(Error::at(path))?;
    serde_json::from_slice(&bytes).map_err(|source| Error::Corrupt { path: path.to_owned(), source })
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
    }
}
