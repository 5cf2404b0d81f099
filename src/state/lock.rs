//! Locks that the kernel keeps: flock(2) on a file. A killed process holds none.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::{Error, Result};

/// A held lock; dropped, or with its process gone, it is free.
///
/// The lock belongs to the open file: a forked child that keeps the descriptor keeps the lock. The descriptor is
/// closed by exec.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Waits for the exclusive lock, making the file if it is missing.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn exclusive(path: &Path) -> Result<Self> {
        Self::take(path, FlockOperation::LockExclusive).map(|lock| lock.expect("a blocking lock is taken"))
    }

    /// Waits for a shared lock, making the file if it is missing.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn shared(path: &Path) -> Result<Self> {
        Self::take(path, FlockOperation::LockShared).map(|lock| lock.expect("a blocking lock is taken"))
    }

    /// The exclusive lock if nobody has it now, making the file if it is missing.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn try_exclusive(path: &Path) -> Result<Option<Self>> {
        Self::take(path, FlockOperation::NonBlockingLockExclusive)
    }

    /// Whether somebody holds the exclusive lock now. A missing file is not held.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn is_held(path: &Path) -> Result<bool> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(err) => return Err(Error::at(path)(err)),
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(false),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
            Err(err) => Err(Error::at(path)(err.into())),
        }
    }

    /// The locked file, for a process that writes something in it or passes it on.
    pub fn file(&self) -> &File {
        &self.file
    }

    fn take(path: &Path, operation: FlockOperation) -> Result<Option<Self>> {
        loop {
            let open = || OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path);
            let file = open().map_err(Error::at(path))?;
            loop {
                match flock(&file, operation) {
                    Ok(()) => break,
                    Err(rustix::io::Errno::INTR) => {}
                    Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                    Err(err) => return Err(Error::at(path)(err.into())),
                }
            }
            // The file may have been removed with its directory while this waited: a lock on it would exclude nobody.
            let same = |there: fs::Metadata| {
                file.metadata().is_ok_and(|here| (here.dev(), here.ino()) == (there.dev(), there.ino()))
            };
            if fs::metadata(path).is_ok_and(same) {
                return Ok(Some(Self { file }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excludes_and_frees() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("lock");
        assert!(!Lock::is_held(&path).expect("missing"));
        let lock = Lock::exclusive(&path).expect("lock");
        assert!(Lock::is_held(&path).expect("held"));
        assert!(Lock::try_exclusive(&path).expect("try").is_none());
        drop(lock);
        assert!(Lock::try_exclusive(&path).expect("try").is_some());
    }
}
