//! The images that one name has for several machines: those of the index that it means. The name itself means one of
//! them; the others are *beside* it: they have no name of their own, and go with the one that they share.

use std::collections::BTreeMap;

use super::Store;
use super::manifest::{DOCKER_INDEX, Document, Member, OCI_INDEX, is_attestation};
use super::meta::{Descriptor, ImageMeta};
use super::platform::Platform;
use super::refs::Ref;
use super::tree::Node;

/// What kind of thing a manifest is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// An image for this machine, if that was told.
    Image(Option<Platform>),
    /// Statements about the manifest with this digest.
    Attestation(String),
    /// Something else.
    Unknown,
}

/// A manifest of an image.
#[derive(Debug, Clone)]
pub struct Variant {
    /// The manifest, with what its index says of it.
    pub member: Member,
    /// Of what it is.
    pub kind: Kind,
    /// Whether all that it names is here.
    pub available: bool,
    /// Bytes of what of it is here.
    pub content: u64,
    /// The image's record, if it is here.
    pub image: Option<ImageMeta>,
}

impl Store {
    /// All manifests of what a name means; without one, of what an image arrived with.
    pub fn variants(&self, meta: &ImageMeta, target: Option<&Descriptor>) -> Vec<Variant> {
        match self.tree_of(meta, target) {
            Ok(node) if node.is_index() => {
                node.members.iter().flat_map(|one| self.below(&one.0, one.1.as_ref())).collect()
            }
            Ok(node) => vec![self.variant(&Member { blob: node.blob.clone(), ..Member::default() }, Some(&node))],
            Err(err) => {
                tracing::warn!("manifests of {}: {err}", meta.id);
                Vec::new()
            }
        }
    }

    fn below(&self, member: &Member, node: Option<&Node>) -> Vec<Variant> {
        match node {
            Some(node) if node.is_index() => {
                node.members.iter().flat_map(|one| self.below(&one.0, one.1.as_ref())).collect()
            }
            _ => vec![self.variant(member, node)],
        }
    }

    fn variant(&self, member: &Member, node: Option<&Node>) -> Variant {
        let said = |key: &str| member.annotations.as_ref().and_then(|all| all.get(key)).cloned();
        let image = node.and_then(|node| self.meta(node.image_id()).ok());
        let kind = match (is_attestation(member), said("vnd.docker.reference.digest")) {
            (true, Some(of)) => Kind::Attestation(of),
            (true, None) => Kind::Unknown,
            (false, _) => Kind::Image(match node {
                Some(node) => self.platform_of(Some(member), node),
                None => member.platform.clone(),
            }),
        };
        Variant { member: member.clone(), kind, available: node.is_some(), content: self.content(member, node), image }
    }

    /// Bytes of a manifest and of its blobs that are here.
    fn content(&self, member: &Member, node: Option<&Node>) -> u64 {
        let read = || {
            let bytes = self.small_blob(&member.blob.digest)?;
            Some((bytes.len(), serde_json::from_slice::<Document>(&bytes).ok()?.blobs()))
        };
        let known = node.map(|node| (node.bytes.len(), node.document.blobs()));
        let Some((length, blobs)) = known.or_else(read) else { return 0 };
        let here = blobs.iter().filter(|blob| self.has_blob(blob)).map(|blob| blob.size);
        length as u64 + here.sum::<u64>()
    }

    /// Ids of images without a name that an index has beside the image of a name, with that one's id.
    pub fn beside(&self, refs: &[Ref]) -> BTreeMap<String, String> {
        let mut beside = BTreeMap::new();
        let mut seen = Vec::new();
        for one in refs {
            let Some(target) = one.target.as_ref().filter(|target| is_index(target) && !seen.contains(target)) else {
                continue;
            };
            seen.push(target);
            let tree = self.tree(target).unwrap_or_default();
            let others = tree.manifests().into_iter().map(|(_, manifest)| manifest.image_id());
            let nameless = others.filter(|id| !refs.iter().any(|named| named.id == *id));
            beside.extend(nameless.map(|id| (id.to_owned(), one.id.clone())));
        }
        beside
    }
}

/// Whether a target may be an index; of before they were told apart, some are of no known type.
fn is_index(target: &Descriptor) -> bool {
    [OCI_INDEX, DOCKER_INDEX, ""].contains(&target.media_type.as_str())
}
