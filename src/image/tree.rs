//! What the store has of what a registry means by a name: a manifest, or an index with some of its members.

use std::fs::{self, File};
use std::io;

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::model::ids::hex;
use crate::model::reference::sha256_hex;

use super::compress::Format;
use super::config::ImageConfig;
use super::manifest::{Document, Member, OCI_CONFIG, OCI_MANIFEST, is_attestation};
use super::meta::{Descriptor, ImageMeta};
use super::platform::Platform;
use super::{Error, Result, Store};

/// Largest document that is read whole, in bytes.
pub const MAX_DOCUMENT: u64 = 16 << 20;
/// Indexes within indexes.
const MAX_DEPTH: usize = 4;

/// A manifest that is here with all that it names, or an index with those of its members that are.
#[derive(Debug, Clone, Default)]
pub struct Node {
    /// Itself.
    pub blob: Descriptor,
    /// To the byte.
    pub bytes: Vec<u8>,
    /// What is in it.
    pub document: Document,
    /// Of an index: the members, with what is here of each.
    pub members: Vec<(Member, Option<Node>)>,
}

impl Node {
    /// Whether it is an index.
    pub fn is_index(&self) -> bool {
        self.document.manifests.is_some()
    }

    /// The manifests that are here, each with what its index says of it.
    pub fn manifests(&self) -> Vec<(Option<&Member>, &Node)> {
        if !self.is_index() {
            return vec![(None, self)];
        }
        let here = self.members.iter().filter_map(|(member, node)| Some((member, node.as_ref()?)));
        here.flat_map(|(member, node)| match node.is_index() {
            true => node.manifests(),
            false => vec![(Some(member), node)],
        })
        .collect()
    }

    /// Whether all that it names is here.
    pub fn is_whole(&self) -> bool {
        self.members.iter().all(|(_, node)| node.as_ref().is_some_and(Self::is_whole))
    }

    /// The id of the image that a manifest is of.
    pub fn image_id(&self) -> &str {
        self.document.config.as_ref().map_or("", |config| &config.blob.digest)
    }
}

impl Store {
    /// A small blob, if it is here and what it should be.
    pub fn small_blob(&self, digest: &str) -> Option<Vec<u8>> {
        let name = sha256_hex(digest)?;
        let path = self.blob(name);
        let bytes = fs::metadata(&path).ok().filter(|meta| meta.len() <= MAX_DOCUMENT).and(fs::read(&path).ok())?;
        (hex(&Sha256::digest(&bytes)) == name).then_some(bytes)
    }

    /// Whether a blob is here, by its name and its length.
    pub fn has_blob(&self, blob: &Descriptor) -> bool {
        let hex = sha256_hex(&blob.digest);
        hex.is_some_and(|hex| fs::metadata(self.blob(hex)).is_ok_and(|meta| meta.len() == blob.size))
    }

    /// What is here of a manifest or an index; none: it is not, or a manifest's blobs are not.
    pub fn tree(&self, target: &Descriptor) -> Option<Node> {
        self.node(target, 0)
    }

    /// What is here of what a name means; else of what its image arrived as; else a manifest that follows from its layers.
    ///
    /// # Errors
    /// [`Error::Damaged`], or those of the file system.
    pub fn tree_of(&self, meta: &ImageMeta, target: Option<&Descriptor>) -> Result<Node> {
        let known = target.into_iter().chain(meta.manifests.iter().map(|manifest| &manifest.blob));
        let here = known.filter_map(|target| self.tree(target)).find(|node| !node.manifests().is_empty());
        here.map_or_else(|| self.made_up(meta), Ok)
    }

    /// A manifest for an image that came without: always the same one for the same image. Its layers are as they came.
    fn made_up(&self, meta: &ImageMeta) -> Result<Node> {
        let config = self.small_blob(&meta.id).ok_or_else(|| Error::Damaged(meta.id.clone()))?;
        let mut layers = Vec::new();
        for layer in &meta.layers {
            if !self.has_blob(&layer.blob) {
                return Err(Error::Damaged(layer.blob.digest.clone()));
            }
            let format = Format::of_file(&self.blob(sha256_hex(&layer.blob.digest).unwrap_or_default()))?;
            layers.push(json!({
                "mediaType": format.layer_media_type(), "digest": layer.blob.digest, "size": layer.blob.size,
            }));
        }
        let config = json!({ "mediaType": OCI_CONFIG, "digest": meta.id, "size": config.len() });
        let manifest = json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers });
        let bytes = manifest.to_string().into_bytes();
        let document: Document = serde_json::from_slice(&bytes).map_err(|err| Error::Invalid(err.to_string()))?;
        let digest = format!("sha256:{}", hex(&Sha256::digest(&bytes)));
        let blob = Descriptor { media_type: OCI_MANIFEST.to_owned(), digest, size: bytes.len() as u64 };
        Ok(Node { blob, bytes, document, members: Vec::new() })
    }

    /// Opens a blob, so that nobody can take it away.
    ///
    /// # Errors
    /// [`Error::Damaged`], or those of the file system.
    pub fn open_blob(&self, blob: &Descriptor) -> Result<File> {
        let damaged = || Error::Damaged(blob.digest.clone());
        let path = self.blob(sha256_hex(&blob.digest).ok_or_else(damaged)?);
        let file = match File::open(&path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Err(damaged()),
            other => other.map_err(Error::at(&path))?,
        };
        let size = file.metadata().map_err(Error::at(&path))?.len();
        if size == blob.size { Ok(file) } else { Err(damaged()) }
    }

    fn node(&self, target: &Descriptor, depth: usize) -> Option<Node> {
        let bytes = self.small_blob(&target.digest).filter(|_| depth < MAX_DEPTH)?;
        let document: Document = serde_json::from_slice(&bytes).ok()?;
        let blob = Descriptor { size: bytes.len() as u64, ..target.clone() };
        let mut node = Node { blob, bytes, document, members: Vec::new() };
        match &node.document.manifests {
            Some(members) => {
                let below = members.iter().map(|member| (member.clone(), self.node(&member.blob, depth + 1)));
                node.members = below.collect();
                Some(node)
            }
            None => (node.document.config.is_some() && node.document.blobs().iter().all(|one| self.has_blob(one)))
                .then_some(node),
        }
    }

    /// Those of the manifests below that are for one of these machines, the best first.
    pub fn fitting<'a>(&self, node: &'a Node, platforms: &[Platform]) -> Vec<&'a Node> {
        let fit = |(member, manifest): (Option<&Member>, &'a Node)| {
            let have = self.platform_of(member, manifest)?;
            Some((platforms.iter().filter_map(|want| have.fits(want)).min()?, manifest))
        };
        let mut ranked: Vec<_> = node.manifests().into_iter().filter_map(fit).collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, manifest)| manifest).collect()
    }

    /// The machine that a manifest is for, by its index's word or by its configuration's; none of statements about an
    /// image.
    pub fn platform_of(&self, member: Option<&Member>, manifest: &Node) -> Option<Platform> {
        if member.is_some_and(is_attestation) {
            return None;
        }
        match member.and_then(|member| member.platform.clone()) {
            Some(platform) => Some(platform),
            None => Some(Platform::of(&ImageConfig::parse(&self.small_blob(manifest.image_id())?).ok()?)),
        }
    }
}
