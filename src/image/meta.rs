//! The record of an image: what a list needs without opening its configuration.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize};

use crate::model::time::Nanos;

use super::config::ImageConfig;

/// An image: `meta/<hex>.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageMeta {
    /// `sha256:` and the hash of its configuration.
    pub id: String,
    /// The image it was built from here, or empty.
    pub parent: String,
    /// When it was made, by its own word; 0: it does not say.
    pub created: Nanos,
    /// Bytes of its files.
    pub size: u64,
    /// Operating system.
    pub os: String,
    /// Processor architecture.
    pub architecture: String,
    /// Its variant, or empty.
    pub variant: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Layers, the lowest first.
    pub layers: Vec<LayerRef>,
    /// The manifests that it arrived with, the first one first: one image can be packed in several ways. Records of
    /// before that have one, or null.
    #[serde(alias = "manifest", deserialize_with = "one_or_many")]
    pub manifests: Vec<Manifest>,
    /// When it was last given a name here; 0: never.
    pub last_tagged: Nanos,
    /// The repositories that it was pulled from or pushed to.
    pub sources: BTreeSet<String>,
}

/// A manifest of an image that is here with all that it names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Manifest {
    /// Itself.
    pub blob: Descriptor,
    /// The blobs that it names; none: not recorded, they are those of the image's layers.
    pub names: Vec<Descriptor>,
}

/// A layer of an image.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LayerRef {
    /// Its directory's name.
    pub chain: String,
    /// Digest of the archive as unpacked, `sha256:…`.
    pub diff_id: String,
    /// The archive as it arrived.
    pub blob: Descriptor,
    /// Bytes of its files.
    pub size: u64,
}

/// A blob.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Descriptor {
    /// What it is.
    #[serde(rename = "mediaType")]
    pub media_type: String,
    /// `sha256:…`.
    pub digest: String,
    /// Bytes.
    pub size: u64,
}

/// A layer on disk: `layers/<chain>/layer.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LayerRecord {
    /// Digest of the archive as unpacked.
    pub diff_id: String,
    /// Chain id of the layer below, or empty.
    pub parent: String,
    /// Bytes of its files.
    pub size: u64,
    /// The archive it was unpacked from.
    pub blob: Descriptor,
    /// The id maps by which its files have their owners.
    pub ids: String,
    /// What could not be kept, for people.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl ImageMeta {
    /// The record of an image with this id, configuration and layers.
    pub fn new(id: String, config: &ImageConfig, layers: Vec<LayerRef>) -> Self {
        Self {
            id,
            parent: config.parent.clone().unwrap_or_default(),
            created: config.created_nanos(),
            size: layers.iter().map(|layer| layer.size).sum(),
            os: if config.os.is_empty() { "linux".to_owned() } else { config.os.clone() },
            architecture: config.architecture.clone(),
            variant: config.variant.clone().unwrap_or_default(),
            labels: config.config.as_ref().map(|config| config.labels.clone()).unwrap_or_default(),
            layers,
            manifests: Vec::new(),
            last_tagged: 0,
            sources: BTreeSet::new(),
        }
    }

    /// Adds a manifest that it does not have yet.
    pub fn add_manifest(&mut self, manifest: Manifest) {
        match self.manifests.iter_mut().find(|have| have.blob.digest == manifest.blob.digest) {
            Some(have) if have.names.is_empty() => *have = manifest,
            Some(_) => {}
            None => self.manifests.push(manifest),
        }
    }

    /// Digests of all blobs that it needs.
    pub fn blobs(&self) -> impl Iterator<Item = &str> {
        let layers = self.layers.iter().map(|layer| &layer.blob);
        let manifests = self.manifests.iter().flat_map(|one| std::iter::once(&one.blob).chain(&one.names));
        std::iter::once(self.id.as_str()).chain(layers.chain(manifests).map(|blob| blob.digest.as_str()))
    }

    /// Chain ids, the lowest first.
    pub fn chains(&self) -> Vec<String> {
        self.layers.iter().map(|layer| layer.chain.clone()).collect()
    }
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Manifest>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Many(Vec<Manifest>),
        One(Descriptor),
        None,
    }
    Ok(match Either::deserialize(deserializer)? {
        Either::Many(all) => all,
        Either::One(blob) => vec![Manifest { blob, names: Vec::new() }],
        Either::None => Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_before_several_manifests_are_read() {
        let of = |manifest: &str| {
            let text = format!(r#"{{"id":"sha256:1","manifest":{manifest}}}"#);
            serde_json::from_str::<ImageMeta>(&text).expect("record").manifests
        };
        assert_eq!(of("null"), []);
        let one = of(r#"{"mediaType":"m","digest":"sha256:2","size":3}"#);
        let blob = Descriptor { media_type: "m".to_owned(), digest: "sha256:2".to_owned(), size: 3 };
        assert_eq!(one, [Manifest { blob: blob.clone(), names: vec![] }]);
        // The same manifest, arriving again, tells what it names.
        let mut meta = ImageMeta { manifests: one, ..ImageMeta::default() };
        let full = Manifest { blob: blob.clone(), names: vec![blob] };
        meta.add_manifest(full.clone());
        meta.add_manifest(Manifest { names: vec![], ..full.clone() });
        assert_eq!(meta.manifests, [full]);
        let text = serde_json::to_string(&meta).expect("record");
        assert_eq!(serde_json::from_str::<ImageMeta>(&text).expect("record"), meta);
    }
}
