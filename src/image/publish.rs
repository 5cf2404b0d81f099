//! Moves what was made in a staging directory to its place, under the lock and in an order that neither a kill nor a
//! loss of power can spoil: all files are synced before any of them gets its name; blobs and layers first, then the
//! image's record, its names last.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::model::reference::{Reference, sha256_hex};
use crate::model::time;
use crate::state::atomic;

use super::garbage::collect;
use super::layers::{Extracted, extract_file};
use super::meta::{Descriptor, ImageMeta};
use super::outcome::{Loaded, Progress};
use super::refs::Ref;
use super::staging::Staging;
use super::{Error, Result, Store};

/// Largest file that is compared with the store's, in bytes: configurations and manifests.
const MAX_COMPARED: u64 = 16 << 20;

/// An image that is ready to be moved to its place.
#[derive(Debug, Default)]
pub struct Ready {
    /// Its record.
    pub meta: ImageMeta,
    /// Names to give it.
    pub names: Vec<Reference>,
    /// What they mean to a registry.
    pub target: Option<Descriptor>,
    /// Its blobs: where each is now, and its hash in hexadecimal.
    pub blobs: Vec<(PathBuf, String)>,
    /// Another image of the same index has the name that it is known by.
    pub beside: bool,
    /// By chain id, those of its layers that the store did not have, sealed.
    pub new_layers: BTreeMap<String, Extracted>,
}

/// Makes the images be there: when this returns, also after a loss of power.
///
/// # Errors
/// Those of the file system. Then some of the images may be there, each whole.
pub fn publish(
    store: &Store,
    staging: &Staging,
    mut ready: Vec<Ready>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Loaded>> {
    staging.unsettled()?;
    let (mut loaded, mut said) = (Vec::new(), Vec::new());
    loop {
        // Without the lock: it waits for the disk. What the store has already needs no sync.
        let synced = ready.iter().any(|image| brings_anything(store, image));
        if synced {
            staging.disk().sync()?;
        }
        let lock = store.lock()?;
        // A layer that was there before may have been deleted meanwhile: unpack it after all, without the lock.
        if let Some((image, at, blob)) = missing_layer(store, &ready)? {
            drop(lock);
            again(staging, &mut ready[image], at, &blob)?;
            continue;
        }
        for image in &ready {
            place(store, staging, image, synced)?;
        }
        atomic::sync(&[&store.blobs_dir(), &store.layers_dir()])?;
        for image in ready {
            loaded.push(record(store, image, &mut said)?);
        }
        if staging.found_unsettled() {
            collect(store, &lock, staging)?;
        }
        break;
    }
    staging.settled();
    said.into_iter().for_each(progress);
    Ok(loaded)
}

fn brings_anything(store: &Store, image: &Ready) -> bool {
    !image.new_layers.is_empty() || image.blobs.iter().any(|(path, hex)| !is_same(path, &store.blob(hex)))
}

/// The first layer that neither the store nor any of the images brings: whose, which one, and the blob to make it from.
fn missing_layer(store: &Store, ready: &[Ready]) -> Result<Option<(usize, usize, PathBuf)>> {
    let brought = |chain: &str| ready.iter().any(|image| image.new_layers.contains_key(chain));
    for (image, one) in ready.iter().enumerate() {
        for (at, layer) in one.meta.layers.iter().enumerate() {
            if !brought(&layer.chain) && store.accepted_layer(&layer.chain)?.is_none() {
                let hex = sha256_hex(&layer.blob.digest).unwrap_or_default();
                let blob = one.blobs.iter().find(|(_, have)| have == hex);
                let blob = blob.ok_or_else(|| Error::Archive(format!("layer {} vanished", layer.chain)))?;
                return Ok(Some((image, at, blob.0.clone())));
            }
        }
    }
    Ok(None)
}

fn again(staging: &Staging, image: &mut Ready, at: usize, blob: &Path) -> Result<()> {
    let layer = &image.meta.layers[at];
    let extracted = extract_file(blob, &staging.join(format!("again-{}", layer.chain)))?;
    let below = at.checked_sub(1).map_or("", |below| image.meta.layers[below].chain.as_str());
    extracted.seal(layer, below)?;
    image.new_layers.insert(layer.chain.clone(), extracted);
    Ok(())
}

fn place(store: &Store, staging: &Staging, image: &Ready, synced: bool) -> Result<()> {
    for (path, hex) in &image.blobs {
        let there = store.blob(hex);
        // Two images of one archive can share a file: then it is there by now.
        if path.exists() && !is_same(path, &there) {
            // What is there may be damaged: this one was just read as a whole.
            if !synced {
                File::open(path).and_then(|file| file.sync_all()).map_err(Error::at(path))?;
            }
            fs::rename(path, &there).map_err(Error::at(path))?;
        }
    }
    for (chain, layer) in &image.new_layers {
        store.put_layer(staging, chain, layer)?;
    }
    Ok(())
}

/// Whether these are one file, or small ones with the same content.
fn is_same(path: &Path, there: &Path) -> bool {
    let (Ok(one), Ok(two)) = (fs::metadata(path), fs::metadata(there)) else { return false };
    if (one.dev(), one.ino()) == (two.dev(), two.ino()) {
        return true;
    }
    let read = |path| {
        let mut bytes = Vec::new();
        File::open(path).and_then(|file| file.take(MAX_COMPARED).read_to_end(&mut bytes)).map(|_| bytes)
    };
    one.len() == two.len() && one.len() < MAX_COMPARED && matches!((read(path), read(there)), (Ok(a), Ok(b)) if a == b)
}

fn record(store: &Store, image: Ready, said: &mut Vec<Progress>) -> Result<Loaded> {
    let mut meta = image.meta;
    // One that cannot be read is replaced.
    if let Ok(old) = store.meta(&meta.id) {
        meta.last_tagged = old.last_tagged;
        meta.sources.extend(old.sources);
        old.manifests.into_iter().for_each(|manifest| meta.add_manifest(manifest));
        // The blobs of the old record may be the ones it was pulled with; they stay while the record names them.
        let there = |digest: &str| sha256_hex(digest).is_some_and(|hex| store.blob(hex).exists());
        if old.layers.len() == meta.layers.len() && old.layers.iter().all(|layer| there(&layer.blob.digest)) {
            meta.layers = old.layers;
        }
    }
    if !image.names.is_empty() {
        meta.last_tagged = time::now();
    }
    store.write_meta(&meta)?;
    for name in &image.names {
        match store.read_ref(name)? {
            Some(Ref { id: old, .. }) if old != meta.id => said.push(Progress::Renamed { name: name.clone(), old }),
            _ => {}
        }
        store.write_ref(&Ref { name: name.clone(), id: meta.id.clone(), target: image.target.clone() })?;
        // A name by a digest that comes with a tag says nothing new.
        if name.digest().is_none() || image.names.iter().all(|name| name.tag().is_none()) {
            said.push(Progress::Loaded(name.clone()));
        }
    }
    if image.names.is_empty() && !image.beside {
        said.push(Progress::LoadedId(meta.id.clone()));
    }
    Ok(Loaded { id: meta.id, names: image.names })
}
