//! A place to make things in before they are moved to theirs.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::model::ids::random_id;
use crate::state::lock::Lock;
use crate::sys::tree;

use super::disk::Disk;
use super::{Error, Result, Store};

/// The file in a directory whose owner moves things to or from their places.
const UNSETTLED: &str = "unsettled";

/// A directory in `images/tmp` that is ours until dropped; whatever is still in it then is removed.
#[derive(Debug)]
pub struct Staging {
    path: PathBuf,
    found_unsettled: bool,
    disk: Disk,
    _lock: Lock,
}

impl Staging {
    /// A new one. What killed processes left there is removed first.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn new(store: &Store) -> Result<Self> {
        let tmp = store.tmp_dir();
        let path = tmp.join(random_id());
        let dead;
        let lock = {
            // Making a directory and locking it are two steps: nobody may take it for a dead one's between them.
            let _short = Lock::exclusive(&tmp.join("lock"))?;
            dead = Self::dead(store)?;
            fs::DirBuilder::new().mode(0o700).create(&path).map_err(Error::at(&path))?;
            Lock::exclusive(&path.join("lock"))?
        };
        let found_unsettled = dead.iter().any(Self::is_unsettled);
        drop(dead);
        let disk = Disk::of(&path)?;
        Ok(Self { path, found_unsettled, disk, _lock: lock })
    }

    /// Removes what killed processes left. True if one of them was killed while it moved things to or from their places:
    /// then there may be more.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn sweep(store: &Store) -> Result<bool> {
        let tmp = store.tmp_dir();
        if !Store::list(&tmp)?.iter().any(|path| path.is_dir()) {
            return Ok(false);
        }
        let short = Lock::exclusive(&tmp.join("lock"))?;
        let dead = Self::dead(store)?;
        drop(short);
        Ok(dead.iter().any(Self::is_unsettled))
    }

    fn is_unsettled(&self) -> bool {
        self.join(UNSETTLED).exists()
    }

    /// Whether something was found that a process had left while it moved things: there may be more in the store.
    pub fn found_unsettled(&self) -> bool {
        self.found_unsettled
    }

    /// Says that things are about to be moved to or from their places.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn unsettled(&self) -> Result<()> {
        let path = self.join(UNSETTLED);
        fs::write(&path, "").map_err(Error::at(&path))
    }

    /// Says that all of them are where they belong.
    pub fn settled(&self) {
        let _ = fs::remove_file(self.join(UNSETTLED));
    }

    /// The directories of killed processes, now ours. The caller holds the lock on the making of new ones.
    fn dead(store: &Store) -> Result<Vec<Self>> {
        let mut dead = Vec::new();
        for path in Store::list(&store.tmp_dir())?.into_iter().filter(|path| path.is_dir()) {
            // One that is being removed may vanish meanwhile.
            match Lock::try_exclusive(&path.join("lock")) {
                Ok(Some(lock)) => {
                    if let Ok(disk) = Disk::of(&path) {
                        dead.push(Self { path, found_unsettled: false, disk, _lock: lock });
                    }
                }
                Ok(None) | Err(crate::state::Error::Missing(_)) => {}
                Err(err) => return Err(err.into()),
            }
        }
        Ok(dead)
    }

    /// The disk that it is on.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// A path in it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Others may be removing it as well, once its lock file is gone.
        if let Err(err) = tree::remove(&self.path) {
            tracing::warn!(path = %self.path.display(), "left for the next process to remove: {err}");
        }
    }
}
