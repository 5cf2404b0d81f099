//! Finds and removes what no image and no container refers to.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use crate::model::reference::sha256_hex;
use crate::state;
use crate::state::atomic::{self, Durability};
use crate::state::lock::Lock;
use crate::sys::process;

use super::meta::ImageMeta;
use super::staging::Staging;
use super::{Error, Result, Store};

/// What was removed.
#[derive(Debug, Default)]
pub struct Removed {
    /// Chain ids of layers.
    pub chains: BTreeSet<String>,
    /// Bytes of their files.
    pub size: u64,
}

/// Removes an image's record and what then nothing refers to. Names must be gone already. The caller holds the lock, and
/// syncs.
///
/// All is only moved into `staging`: that is quick, and removing them can wait until the lock is free.
///
/// # Errors
/// Those of the file system.
pub fn remove_image(store: &Store, lock: &Lock, meta: &ImageMeta, staging: &Staging) -> Result<Removed> {
    let path = store.meta_path(&meta.id);
    match fs::remove_file(&path) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(Error::at(&path)(err)),
        _ => {}
    }
    collect(store, lock, staging)
}

/// Removes what nothing refers to: after a container was removed whose image was removed before it, or after a kill.
///
/// # Errors
/// Those of the file system.
pub fn sweep(store: &Store) -> Result<Removed> {
    let staging = Staging::new(store)?;
    let lock = store.lock()?;
    collect(store, &lock, &staging)
}

/// Removes what killed processes and losses of power left: half made things, temporary files, and what nothing refers
/// to. Cheap where nothing of the kind happened.
///
/// # Errors
/// Those of the file system.
pub fn recover(store: &Store) -> Result<()> {
    let unsettled = Staging::sweep(store)?;
    for dir in [store.meta_dir(), store.refs_dir()] {
        atomic::sweep(&dir);
    }
    super::pull::partial::sweep(store)?;
    let boot = process::boot_id().unwrap_or_default();
    let marker = store.swept_in();
    if unsettled || fs::read_to_string(&marker).map_or(true, |last| last.trim() != boot) {
        sweep(store)?;
        atomic::write(&marker, format!("{boot}\n").as_bytes(), Durability::Process)?;
    }
    Ok(())
}

/// Moves what nothing refers to into `staging`. The caller holds the lock.
///
/// # Errors
/// Those of the file system.
pub fn collect(store: &Store, _lock: &Lock, staging: &Staging) -> Result<Removed> {
    let mut removed = Removed::default();
    let Some(used) = Used::find(store)? else { return Ok(removed) };
    store.remove_dangling(|id| used.images.contains(id))?;
    for path in Store::list(&store.layers_dir())? {
        let Some(chain) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if used.chains.contains(chain) {
            continue;
        }
        removed.size += store.layer(chain).map_or(0, |layer| layer.size);
        let away = staging.join(format!("gone-{chain}"));
        fs::rename(&path, &away).map_err(Error::at(&path))?;
        removed.chains.insert(chain.to_owned());
    }
    for path in Store::list(&store.blobs_dir())? {
        let Some(hex) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if !used.blobs.contains(hex) {
            // Not removed here: that waits for the disk if the file was written just now.
            fs::rename(&path, staging.join(format!("gone-blob-{hex}"))).map_err(Error::at(&path))?;
        }
    }
    Ok(removed)
}

#[derive(Default)]
struct Used {
    images: BTreeSet<String>,
    chains: BTreeSet<String>,
    blobs: BTreeSet<String>,
}

impl Used {
    /// None if some record cannot be read for now: what it refers to is then unknown, and nothing may be removed. What
    /// can never be read refers to nothing.
    fn find(store: &Store) -> Result<Option<Self>> {
        let mut used = Self::default();
        for path in Store::list(&store.meta_dir())? {
            let meta = match Store::read_meta(&path) {
                Ok(meta) => meta,
                Err(state::Error::Missing(_)) => continue,
                Err(err) if err.is_unreadable() => {
                    store.set_aside(&path, &err)?;
                    continue;
                }
                Err(err) => return Ok(unknown(&err)),
            };
            used.blobs.extend(meta.blobs().filter_map(sha256_hex).map(str::to_owned));
            used.chains.extend(meta.chains());
            used.images.insert(meta.id);
        }
        // An index has its image's manifest among others, which are not all here.
        let targets =
            store.refs()?.into_iter().filter(|one| used.images.contains(&one.id)).filter_map(|one| one.target);
        used.blobs.extend(targets.filter_map(|target| sha256_hex(&target.digest).map(str::to_owned)));
        let home = store.home();
        for id in state::store::ids(home)? {
            match state::store::load(home, &id) {
                Ok(record) => used.chains.extend(record.layers),
                Err(state::Error::Missing(_)) => {}
                // It can never be started again, but may still run.
                Err(err) if err.is_unreadable() => {
                    if Lock::is_held(&home.container(&id).monitor_lock()).unwrap_or(true) {
                        return Ok(unknown(&err));
                    }
                }
                Err(err) => return Ok(unknown(&err)),
            }
        }
        Ok(Some(used))
    }
}

fn unknown(err: &state::Error) -> Option<Used> {
    tracing::warn!("no layer is removed while a record cannot be read: {err}");
    None
}
