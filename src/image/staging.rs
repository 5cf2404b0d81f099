//! A place to make things in before they are moved to theirs.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::model::ids::random_id;
use crate::state::lock::Lock;
use crate::sys::tree;

use super::{Error, Result, Store};

/// A directory in `images/tmp` that is ours until dropped; whatever is still in it then is removed.
#[derive(Debug)]
pub struct Staging {
    path: PathBuf,
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
        drop(dead);
        Ok(Self { path, _lock: lock })
    }

    /// Removes what killed processes left.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn sweep(store: &Store) -> Result<()> {
        let tmp = store.tmp_dir();
        if Store::list(&tmp)?.iter().any(|path| path.is_dir()) {
            let short = Lock::exclusive(&tmp.join("lock"))?;
            let dead = Self::dead(store)?;
            drop(short);
            drop(dead);
        }
        Ok(())
    }

    /// The directories of killed processes, now ours. The caller holds the lock on the making of new ones.
    fn dead(store: &Store) -> Result<Vec<Self>> {
        let mut dead = Vec::new();
        for path in Store::list(&store.tmp_dir())?.into_iter().filter(|path| path.is_dir()) {
            // One that is being removed may vanish meanwhile.
            match Lock::try_exclusive(&path.join("lock")) {
                Ok(Some(lock)) => dead.push(Self { path, _lock: lock }),
                Ok(None) | Err(crate::state::Error::Missing(_)) => {}
                Err(err) => return Err(err.into()),
            }
        }
        Ok(dead)
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
