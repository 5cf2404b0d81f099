//! Finds an image by what a person calls it.

use std::path::PathBuf;

use crate::model::config::ContainerConfig;
use crate::model::ids::{is_full_id, is_id_prefix};
use crate::model::reference::{Reference, sha256_hex};
use crate::sys::regular;

use super::config::ImageConfig;
use super::meta::{Descriptor, ImageMeta};
use super::platform::Platform;
use super::{Error, Result, Store};

/// An image with all that a container needs of it.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its record.
    pub meta: ImageMeta,
    /// Its configuration blob.
    pub config: ImageConfig,
}

impl Image {
    /// `sha256:…`.
    pub fn id(&self) -> &str {
        &self.meta.id
    }

    /// Defaults of its containers.
    pub fn defaults(&self) -> ContainerConfig {
        self.config.defaults()
    }

    /// Chain ids of its layers, the lowest first: what `ContainerRecord.layers` holds.
    pub fn chains(&self) -> Vec<String> {
        self.meta.chains()
    }

    /// What it is for.
    pub fn platform(&self) -> Platform {
        let ImageMeta { os, architecture, variant, .. } = &self.meta;
        Platform { os: os.clone(), architecture: architecture.clone(), variant: variant.clone() }
    }

    /// Whether it is for this platform; a variant that is not named is any.
    fn is_for(&self, want: &Platform) -> bool {
        let have = self.platform();
        let any = have.variant.is_empty() || want.variant.is_empty();
        have.os == want.os && have.architecture == want.architecture && (any || have.variant == want.variant)
    }
}

/// Finds an image by name, id, or the unambiguous beginning of an id, and reads its configuration. Of several that the
/// name has for different machines: the one for `platform`; none: the one that it means.
///
/// To use it, hold [`Store::hold`] from before until the record that names its layers is written.
///
/// # Errors
/// [`Error::Missing`], [`Error::Reference`], [`Error::OtherPlatform`], or those of the file system.
pub fn resolve(store: &Store, name: &str, platform: Option<&Platform>) -> Result<Image> {
    resolve_named(store, name, platform).map(|found| found.image)
}

/// What a name led to.
#[derive(Debug, Clone)]
pub struct Found {
    /// The image.
    pub image: Image,
    /// The id of the one that the name means, beside which it may be.
    pub named: String,
    /// What the name means to a registry, if it is a name.
    pub target: Option<Descriptor>,
}

/// As [`resolve`], with what the name itself means.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_named(store: &Store, name: &str, platform: Option<&Platform>) -> Result<Found> {
    let (named, target) = store.locate(name)?;
    let image = store.image(&named)?;
    let Some(want) = platform.filter(|want| !image.is_for(want)) else { return Ok(Found { image, named, target }) };
    let tree = target.as_ref().and_then(|target| store.tree(target)).unwrap_or_default();
    let mut beside = tree.manifests().into_iter().filter_map(|(_, manifest)| store.image(manifest.image_id()).ok());
    match beside.find(|image| image.is_for(want)) {
        Some(image) => Ok(Found { image, named, target }),
        None => {
            let (have, want) = (image.platform().to_string(), want.to_string());
            Err(Error::OtherPlatform { name: name.to_owned(), have, want })
        }
    }
}

/// Directories of an image's layers, the lowest first, for overlayfs.
pub fn layers_of(store: &Store, chains: &[String]) -> Vec<PathBuf> {
    chains.iter().map(|chain| store.layer_diff(chain)).collect()
}

impl Store {
    /// The id of the image that a person calls so.
    ///
    /// # Errors
    /// As [`resolve`].
    pub fn find(&self, name: &str) -> Result<String> {
        self.locate(name).map(|(id, _)| id)
    }

    /// The id of the image that a person calls so, and what that name means to a registry, if it is a name. A name wins
    /// over the beginning of an id, as in Docker.
    ///
    /// # Errors
    /// As [`resolve`].
    pub fn locate(&self, name: &str) -> Result<(String, Option<Descriptor>)> {
        let missing = |shown: String| Err(Error::Missing(shown));
        let bare = name.strip_prefix("sha256:").unwrap_or(name);
        if is_full_id(bare) {
            let id = format!("sha256:{bare}");
            return self.meta(&id).map(|meta| (meta.id, None)).map_err(|err| match err {
                Error::Missing(_) => Error::Missing(name.to_owned()),
                other => other,
            });
        }
        let reference = Reference::parse(name).map(Reference::lookup_key);
        if let Ok(reference) = &reference
            && let Some(there) = self.read_ref(reference)?
            && self.meta_path(&there.id).exists()
        {
            return Ok((there.id, there.target));
        }
        if is_id_prefix(bare) {
            // Of an ambiguous one nobody knows which is meant: Docker says that there is none.
            if let [id] = self.ids_with_prefix(bare)?.as_slice() {
                return Ok((id.clone(), None));
            }
        }
        // A digest names a manifest; an image that was loaded here is also found by its own id after the name.
        let reference = reference?;
        if let Some(digest) = reference.digest()
            && let Some(hex) = sha256_hex(digest)
            && let Ok(meta) = self.meta(&format!("sha256:{hex}"))
            && self.refs()?.iter().any(|there| there.id == meta.id && there.name.name() == reference.name())
        {
            return Ok((meta.id, None));
        }
        missing(reference.familiar())
    }

    fn image(&self, id: &str) -> Result<Image> {
        Ok(Image { meta: self.meta(id)?, config: self.config(id)? })
    }

    /// Reads the configuration of an image.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Archive`], or those of the file system.
    pub fn config(&self, id: &str) -> Result<ImageConfig> {
        let path = self.blob(sha256_hex(id).ok_or_else(|| Error::Missing(id.to_owned()))?);
        let bytes = regular::read(&path).map_err(|err| match err.kind() {
            std::io::ErrorKind::NotFound => Error::Missing(id.to_owned()),
            _ => Error::at(&path)(err),
        })?;
        ImageConfig::parse(&bytes)
    }
}
