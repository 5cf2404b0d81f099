//! The verbs on images. They fail with the image room's own errors; each tells the event log what it did.

mod attestations;
mod glob;
mod import;
mod inspect;
mod list;
mod prune;
mod pull;
mod push;
mod remove;
mod save;
mod search;
#[cfg(test)]
mod tests;
mod transfer;
mod using;

use std::collections::BTreeMap;
use std::io::Read;

use crate::image::check::{self, Checked, Finding};
use crate::image::garbage;
use crate::image::meta::ImageMeta;
use crate::image::outcome::{Loaded, Progress};
use crate::image::platform::Platform;
use crate::image::refs::Ref;
use crate::image::{self, Error, Result, Store};
use crate::model::reference::{Reference, is_tag};
use crate::model::time;
use crate::state::events::Event;

pub use crate::image::platform::parse as parse_platform;
pub use import::Arriving;
pub use inspect::{Details, HistoryItem};
pub use list::{ListOptions, Summary};
pub use remove::RemovedItem;
pub use transfer::TransferRequest;
pub use using::InUse;

use super::Engine;

impl Engine {
    /// The image store.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn image_store(&self) -> Result<Store> {
        Store::open(&self.home)
    }

    /// Removes what killed processes left half made.
    pub(super) fn sweep_images(&self) {
        if let Err(err) = self.image_store().and_then(|store| garbage::recover(&store)) {
            tracing::warn!("leftovers of images stay: {err}");
        }
    }

    /// Verifies the whole store, and mends what can be mended.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn check_images(&self, tell: &mut dyn FnMut(Finding)) -> Result<Checked> {
        check::check(&self.image_store()?, tell)
    }

    /// Loads the images of an archive.
    ///
    /// # Errors
    /// As [`image::load::load`].
    pub fn load_images(
        &self,
        body: impl Read + Send,
        platforms: &[Platform],
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<Loaded>> {
        let store = self.image_store()?;
        let loaded = image::load::load(&store, body, platforms, progress)?;
        for image in &loaded {
            self.image_event("load", &image.id, &image.id, &store.meta(&image.id).unwrap_or_default());
        }
        Ok(loaded)
    }

    /// Gives an image another name.
    ///
    /// # Errors
    /// Not found; invalid parameter if the name cannot be one.
    pub fn tag_image(&self, image: &str, repository: &str, tag: &str) -> Result<()> {
        let name = repository_and_tag(repository, tag)?;
        let store = self.image_store()?;
        let meta = {
            let _lock = store.lock()?;
            let (id, target) = store.locate(image)?;
            let mut meta = store.meta(&id)?;
            meta.last_tagged = time::now();
            store.write_meta(&meta)?;
            let target = target.or_else(|| meta.manifests.first().map(|manifest| manifest.blob.clone()));
            store.write_ref(&Ref { name: name.clone(), id, target })?;
            meta
        };
        self.image_event("tag", &meta.id, &name.familiar(), &meta);
        Ok(())
    }

    /// Tells the event log; an event that cannot be written is no reason to fail what has happened.
    fn image_event(&self, action: &str, id: &str, name: &str, meta: &ImageMeta) {
        let mut attributes: BTreeMap<String, String> = meta.labels.clone();
        attributes.insert("name".to_owned(), name.to_owned());
        self.tell(&Event::new("image", action, id, attributes));
    }
}

/// A repository as a client names it, with a tag of its own, in it, or `latest`.
///
/// # Errors
/// If it cannot be a name, or has a digest.
pub fn repository_and_tag(repository: &str, tag: &str) -> Result<Reference> {
    let name = Reference::parse(repository)?;
    if name.digest().is_some() {
        return Err(Error::Invalid("cannot import digest reference".to_owned()));
    }
    if name.familiar_name() == "sha256" {
        let text = "refusing to create an ambiguous tag using digest algorithm as name".to_owned();
        return Err(Error::Invalid(text));
    }
    match tag {
        "" => Ok(name.with_default_tag()),
        tag if is_tag(tag) => Ok(name.with_tag(tag)?),
        _ => Err(Error::Invalid("invalid tag format".to_owned())),
    }
}
