//! Statements about an image, which BuildKit puts beside it in its index: where it comes from, what is in it.
//!
//! A pull keeps the index and not them: they are fetched when somebody asks, from where the image was, and not kept.

use serde_json::value::RawValue;

use crate::registry::Repository;

use super::manifest::{Document, Member, choose, is_attestation};
use super::meta::Descriptor;
use super::platform::Platform;
use super::{Error, Result, Store};

/// Largest statement, and all of one answer, in bytes: people ask for a list of packages, not for an image.
const MAX_STATEMENT: u64 = 16 << 20;
const MAX_ALL: u64 = 64 << 20;
/// Of a layer: what kind of statement it is.
const PREDICATE: &str = "in-toto.io/predicate-type";
/// Of an index's member: which other one it speaks of.
const SUBJECT: &str = "vnd.docker.reference.digest";

/// Which statements are asked for.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// About the image for this machine; none: for ours.
    pub platform: Option<Platform>,
    /// Of these kinds; none: of any.
    pub kinds: Vec<String>,
    /// Whether to bring them, or only to tell which there are.
    pub bodies: bool,
}

/// A statement.
#[derive(Debug, Clone)]
pub struct Statement {
    /// The blob that it is, and what its manifest says of that.
    pub member: Member,
    /// Its kind, a URI.
    pub kind: String,
    /// Itself, to the byte.
    pub body: Option<Box<RawValue>>,
}

/// The statements about the image of an index. `from`: where what is not here may be fetched.
///
/// # Errors
/// [`Error::Missing`]: the index has no image for that machine; the registry's; what came is too large, or no statement.
pub fn statements(
    store: &Store,
    target: &Descriptor,
    wanted: &Wanted,
    from: &dyn Fn() -> Result<Repository>,
) -> Result<Vec<Statement>> {
    let Some(index) = store.small_blob(&target.digest) else { return Ok(Vec::new()) };
    let index = read(&index, &target.digest)?;
    let Some(members) = &index.manifests else { return Ok(Vec::new()) };
    let Some(at) = choose(members, wanted.platform.as_ref()) else {
        let platform = wanted.platform.clone().unwrap_or_else(Platform::host);
        return Err(Error::NotInRegistry(format!("no manifest found for platform {platform}")));
    };
    let subject = &members[at].blob.digest;
    let says = |member: &&Member| {
        let of = member.annotations.as_ref().and_then(|all| all.get(SUBJECT));
        is_attestation(member) && of == Some(subject)
    };
    let Some(about) = members.iter().find(says) else { return Ok(Vec::new()) };
    let bytes = match store.small_blob(&about.blob.digest) {
        Some(bytes) => bytes,
        None => from()?.manifest(&about.blob.digest)?.bytes,
    };
    let manifest = read(&bytes, &about.blob.digest)?;
    let mut found = Vec::new();
    let mut room = MAX_ALL;
    for layer in manifest.layers.into_iter().flatten() {
        let Some(kind) = layer.annotations.as_ref().and_then(|all| all.get(PREDICATE)).cloned() else { continue };
        if !wanted.kinds.is_empty() && !wanted.kinds.contains(&kind) {
            continue;
        }
        let body = match wanted.bodies {
            true => Some(body(store, &layer.blob, &mut room, from)?),
            false => None,
        };
        found.push(Statement { member: layer, kind, body });
    }
    Ok(found)
}

fn read(bytes: &[u8], digest: &str) -> Result<Document> {
    serde_json::from_slice(bytes).map_err(|err| Error::Invalid(format!("manifest {digest}: {err}")))
}

fn body(
    store: &Store,
    blob: &Descriptor,
    room: &mut u64,
    from: &dyn Fn() -> Result<Repository>,
) -> Result<Box<RawValue>> {
    let bad = |why: &dyn std::fmt::Display| Error::NoStatement(format!("attestation statement {}: {why}", blob.digest));
    if blob.size > MAX_STATEMENT || blob.size > *room {
        return Err(bad(&format!("its {} bytes are too many", blob.size)));
    }
    *room -= blob.size;
    let bytes = match store.small_blob(&blob.digest) {
        Some(bytes) => bytes,
        None => from()?.small_blob(&blob.digest, blob.size)?,
    };
    serde_json::from_slice(&bytes).map_err(|err| bad(&err))
}
