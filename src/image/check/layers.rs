//! Unpacked layers are compared with what their archives make of them, and made anew where they differ.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::image::layers::{Extracted, extract_file};
use crate::image::meta::{ImageMeta, LayerRef};
use crate::image::staging::Staging;
use crate::image::{Result, Store};
use crate::model::ids::short;
use crate::model::reference::sha256_hex;
use crate::state::atomic;

use super::finding::{Finding, Outcome};
use super::print::print;

/// Compares all layers of these images, each once.
pub fn check(store: &Store, images: &[ImageMeta], tell: &mut dyn FnMut(Finding)) -> Result<u64> {
    let mut seen = BTreeSet::new();
    for image in images {
        let mut below = "";
        for layer in &image.layers {
            if seen.insert(layer.chain.clone())
                && let Some(finding) = one(store, layer, below)?
            {
                tell(finding);
            }
            below = &layer.chain;
        }
    }
    Ok(seen.len() as u64)
}

/// What is found of a layer; none: it is as it should be, or there is nothing to compare it with.
fn one(store: &Store, layer: &LayerRef, below: &str) -> Result<Option<Finding>> {
    let what = format!("layer {}", short(&layer.chain));
    let there = store.layer_diff(&layer.chain);
    let known = identity(&there);
    if !store.has_blob(&layer.blob) {
        // That is told of its images.
        return Ok(None);
    }
    let staging = Staging::new(store)?;
    let blob = store.blob(sha256_hex(&layer.blob.digest).unwrap_or_default());
    let extracted = extract_file(&blob, &staging.join("layer"))?;
    let have = extracted.diff_id.as_ref().unwrap_or(&layer.blob.digest);
    if *have != layer.diff_id {
        let found = format!("its archive {} makes another layer", layer.blob.digest);
        return Ok(Some(Finding { what, found, outcome: Outcome::Lost("load or pull its image again".to_owned()) }));
    }
    let found = if known.is_none() {
        "it is not unpacked".to_owned()
    } else if store.accepted_layer(&layer.chain)?.is_none_or(|record| record.diff_id != layer.diff_id) {
        "its record is missing or wrong".to_owned()
    } else {
        let want = print(&extracted.dir.join("diff")).map_err(crate::image::Error::at(&extracted.dir))?;
        match print(&there) {
            Ok(have) if have == want => return Ok(None),
            Ok(_) => "its files are not those of its archive".to_owned(),
            Err(err) => format!("its files cannot be read: {err}"),
        }
    };
    replace(store, &staging, layer, below, (&extracted, known))
        .map(|outcome| outcome.map(|outcome| Finding { what, found, outcome }))
}

/// Puts a layer in the place of the one that was looked at; none: that is not there any more.
fn replace(
    store: &Store,
    staging: &Staging,
    layer: &LayerRef,
    below: &str,
    (extracted, known): (&Extracted, Option<(u64, u64)>),
) -> Result<Option<Outcome>> {
    extracted.seal(layer, below)?;
    staging.disk().sync()?;
    let _lock = store.lock()?;
    if identity(&store.layer_diff(&layer.chain)) != known || !is_used(store, &layer.chain)? {
        return Ok(None);
    }
    if let Some(user) = store.running_on(&layer.chain)? {
        let text = format!("the running container {} uses it: stop that, and check again", short(&user));
        return Ok(Some(Outcome::Lost(text)));
    }
    store.replace_layer(staging, &layer.chain, extracted)?;
    atomic::sync(&[&store.layers_dir()])?;
    Ok(Some(Outcome::Mended("unpacked anew".to_owned())))
}

/// Whether an image has the layer still.
fn is_used(store: &Store, chain: &str) -> Result<bool> {
    Ok(store.metas()?.iter().any(|meta| meta.layers.iter().any(|layer| layer.chain == chain)))
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().filter(fs::Metadata::is_dir).map(|meta| (meta.dev(), meta.ino()))
}
