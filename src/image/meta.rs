//! The record of an image: what a list needs without opening its configuration.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
    /// The manifest it arrived with.
    pub manifest: Option<Descriptor>,
    /// When it was last given a name here; 0: never.
    pub last_tagged: Nanos,
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
            manifest: None,
            last_tagged: 0,
        }
    }

    /// Chain ids, the lowest first.
    pub fn chains(&self) -> Vec<String> {
        self.layers.iter().map(|layer| layer.chain.clone()).collect()
    }
}
