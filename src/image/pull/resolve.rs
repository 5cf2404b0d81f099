//! From a name to a manifest and a configuration: what the registry means by the name, and which image of it.

use crate::image::config::ImageConfig;
use crate::image::manifest::{self, Document};
use crate::image::meta::Descriptor;
use crate::image::platform::Platform;
use crate::image::{Error, Result, Store};
use crate::model::reference::{Reference, sha256_hex};
use crate::registry::{self, Repository};

/// Indexes within indexes.
const MAX_DEPTH: usize = 4;
/// Largest configuration in bytes.
const MAX_CONFIG: u64 = 16 << 20;

/// What a name means.
#[derive(Debug)]
pub struct Resolved {
    /// What the registry means by the name.
    pub target: Descriptor,
    /// The image's own manifest.
    pub manifest: Descriptor,
    /// What is in that.
    pub document: Document,
    /// Manifest and indexes, to the byte, with their digests.
    pub bytes: Vec<(String, Vec<u8>)>,
}

/// Asks the registry what a name means, and chooses the image for a platform.
///
/// # Errors
/// [`Error::NotInRegistry`] if there is none; or it is no image; or the registry's.
pub fn resolve(store: &Store, from: &Repository, name: &Reference, platform: Option<&Platform>) -> Result<Resolved> {
    let explain = |err: Error| explain(err, name);
    let mut wanted = match name.digest() {
        Some(digest) => digest.to_owned(),
        None => {
            let tag = name.tag().unwrap_or_default();
            from.look(tag).filter(|digest| store.small_blob(digest).is_some()).unwrap_or_else(|| tag.to_owned())
        }
    };
    let mut bytes = Vec::new();
    let mut target = None;
    for _ in 0..MAX_DEPTH {
        let (blob, content, document) = document(store, from, &wanted).map_err(explain)?;
        bytes.push((blob.digest.clone(), content));
        target.get_or_insert_with(|| blob.clone());
        if document.schema == Some(1) {
            let text = "the image has a manifest of version 2, schema 1, which is not supported any more: it was made \
                        before 2016, and has to be pushed anew";
            return Err(Error::Invalid(text.to_owned()));
        }
        let Some(members) = &document.manifests else {
            if let Some(why) = document.no_image() {
                return Err(Error::Invalid(why));
            }
            if document.config.is_none() {
                return Err(Error::Invalid(format!("{} is no manifest of an image", blob.digest)));
            }
            let target = target.unwrap_or_else(|| blob.clone());
            return Ok(Resolved { target, manifest: blob, document, bytes });
        };
        let Some(at) = manifest::choose(members, platform) else {
            let want = platform.cloned().unwrap_or_else(Platform::host);
            let text = format!("no matching manifest for {want} in the manifest list entries");
            return Err(Error::NotInRegistry(text));
        };
        wanted.clone_from(&members[at].blob.digest);
        if sha256_hex(&wanted).is_none() {
            return Err(Error::Invalid(format!("unsupported digest {wanted:?}")));
        }
    }
    Err(Error::Invalid("indexes too deep".to_owned()))
}

/// What a name means, without pulling it.
#[derive(Debug)]
pub struct Distribution {
    /// What the registry means by the name.
    pub target: Descriptor,
    /// The machines that it is for.
    pub platforms: Vec<Platform>,
}

/// Asks the registry what a name means, and for which machines that is.
///
/// # Errors
/// As [`resolve`].
pub fn distribution(store: &Store, from: &Repository, name: &Reference) -> Result<Distribution> {
    let wanted = name.digest().or(name.tag()).unwrap_or_default();
    let (target, _, document) = document(store, from, wanted).map_err(|err| explain(err, name))?;
    let platforms = match &document.manifests {
        Some(members) => members.iter().filter_map(|member| member.platform.clone()).collect(),
        None => vec![Platform::of(&config(store, from, &document)?.2)],
    };
    Ok(Distribution { target, platforms })
}

/// The configuration that a manifest names, to the byte.
///
/// # Errors
/// The registry's; or it is too large, or another one.
pub fn config(store: &Store, from: &Repository, document: &Document) -> Result<(Descriptor, Vec<u8>, ImageConfig)> {
    let blob = document.config.clone().unwrap_or_default().blob;
    let bytes = match store.small_blob(&blob.digest) {
        Some(bytes) => bytes,
        None => {
            if blob.size > MAX_CONFIG || sha256_hex(&blob.digest).is_none() {
                return Err(Error::Invalid(format!("the configuration {} is too large", blob.digest)));
            }
            from.small_blob(&blob.digest, MAX_CONFIG)?
        }
    };
    let config = ImageConfig::parse(&bytes)?;
    Ok((blob, bytes, config))
}

/// A manifest or an index, to the byte, and what is in it.
fn document(store: &Store, from: &Repository, wanted: &str) -> Result<(Descriptor, Vec<u8>, Document)> {
    let (told, digest, bytes) = match store.small_blob(wanted) {
        Some(bytes) => (String::new(), wanted.to_owned(), bytes),
        None => {
            let fetched = from.manifest(wanted)?;
            (fetched.media_type, fetched.digest, fetched.bytes)
        }
    };
    let document: Document =
        serde_json::from_slice(&bytes).map_err(|err| Error::Invalid(format!("manifest {digest}: {err}")))?;
    let blob = Descriptor { media_type: document.kind(&told), digest, size: bytes.len() as u64 };
    Ok((blob, bytes, document))
}

/// A registry's refusal as Docker's users know it.
pub fn explain(err: Error, name: &Reference) -> Error {
    let Error::Registry(registry::Error::Refused { status, code, text, .. }) = &err else { return err };
    let (short, whole) = (name.familiar_name(), name.familiar());
    Error::NotInRegistry(match (code.as_str(), status) {
        ("MANIFEST_UNKNOWN", _) => format!("manifest for {whole} not found: {text}"),
        ("NAME_UNKNOWN", _) => format!("repository {short} not found: {text}"),
        ("DENIED" | "UNAUTHORIZED", _) | (_, 401 | 403) => {
            format!("pull access denied for {short}, repository does not exist or may require 'docker login': {text}")
        }
        (_, 404) => format!("manifest for {whole} not found: {text}"),
        _ => return err,
    })
}
