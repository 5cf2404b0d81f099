//! Pushes images to registries.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::engine::Engine;
use crate::image::push::{self, Step};
use crate::image::{Error, Result, Store};
use crate::model::reference::Reference;
use crate::registry::http::Http;
use crate::registry::{Config, Repository};

use super::transfer::TransferRequest;

impl Engine {
    /// Pushes an image, or all that have a name in a repository. `gone`: a pipe that is closed when nobody waits for it
    /// any more.
    ///
    /// # Errors
    /// As [`push::push`]; what has no such name.
    pub fn push_image(
        &self,
        request: TransferRequest,
        gone: Option<OwnedFd>,
        tell: &mut dyn FnMut(Step),
    ) -> Result<()> {
        let name = request.wanted()?;
        tell(Step::Begin(name.clone()));
        let store = self.image_store()?;
        let names = named(&store, &name)?;
        let http = Http::start(Config::load()?, gone).map_err(Error::Read)?;
        for name in names {
            let plan = push::plan(&store, &name, request.platform.as_ref()).map_err(|err| match err {
                Error::Missing(name) => Error::NoTag(name),
                other => other,
            })?;
            let to = Repository::to_push(Arc::clone(&http), &name, request.credentials.clone(), &plan.sources());
            push::push(&store, &to, &plan, tell)?;
            self.image_event("push", &name.familiar(), &name.familiar_name(), &plan.meta);
        }
        Ok(())
    }
}

/// The names that are to be pushed: this one, or all tags of the repository.
fn named(store: &Store, name: &Reference) -> Result<Vec<Reference>> {
    if store.read_ref(name)?.is_some() {
        return Ok(vec![name.clone()]);
    }
    let tags: Vec<Reference> = store.tags_of(name)?.into_iter().map(|one| one.name).collect();
    match (tags.is_empty(), name.tag().or(name.digest())) {
        (true, _) => Err(Error::NotHere(name.familiar_name())),
        (false, None) => Ok(tags),
        (false, Some(_)) => Err(Error::NoTag(name.familiar())),
    }
}
