//! Pushes an image to a registry.
//!
//! ```text
//! plan     what is to be pushed, all of it open: what is not here is told before anything is sent
//! blobs    side by side: asked for, taken over from another repository, or sent
//! mod      the order of it all: blobs, then what names them, the name last
//! ```
//!
//! What is pushed is what arrived, to the byte: an index if all of it is here, else the manifest of its image. An image
//! that came without a manifest, from an archive of dockerd's or an import, gets one that follows from its layers; these
//! are pushed as they came, packed or not, so that nothing has to be packed twice and a second push finds all of it.

mod blobs;
mod plan;
mod step;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::model::reference::sha256_hex;
use crate::registry::Repository;
use crate::state::atomic;

use super::meta::Manifest;
use super::refs::Ref;
use super::staging::Staging;
use super::{Error, Result, Store, manifest};

pub use plan::{Plan, plan};
pub use step::{LayerStep, Step};

/// Pushes what is planned. The registry's words are the last ones.
///
/// # Errors
/// The registry's; those of the file system.
pub fn push(store: &Store, to: &Repository, plan: &Plan, tell: &mut dyn FnMut(Step)) -> Result<()> {
    blobs::bring(to, &plan.blobs, tell)?;
    let last = plan.documents.len().saturating_sub(1);
    for (at, document) in plan.documents.iter().enumerate() {
        let name = plan.name.tag().filter(|_| at == last).unwrap_or(&document.digest);
        // A registry may forbid that a tag is given anew, even to what has it.
        if to.look(name).as_deref() != Some(document.digest.as_str()) {
            to.put_manifest(name, &document.media_type, &document.bytes)?;
        }
    }
    remember(store, plan)?;
    if let Some(index) = &plan.instead_of {
        tell(Step::Instead { index: index.clone(), manifest: plan.target.clone() });
    }
    tell(Step::Done { name: plan.name.clone(), target: plan.target.clone() });
    Ok(())
}

/// The image is known in the repository from now on. Whoever has removed it meanwhile is right.
fn remember(store: &Store, plan: &Plan) -> Result<()> {
    let name = plan.name.with_digest(&plan.target.digest)?;
    let known = Ref { name, id: plan.meta.id.clone(), target: Some(plan.target.clone()) };
    let staging = Staging::new(store)?;
    staging.unsettled()?;
    let _lock = store.lock()?;
    let Ok(mut meta) = store.meta(&plan.meta.id) else { return Ok(()) };
    let new_there = meta.sources.insert(plan.name.name());
    if !new_there && store.read_ref(&known.name)?.as_ref() == Some(&known) {
        return Ok(());
    }
    if meta.manifests.is_empty()
        && let [document] = plan.documents.as_slice()
        && let Some(hex) = sha256_hex(&document.digest)
    {
        // It was made up, and the registry has it now.
        let path = staging.join("manifest");
        let write = || File::create(&path).and_then(|mut file| file.write_all(&document.bytes).and(file.sync_all()));
        write().map_err(Error::at(&path))?;
        let there = store.blob(hex);
        fs::rename(&path, &there).map_err(Error::at(&there))?;
        let folders: Vec<&Path> = there.parent().into_iter().collect();
        atomic::sync(&folders)?;
        let names = serde_json::from_slice::<manifest::Document>(&document.bytes).map(|one| one.blobs());
        let names = names.map_err(|err| Error::Invalid(err.to_string()))?;
        meta.add_manifest(Manifest { blob: plan.target.clone(), names });
    }
    store.write_meta(&meta)?;
    store.write_ref(&known)?;
    store.sync_names()?;
    staging.settled();
    Ok(())
}
