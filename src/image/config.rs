//! The configuration blob of an image, whose hash is the image's id.

use serde::{Deserialize, Serialize};

use crate::model::config::ContainerConfig;
use crate::model::reference::sha256_hex;
use crate::model::time::{self, Nanos};

use super::{Error, Result};

/// An image's configuration: what OCI's and Docker's formats share, and Docker's additions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// Processor architecture in Go's words.
    pub architecture: String,
    /// Its variant, such as `v8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Operating system.
    pub os: String,
    /// Its version.
    #[serde(rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// When it was made, in RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The message of a commit or an import.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The engine that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker_version: Option<String>,
    /// The image it was made from, where that was made here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Defaults of its containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<ContainerConfig>,
    /// Its layers.
    pub rootfs: RootFs,
    /// How it was made, a step a layer, and steps without any.
    #[serde(deserialize_with = "crate::model::config::or_default")]
    pub history: Vec<History>,
}

/// The layers of an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Digests of the unpacked archives, the lowest first.
    #[serde(deserialize_with = "crate::model::config::or_default")]
    pub diff_ids: Vec<String>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: "layers".to_owned(), diff_ids: Vec::new() }
    }
}

/// One step in the making of an image.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// When, in RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By which command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// By whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// A message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether it made no layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub empty_layer: Option<bool>,
}

impl ImageConfig {
    /// Reads the blob.
    ///
    /// # Errors
    /// [`Error::Archive`] if it is not the configuration of an image that this engine can run.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let config: Self = serde_json::from_slice(bytes)
            .map_err(|err| Error::Archive(format!("invalid image configuration: {err}")))?;
        if let Some(bad) = config.rootfs.diff_ids.iter().find(|id| sha256_hex(id).is_none()) {
            return Err(Error::Archive(format!("invalid image configuration: bad diff id {bad:?}")));
        }
        if !config.os.is_empty() && config.os != "linux" {
            return Err(Error::Archive(format!("cannot load {} image on linux", config.os)));
        }
        Ok(config)
    }

    /// When it was made; 0 if it does not say.
    pub fn created_nanos(&self) -> Nanos {
        // Go's zero time means "not said", and is before what nanoseconds can count.
        self.created.as_deref().and_then(time::parse_rfc3339).unwrap_or(0)
    }

    /// Labels and the rest of the containers' defaults.
    pub fn defaults(&self) -> ContainerConfig {
        self.config.clone().unwrap_or_default()
    }
}

/// This machine's architecture in Go's words.
pub fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}
