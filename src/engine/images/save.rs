//! Saves images as an archive.

use crate::engine::Engine;
use crate::image::platform::Platform;
use crate::image::refs::Ref;
use crate::image::save::{self, Archive, Chosen};
use crate::image::{Result, Store};
use crate::model::reference::Reference;

impl Engine {
    /// Makes an archive of images, ready to be written. A name without a tag means all tags of its repository, as in
    /// Docker; an id, or a name with a digest, means an image without a name.
    ///
    /// # Errors
    /// As [`save::prepare`].
    pub fn save_images(&self, names: &[String], platforms: &[Platform]) -> Result<Archive> {
        let store = self.image_store()?;
        let mut chosen = Vec::new();
        for name in names {
            chosen.extend(choose(&store, name)?);
        }
        let archive = save::prepare(&store, &chosen, platforms)?;
        for one in &chosen {
            self.image_event("save", &one.id, &one.id, &store.meta(&one.id).unwrap_or_default());
        }
        Ok(archive)
    }
}

fn choose(store: &Store, name: &str) -> Result<Vec<Chosen>> {
    let reference = Reference::parse(name);
    if let Ok(repository) = &reference
        && repository.tag().is_none()
        && repository.digest().is_none()
    {
        let tags = store.tags_of(repository)?;
        if !tags.is_empty() {
            let chosen = |one: Ref| Chosen { id: one.id, name: Some(one.name), target: one.target };
            return Ok(tags.into_iter().map(chosen).collect());
        }
    }
    let (id, target) = store.locate(name)?;
    let tagged = reference.ok().filter(|name| name.tag().is_some() && name.digest().is_none());
    let name = match tagged {
        Some(name) if store.read_ref(&name)?.is_some() => Some(name),
        _ => None,
    };
    Ok(vec![Chosen { id, name, target }])
}
