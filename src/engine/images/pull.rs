//! Pulls images from registries.

use std::os::fd::OwnedFd;

use crate::engine::Engine;
use crate::image::pull::{self, Distribution, Pulled, Step};
use crate::image::{Error, Result};
use crate::model::reference::Reference;
use crate::registry::config::registry_of;
use crate::registry::http::Http;
use crate::registry::{Config, Credentials, Repository};

use super::transfer::{TransferRequest, wanted};

impl Engine {
    /// Pulls an image, or all of a repository. `gone`: a pipe that is closed when nobody waits for it any more.
    ///
    /// # Errors
    /// As [`pull::pull`]. Before the first step is told, nothing has happened.
    pub fn pull_image(
        &self,
        request: TransferRequest,
        gone: Option<OwnedFd>,
        tell: &mut dyn FnMut(Step),
    ) -> Result<Vec<Pulled>> {
        let name = request.wanted()?;
        if is_reserved(&name) {
            return Err(Error::Reserved(name.familiar_name()));
        }
        let from = repository(&name, request.credentials, gone)?;
        let store = self.image_store()?;
        let names = match (name.tag(), name.digest()) {
            (None, None) => {
                let tags = from.tags().map_err(|err| pull::explain(err.into(), &name))?;
                tags.iter().map(|tag| Ok(name.with_tag(tag)?)).collect::<Result<Vec<_>>>()?
            }
            _ => vec![name],
        };
        let mut pulled = Vec::new();
        for name in names {
            let one = pull::pull(&store, &from, &name, request.platform.as_ref(), tell)?;
            let meta = store.meta(&one.id).unwrap_or_default();
            self.image_event("pull", &name.familiar(), &name.familiar_name(), &meta);
            pulled.push(one);
        }
        Ok(pulled)
    }

    /// What a registry means by a name, and for which machines that is; nothing is kept of it.
    ///
    /// # Errors
    /// As [`pull::pull`].
    pub fn inspect_distribution(&self, name: &str, credentials: Credentials) -> Result<Distribution> {
        let name = wanted(name, "")?.with_default_tag();
        if is_reserved(&name) {
            return Err(Error::Invalid(Error::Reserved(name.familiar_name()).to_string()));
        }
        pull::distribution(&self.image_store()?, &repository(&name, credentials, None)?, &name)
    }

    /// Asks a registry whether it knows who asks.
    ///
    /// # Errors
    /// It does not, or cannot be asked.
    pub fn login(&self, credentials: Credentials) -> Result<()> {
        let name = Reference::parse(&format!("{}/login", domain_of(&credentials.serveraddress)))?;
        Ok(repository(&name, credentials.completed(), None)?.login()?)
    }
}

/// Where a name leads, by the configuration as it is now. Nothing is asked yet.
pub(super) fn repository(name: &Reference, credentials: Credentials, gone: Option<OwnedFd>) -> Result<Repository> {
    let http = Http::start(Config::load()?, gone).map_err(Error::Read)?;
    Ok(Repository::new(http, name, credentials)?)
}

/// The registry that a server's address means, as clients write it: the hub's has a path.
fn domain_of(address: &str) -> &str {
    match registry_of(address) {
        "" | "index.docker.io" | "registry-1.docker.io" => "docker.io",
        other => other,
    }
}

/// Whether the name stands for the image without layers, which no registry has.
fn is_reserved(name: &Reference) -> bool {
    name.familiar_name() == "scratch"
}
