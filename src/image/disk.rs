//! Gets what is made in a staging directory onto the disk: all of it before it is published, and most of it while the
//! rest is still arriving, so that the disk and the processors work at the same time.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;

use super::{Error, Result};

/// Bytes after which the disk is set to work.
const EVERY: u64 = 32 << 20;

/// A file system that is written to.
#[derive(Debug)]
pub struct Disk {
    /// Opened before anything is written: the kernel tells each open file once of what it could not write since then.
    dir: File,
    path: PathBuf,
    failed: AtomicBool,
}

impl Disk {
    /// The one that this directory is on.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn of(dir: &Path) -> Result<Self> {
        let file = File::open(dir).map_err(Error::at(dir))?;
        Ok(Self { dir: file, path: dir.to_owned(), failed: AtomicBool::new(false) })
    }

    /// Makes all that was written survive a loss of power, by one syncfs(2): its files are thousands.
    ///
    /// # Errors
    /// Those of the file system, among them what it could not write earlier.
    pub fn sync(&self) -> Result<()> {
        let synced = rustix::fs::syncfs(&self.dir);
        if synced.is_err() || self.failed.load(Ordering::Acquire) {
            self.failed.store(true, Ordering::Release);
            return Err(Error::at(&self.path)(synced.err().unwrap_or(rustix::io::Errno::IO).into()));
        }
        Ok(())
    }

    /// Syncs again and again while bytes are being written, whose numbers come out of `written`. What fails is told by
    /// [`Disk::sync`].
    pub fn follow(&self, written: &Receiver<u64>) {
        let mut bytes = 0;
        while let Ok(more) = written.recv() {
            bytes += more + written.try_iter().sum::<u64>();
            if bytes >= EVERY {
                bytes = 0;
                let _ = self.sync();
            }
        }
    }
}
