//! Moves what was made in a staging directory to its place, under the lock and in an order that a kill cannot spoil:
//! blobs and layers first, then the image's record, its names last.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::model::reference::Reference;
use crate::model::time;
use crate::state::atomic::{self, Durability};

use super::layers::{Extracted, extract_file};
use super::load::{Loaded, Progress};
use super::meta::{ImageMeta, LayerRecord};
use super::staging::Staging;
use super::{Result, Store};

/// An image that is ready to be moved to its place.
#[derive(Debug, Default)]
pub struct Ready {
    /// Its record.
    pub meta: ImageMeta,
    /// Names to give it.
    pub names: Vec<Reference>,
    /// Its blobs: where each is now, and its hash in hexadecimal.
    pub blobs: Vec<(PathBuf, String)>,
    /// By chain id, those of its layers that the store did not have.
    pub new_layers: BTreeMap<String, Extracted>,
}

/// Makes the images be there.
///
/// # Errors
/// Those of the file system. Then some of the images may be there, each whole.
pub fn publish(
    store: &Store,
    staging: &Staging,
    mut ready: Vec<Ready>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Loaded>> {
    let (mut loaded, mut said) = (Vec::new(), Vec::new());
    loop {
        let _lock = store.lock()?;
        // A layer that was there before may have been deleted meanwhile: unpack it after all, without the lock.
        let gone = missing_layer(store, &ready);
        if let Some((image, chain, blob)) = gone {
            drop(_lock);
            let extracted = extract_file(&blob, &staging.join(format!("again-{chain}")))?;
            ready[image].new_layers.insert(chain, extracted);
            continue;
        }
        for image in &ready {
            place(store, image)?;
        }
        for image in ready {
            loaded.push(record(store, image, &mut said)?);
        }
        break;
    }
    said.into_iter().for_each(progress);
    Ok(loaded)
}

/// The first layer that neither the store nor any of the images brings, and the blob to make it from.
fn missing_layer(store: &Store, ready: &[Ready]) -> Option<(usize, String, PathBuf)> {
    let brought = |chain: &str| ready.iter().any(|image| image.new_layers.contains_key(chain));
    ready.iter().enumerate().find_map(|(at, image)| {
        let gone = |chain: &str| !brought(chain) && store.layer(chain).is_none();
        let layer = image.meta.layers.iter().find(|layer| gone(&layer.chain))?;
        let hex = layer.blob.digest.trim_start_matches("sha256:");
        let (path, _) = image.blobs.iter().find(|(_, have)| have == hex)?;
        Some((at, layer.chain.clone(), path.clone()))
    })
}

fn place(store: &Store, image: &Ready) -> Result<()> {
    for (path, hex) in &image.blobs {
        move_unless_there(path, &store.blob(hex))?;
    }
    let mut parent = String::new();
    for layer in &image.meta.layers {
        if let Some(extracted) = image.new_layers.get(&layer.chain) {
            let record = LayerRecord {
                diff_id: layer.diff_id.clone(),
                parent: std::mem::take(&mut parent),
                size: layer.size,
                blob: layer.blob.clone(),
                notes: extracted.unpacked.notes.clone(),
            };
            let target = store.layers_dir().join(&layer.chain);
            if extracted.dir.exists() && !target.exists() {
                atomic::write_json(&extracted.dir.join("layer.json"), &record, Durability::Process)?;
            }
            move_unless_there(&extracted.dir, &target)?;
        }
        parent.clone_from(&layer.chain);
    }
    Ok(())
}

/// The source may be gone as well: two images of one archive can share it.
fn move_unless_there(from: &Path, to: &Path) -> Result<()> {
    if to.exists() { Ok(()) } else { fs::rename(from, to).map_err(super::Error::at(from)) }
}

fn record(store: &Store, image: Ready, said: &mut Vec<Progress>) -> Result<Loaded> {
    let mut meta = image.meta;
    if let Ok(old) = store.meta(&meta.id) {
        meta.last_tagged = old.last_tagged;
        meta.manifest = meta.manifest.or(old.manifest);
        // The blobs of the old record may be the ones it was pulled with; they stay while the record names them.
        meta.layers = old.layers;
    }
    if !image.names.is_empty() {
        meta.last_tagged = time::now();
    }
    store.write_meta(&meta)?;
    for name in &image.names {
        match store.read_ref(name)? {
            Some(old) if old != meta.id => said.push(Progress::Renamed { name: name.clone(), old }),
            _ => {}
        }
        store.write_ref(name, &meta.id)?;
        said.push(Progress::Loaded(name.clone()));
    }
    if image.names.is_empty() {
        said.push(Progress::LoadedId(meta.id.clone()));
    }
    Ok(Loaded { id: meta.id, names: image.names })
}
