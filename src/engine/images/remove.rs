//! Removes names of images, and images: Docker's rules for what is only untagged, what is deleted, what is refused.

use crate::engine::Engine;
use crate::image::find::{Found, resolve_named};
use crate::image::garbage::{self, Removed};
use crate::image::meta::ImageMeta;
use crate::image::platform::Platform;
use crate::image::refs::Ref;
use crate::image::staging::Staging;
use crate::image::{Error, Image, Result, Store};
use crate::model::ids::short;
use crate::model::reference::Reference;
use crate::state::lock::Lock;

use super::using::{self, User};

/// One thing that a removal did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemovedItem {
    /// A name is gone.
    Untagged(String),
    /// An image or a layer is gone.
    Deleted(String),
}

/// What a removal did.
#[derive(Debug)]
pub struct RemovedImages {
    /// Names, images and layers that are gone, in order.
    pub items: Vec<RemovedItem>,
    /// Bytes of the layers.
    pub reclaimed: u64,
    /// The files, which nobody can see any more. To drop this is to remove them, and can wait for the disk.
    pub leftovers: Staging,
}

/// A removal in progress, under the store's lock.
pub(super) struct Removal {
    store: Store,
    lock: Lock,
    staging: Staging,
    users: Vec<User>,
    /// What was done.
    pub items: Vec<RemovedItem>,
    /// Bytes of layers that are gone.
    pub reclaimed: u64,
    events: Vec<(&'static str, ImageMeta)>,
}

impl Engine {
    /// Removes a name, and the image if that was its last; or, given an id, the image with all its names.
    ///
    /// # Errors
    /// Not found; conflict if a container uses it, it has several names, or other images were made of it. `force`
    /// overrides stopped containers and several names.
    pub fn remove_image(&self, name: &str, force: bool, prune: bool) -> Result<RemovedImages> {
        self.removing(|removal| removal.remove(name, force, prune))
    }

    /// Removes those of a name's images that are for these platforms; the name goes with the last one.
    ///
    /// # Errors
    /// Not found; conflict if a running container uses one.
    pub fn remove_platforms(&self, name: &str, platforms: &[Platform]) -> Result<RemovedImages> {
        self.removing(|removal| platforms.iter().try_for_each(|platform| removal.remove_platform(name, platform)))
    }

    fn removing(&self, remove: impl FnOnce(&mut Removal) -> Result<()>) -> Result<RemovedImages> {
        let mut removal = Removal::begin(self)?;
        let removed = remove(&mut removal);
        // Also of what was done before an error, the answer tells.
        let ended = removal.end(self)?;
        removed.map(|()| ended)
    }

    /// After a container's removal: its image may have been deleted by force before it, and its layers go now.
    pub(in crate::engine) fn sweep_layers_of(&self, image: &str) {
        let swept = self.image_store().and_then(|store| match store.meta(image) {
            Err(Error::Missing(_)) if !image.is_empty() => garbage::sweep(&store).map(|_| ()),
            _ => Ok(()),
        });
        if let Err(err) = swept {
            tracing::warn!("layers of a deleted image stay: {err}");
        }
    }
}

impl Removal {
    pub(super) fn begin(engine: &Engine) -> Result<Self> {
        let store = engine.image_store()?;
        let staging = Staging::new(&store)?;
        staging.unsettled()?;
        let lock = store.lock()?;
        let users = using::all(engine.home())?;
        Ok(Self { store, lock, staging, users, items: Vec::new(), reclaimed: 0, events: Vec::new() })
    }

    /// Syncs, frees the lock and tells the event log.
    pub(super) fn end(self, engine: &Engine) -> Result<RemovedImages> {
        let Self { store, lock, staging, items, reclaimed, events, .. } = self;
        if !items.is_empty() {
            store.sync_names()?;
        }
        staging.settled();
        drop(lock);
        for (action, meta) in events {
            engine.image_event(action, &meta.id, &meta.id, &meta);
        }
        Ok(RemovedImages { items, reclaimed, leftovers: staging })
    }

    pub(super) fn remove(&mut self, name: &str, force: bool, prune: bool) -> Result<()> {
        let beside = self.store.beside(&self.store.refs()?);
        self.remove_named(name, force, prune)?;
        // What had a name only by an index that no name means any more.
        let still = self.store.beside(&self.store.refs()?);
        for id in beside.keys().filter(|id| !still.contains_key(*id)) {
            if let Ok(meta) = self.store.meta(id)
                && self.names(id)?.is_empty()
            {
                self.delete(&meta, false, prune, true)?;
            }
        }
        Ok(())
    }

    fn remove_platform(&mut self, name: &str, platform: &Platform) -> Result<()> {
        let Found { image: Image { meta, .. }, named, target } = resolve_named(&self.store, name, Some(platform))?;
        self.check(&meta, &[], true)?;
        if meta.id == named {
            let tree = target.and_then(|target| self.store.tree(&target)).unwrap_or_default();
            let others = tree.manifests().into_iter().map(|(_, manifest)| manifest.image_id().to_owned());
            let Some(other) = others.into_iter().find(|id| *id != named && self.store.meta(id).is_ok()) else {
                return self.remove(name, true, false);
            };
            // The name means one that stays.
            for one in
                self.store.refs()?.into_iter().filter(|one| one.id == named && one.target == Some(tree.blob.clone()))
            {
                self.store.write_ref(&Ref { id: other.clone(), ..one })?;
            }
        }
        self.delete(&meta, true, false, false)
    }

    fn remove_named(&mut self, name: &str, force: bool, prune: bool) -> Result<()> {
        let id = self.store.find(name)?;
        let meta = match self.store.meta(&id) {
            // Of an image whose record is damaged, all can be removed that is left.
            Err(Error::State(err)) if err.is_unreadable() => ImageMeta { id: id.clone(), ..ImageMeta::default() },
            other => other?,
        };
        let mut names = self.names(&id)?;
        let mut untagged = false;
        if is_id_prefix(&id, name) {
            if is_single(&names) {
                // Whatever refuses the deletion must do so before the first name is taken away.
                self.check(&meta, &[], force)?;
                self.untag(&meta, &names)?;
            }
        } else {
            if !force
                && is_single(&names)
                && let Some(user) = self.users.iter().find(|user| user.image_id == id)
            {
                let (container, image) = (short(&user.id), short(bare(&id)));
                return Err(Error::Conflict(format!(
                    "conflict: unable to remove repository reference \"{name}\" (must force) - container {container} \
                     is using its referenced image {image}"
                )));
            }
            let reference = Reference::parse(name)?.lookup_key();
            self.untag(&meta, std::slice::from_ref(&reference))?;
            names = self.names(&id)?;
            let same = |one: &&Reference| one.name() == reference.name();
            if reference.tag().is_some() && !names.iter().filter(same).any(|one| one.tag().is_some()) {
                // Names by digest came with the tag, and go with it.
                let digests: Vec<Reference> = names.iter().filter(same).cloned().collect();
                self.untag(&meta, &digests)?;
                names = self.names(&id)?;
            }
            if !names.is_empty() {
                return Ok(());
            }
            untagged = true;
        }
        self.delete(&meta, force, prune, untagged)
    }

    /// Deletes an image with all names that it still has. `quiet`: if it is in use, that is no error.
    fn delete(&mut self, meta: &ImageMeta, force: bool, prune: bool, quiet: bool) -> Result<()> {
        let names = self.names(&meta.id)?;
        if let Err(conflict) = self.check(meta, &names, force) {
            let used = self.users.iter().any(|user| user.image_id == meta.id);
            return if quiet && (used || !names.is_empty() || self.has_children(meta)?) {
                Ok(())
            } else {
                Err(conflict)
            };
        }
        self.untag(meta, &names)?;
        let removed = garbage::remove_image(&self.store, &self.lock, meta, &self.staging)?;
        self.note_removed(meta, &removed);
        if prune && let Ok(parent) = self.store.meta(&meta.parent) {
            let named = !self.names(&parent.id)?.is_empty();
            return if named { Ok(()) } else { self.delete(&parent, false, true, true) };
        }
        Ok(())
    }

    fn note_removed(&mut self, meta: &ImageMeta, removed: &Removed) {
        self.events.push(("delete", meta.clone()));
        self.items.push(RemovedItem::Deleted(meta.id.clone()));
        let own = meta.layers.iter().rev().filter(|layer| removed.chains.contains(&layer.chain));
        self.items.extend(own.map(|layer| RemovedItem::Deleted(format!("sha256:{}", layer.chain))));
        self.reclaimed += removed.size;
    }

    fn untag(&mut self, meta: &ImageMeta, names: &[Reference]) -> Result<()> {
        for name in names {
            self.store.remove_ref(name)?;
            self.items.push(RemovedItem::Untagged(name.familiar()));
            self.events.push(("untag", meta.clone()));
        }
        Ok(())
    }

    fn names(&self, id: &str) -> Result<Vec<Reference>> {
        Ok(self.store.refs()?.into_iter().filter(|one| one.id == id).map(|one| one.name).collect())
    }

    fn has_children(&self, meta: &ImageMeta) -> Result<bool> {
        Ok(self.store.metas()?.iter().any(|other| other.parent == meta.id))
    }

    /// Refuses what must not be deleted: other images made of it and running containers in any case, several names and
    /// stopped containers unless forced.
    fn check(&self, meta: &ImageMeta, names: &[Reference], force: bool) -> Result<()> {
        let image = short(bare(&meta.id));
        let conflict = |how: &str, why: String| {
            Err(Error::Conflict(format!("conflict: unable to delete {image} ({how}) - {why}")))
        };
        if self.has_children(meta)? {
            return conflict("cannot be forced", "image has dependent child images".to_owned());
        }
        let user = |running: bool| self.users.iter().find(|user| user.image_id == meta.id && user.running == running);
        if let Some(user) = user(true) {
            return conflict(
                "cannot be forced",
                format!("image is being used by running container {}", short(&user.id)),
            );
        }
        if !force {
            if !names.is_empty() {
                return conflict("must be forced", "image is referenced in multiple repositories".to_owned());
            }
            if let Some(user) = user(false) {
                let container = short(&user.id);
                return conflict("must be forced", format!("image is being used by stopped container {container}"));
            }
        }
        Ok(())
    }
}

fn bare(id: &str) -> &str {
    id.strip_prefix("sha256:").unwrap_or(id)
}

/// Whether the person meant the id, not a name.
fn is_id_prefix(id: &str, name: &str) -> bool {
    id.starts_with(name) || bare(id).starts_with(name)
}

/// Whether all names are of one repository and at most one of them has a tag.
fn is_single(names: &[Reference]) -> bool {
    let one_repository = names.windows(2).all(|pair| pair[0].name() == pair[1].name());
    names.len() <= 1 || (one_repository && names.iter().filter(|name| name.tag().is_some()).count() <= 1)
}
