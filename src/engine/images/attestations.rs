//! Statements about images.

use crate::engine::Engine;
use crate::image::attestations::{Statement, Wanted, statements};
use crate::image::{Error, Result, Store};
use crate::model::reference::Reference;
use crate::registry::{Credentials, Repository};

use super::pull::repository;

impl Engine {
    /// The statements about an image that its index names; none if it came without. They may be fetched from where the
    /// image was pulled from or pushed to.
    ///
    /// # Errors
    /// Not found, also if there is none for the machine that was asked for; as [`statements`].
    pub fn image_attestations(&self, name: &str, wanted: &Wanted, credentials: Credentials) -> Result<Vec<Statement>> {
        let store = self.image_store()?;
        let (id, target) = store.locate(name)?;
        let targets = store.refs()?.into_iter().filter(|one| one.id == id).filter_map(|one| one.target);
        let Some(target) = target.or_else(|| targets.into_iter().next()) else { return Ok(Vec::new()) };
        let from = || -> Result<Repository> {
            let known = known_at(&store, &id, &target.digest)?.ok_or_else(|| {
                Error::NoStatement(format!("the attestations of {name} are not here, and no registry is known for it"))
            })?;
            repository(&known, credentials.clone(), None)
        };
        statements(&store, &target, wanted, &from)
    }
}

/// A name by which a registry has what an image is part of.
fn known_at(store: &Store, id: &str, digest: &str) -> Result<Option<Reference>> {
    let same = |name: &Reference| name.digest() == Some(digest);
    Ok(store.refs()?.into_iter().filter(|one| one.id == id).map(|one| one.name).find(same))
}
