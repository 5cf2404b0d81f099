//! Pulls an image from a registry.
//!
//! ```text
//! resolve    name -> index -> manifest -> configuration; before anything is told, so that a failure is a status
//! partial    a layer's blob: one download for all who want it, gone on with after whatever broke it off
//! layers     side by side, each unpacked while it comes
//! mod        the order of it all; then the image is published as a load's are
//! ```
//!
//! Nothing of an image is seen before all of it is here and verified: blobs against their digests, layers unpacked against
//! the configuration's. What was downloaded of an image that then failed stays in `partial/` for a week.

mod layers;
pub mod partial;
mod resolve;
mod step;

use std::fs;

use crate::model::reference::{Reference, sha256_hex};
use crate::registry::Repository;

use self::layers::{Brought, Wanted, bring};
use self::resolve::Resolved;
use super::chain::chain_ids;
use super::config::ImageConfig;
use super::manifest::Document;
use super::meta::{Descriptor, ImageMeta, LayerRef, Manifest};
use super::platform::Platform;
use super::publish::{Ready, publish};
use super::refs::Ref;
use super::staging::Staging;
use super::{Error, Result, Store};

pub use resolve::{Distribution, distribution, explain};
pub use step::{LayerStep, Step};

/// An image that was pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// `sha256:…`
    pub id: String,
    /// What the registry calls it.
    pub digest: String,
}

/// Pulls an image. Before [`Step::Begin`] is told, nothing of it is here.
///
/// # Errors
/// [`Error::NotInRegistry`]; what came is not what it should be; the registry's; those of the file system. Then the store
/// is as before.
pub fn pull(
    store: &Store,
    from: &Repository,
    name: &Reference,
    platform: Option<&Platform>,
    tell: &mut dyn FnMut(Step),
) -> Result<Pulled> {
    let resolved = resolve::resolve(store, from, name, platform)?;
    tell(Step::Begin(name.clone()));
    let (config_blob, config_bytes, config) = resolve::config(store, from, &resolved.document)?;
    let id = config_blob.digest.clone();
    let layers = layer_refs(&resolved.document, &config.rootfs.diff_ids)?;
    if let Some(want) = platform {
        warn_of_another(name, want, &config, tell);
    }
    let staging = Staging::new(store)?;
    let (kept, brought) = bring(store, &staging, from, &layers, tell)?;
    let digest = resolved.target.digest.clone();
    let by_digest = name.with_digest(&digest)?;
    let names = match name.digest() {
        Some(_) => vec![by_digest],
        None => vec![name.clone(), by_digest],
    };
    let is_same = |old: Ref| old.id == id && old.target.is_some_and(|target| target.digest == digest);
    let mut new = !brought.is_empty() || store.meta(&id).is_err();
    for name in &names {
        new |= !store.read_ref(name)?.is_some_and(is_same);
    }
    if new {
        for note in brought.iter().filter_map(|one| one.extracted.as_ref()).flat_map(|layer| &layer.unpacked.notes) {
            tell(Step::Note(note.clone()));
        }
        let blobs = resolved.document.blobs();
        let mut ready = Ready { names, ..Ready::default() };
        ready.meta = ImageMeta::new(id.clone(), &config, layer_sizes(store, layers, &brought));
        ready.meta.sources.insert(name.name());
        place_documents(&staging, (id.clone(), config_bytes), resolved, &mut ready)?;
        for one in kept.into_iter().chain(brought) {
            ready.blobs.push((one.blob, one.hex));
            ready.new_layers.extend(one.extracted.map(|extracted| (one.chain, extracted)));
        }
        publish(store, &staging, vec![ready], &mut |_| {})?;
        blobs.iter().for_each(|blob| partial::forget(store, &blob.digest));
    }
    tell(Step::Done { name: name.clone(), digest: digest.clone(), new });
    Ok(Pulled { id, digest })
}

/// Of a repository that has only one machine's image, that one is pulled, whatever was asked for.
fn warn_of_another(name: &Reference, want: &Platform, config: &ImageConfig, tell: &mut dyn FnMut(Step)) {
    let mut have = Platform::of(config);
    if have.os.is_empty() {
        "linux".clone_into(&mut have.os);
    }
    if have.os != want.os || have.architecture != want.architecture {
        tell(Step::Note(format!(
            "WARNING: image with reference {} was found but its platform ({have}) does not match the specified \
             platform ({want})",
            name.familiar()
        )));
    }
}

/// Puts configuration, manifest and indexes where they can be published from, as they came.
fn place_documents(staging: &Staging, config: (String, Vec<u8>), resolved: Resolved, ready: &mut Ready) -> Result<()> {
    for (at, (digest, bytes)) in std::iter::once(config).chain(resolved.bytes).enumerate() {
        let path = staging.join(format!("document-{at}"));
        fs::write(&path, bytes).map_err(Error::at(&path))?;
        ready.blobs.push((path, sha256_hex(&digest).unwrap_or_default().to_owned()));
    }
    ready.meta.manifests = vec![Manifest { blob: resolved.manifest, names: resolved.document.blobs() }];
    ready.target = Some(resolved.target);
    Ok(())
}

/// The layers with the bytes of their files.
fn layer_sizes(store: &Store, layers: Vec<Wanted>, brought: &[Brought]) -> Vec<LayerRef> {
    let size = |chain: &str| {
        let new = brought.iter().find(|one| one.chain == chain).and_then(|one| one.extracted.as_ref());
        new.map(|layer| layer.unpacked.size).or_else(|| store.layer(chain).map(|layer| layer.size)).unwrap_or(0)
    };
    layers.into_iter().map(|wanted| LayerRef { size: size(&wanted.layer.chain), ..wanted.layer }).collect()
}

/// The layers of a manifest beside those of its configuration.
fn layer_refs(document: &Document, diff_ids: &[String]) -> Result<Vec<Wanted>> {
    let blobs: Vec<Descriptor> = document.layers.iter().flatten().map(|member| member.blob.clone()).collect();
    if blobs.len() != diff_ids.len() {
        return Err(Error::Invalid(format!(
            "{} layers, but the image's configuration has {}",
            blobs.len(),
            diff_ids.len()
        )));
    }
    let mut below = String::new();
    let mut wanted = Vec::new();
    for ((chain, diff_id), blob) in chain_ids(diff_ids).into_iter().zip(diff_ids).zip(blobs) {
        if sha256_hex(&blob.digest).is_none() {
            return Err(Error::Invalid(format!("unsupported digest {:?}", blob.digest)));
        }
        let layer = LayerRef { chain: chain.clone(), diff_id: diff_id.clone(), blob, size: 0 };
        wanted.push(Wanted { layer, below: std::mem::replace(&mut below, chain), unpacked: false });
    }
    Ok(wanted)
}
