//! What of an image is to be pushed: all of it open before anything is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::image::meta::{Descriptor, ImageMeta};
use crate::image::platform::{Platform, none_of};
use crate::image::tree::Node;
use crate::image::{Error, Result, Store};
use crate::model::reference::Reference;
use crate::registry::upload::Outbound;

/// Other repositories that are asked about in one push.
const MAX_SOURCES: usize = 8;

/// What to push.
#[derive(Debug)]
pub struct Plan {
    /// Under which name.
    pub name: Reference,
    /// The image that is meant.
    pub meta: ImageMeta,
    /// What the name is to mean to the registry.
    pub target: Descriptor,
    /// The index that would be pushed if all of it were here.
    pub instead_of: Option<Descriptor>,
    /// Manifests and indexes, what one names before it.
    pub documents: Vec<Document>,
    /// Layers, the lowest first, then configurations.
    pub blobs: Vec<Blob>,
}

/// A manifest or an index.
#[derive(Debug)]
pub struct Document {
    /// Itself.
    pub digest: String,
    /// What it is.
    pub media_type: String,
    /// To the byte.
    pub bytes: Vec<u8>,
}

/// A blob to bring.
#[derive(Debug, Clone)]
pub struct Blob {
    /// Itself.
    pub out: Outbound,
    /// Whether people are told of it.
    pub is_layer: bool,
    /// The path of another repository of the registry that should have it.
    pub source: Option<String>,
}

/// What to push under a name; for one machine only, if one is given.
///
/// # Errors
/// [`Error::Missing`]; [`Error::NoPlatform`]; [`Error::Damaged`] if some of it is not here; those of the file system.
pub fn plan(store: &Store, name: &Reference, platform: Option<&Platform>) -> Result<Plan> {
    let _hold = store.hold()?;
    let missing = || Error::Missing(name.familiar());
    let there = store.read_ref(name)?.ok_or_else(missing)?;
    let meta = store.meta(&there.id)?;
    let node = store.tree_of(&meta, there.target.as_ref())?;
    let top = choose(store, &node, name, &meta, platform)?;
    let mut plan = Plan {
        name: name.clone(),
        target: described(top),
        instead_of: (platform.is_none() && top.blob != node.blob).then(|| described(&node)),
        meta,
        documents: Vec::new(),
        blobs: Vec::new(),
    };
    let sources = sources(store, name)?;
    plan.add(store, top, &sources)?;
    plan.blobs.sort_by_key(|blob| !blob.is_layer);
    Ok(plan)
}

impl Plan {
    /// Paths of the repositories that blobs may be taken over from.
    pub fn sources(&self) -> Vec<String> {
        let all: BTreeSet<&String> = self.blobs.iter().filter_map(|blob| blob.source.as_ref()).collect();
        all.into_iter().cloned().collect()
    }

    fn add(&mut self, store: &Store, node: &Node, sources: &BTreeMap<String, String>) -> Result<()> {
        for below in node.members.iter().filter_map(|(_, below)| below.as_ref()) {
            self.add(store, below, sources)?;
        }
        let config = node.document.config.iter().map(|config| (&config.blob, false));
        let layers = node.document.layers.iter().flatten().map(|layer| (&layer.blob, true));
        for (blob, is_layer) in config.chain(layers) {
            if self.blobs.iter().all(|known| known.out.digest != blob.digest) {
                let file = Arc::new(store.open_blob(blob)?);
                let out = Outbound { digest: blob.digest.clone(), size: blob.size, file };
                self.blobs.push(Blob { out, is_layer, source: sources.get(&blob.digest).cloned() });
            }
        }
        if self.documents.iter().all(|known| known.digest != node.blob.digest) {
            let (digest, media_type) = (node.blob.digest.clone(), node.document.kind(&node.blob.media_type));
            self.documents.push(Document { digest, media_type, bytes: node.bytes.clone() });
        }
        Ok(())
    }
}

/// All of what the name means, if it is here; else the manifest of its image; or the one for a machine.
fn choose<'a>(
    store: &Store,
    node: &'a Node,
    name: &Reference,
    meta: &ImageMeta,
    platform: Option<&Platform>,
) -> Result<&'a Node> {
    let Some(want) = platform else {
        if node.is_whole() {
            return Ok(node);
        }
        let all = node.manifests();
        let own = all.iter().find(|(_, manifest)| manifest.image_id() == meta.id);
        return own.map(|(_, manifest)| *manifest).ok_or_else(|| Error::Damaged(node.blob.digest.clone()));
    };
    let wanted = std::slice::from_ref(want);
    store.fitting(node, wanted).first().copied().ok_or_else(|| none_of(name.familiar(), wanted))
}

fn described(node: &Node) -> Descriptor {
    Descriptor { media_type: node.document.kind(&node.blob.media_type), ..node.blob.clone() }
}

/// By digest of a blob, a repository of the same registry that had it once: where an image with it was pulled from or
/// pushed to. A wrong guess costs nothing.
fn sources(store: &Store, to: &Reference) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let mut paths = BTreeSet::new();
    for one in store.refs()? {
        let other = one.name.digest().is_some() && one.name.domain() == to.domain() && one.name.path() != to.path();
        if !other || (paths.len() >= MAX_SOURCES && !paths.contains(one.name.path())) {
            continue;
        }
        // It may be removed at any time.
        let Ok(meta) = store.meta(&one.id) else { continue };
        paths.insert(one.name.path().to_owned());
        for digest in meta.blobs() {
            found.entry(digest.to_owned()).or_insert_with(|| one.name.path().to_owned());
        }
    }
    Ok(found)
}
