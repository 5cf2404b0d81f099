//! Wire types of what is asked of registries.

use schemars::JsonSchema;
use serde::Serialize;

use super::manifests::ImageDescriptor;
use crate::image::platform::Platform;
use crate::image::pull::Distribution;
use crate::registry::search::Found;

/// Answer of `GET /distribution/{name}/json`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct DistributionInspect {
    /// What the registry means by the name.
    pub descriptor: ImageDescriptor,
    /// The machines that it is for.
    pub platforms: Vec<OciPlatform>,
}

/// A machine.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct OciPlatform {
    /// Processor architecture in Go's words.
    pub architecture: String,
    /// Operating system.
    pub os: String,
    /// The architecture's variant.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

impl From<Distribution> for DistributionInspect {
    fn from(one: Distribution) -> Self {
        let platform = |Platform { os, architecture, variant }| OciPlatform { architecture, os, variant };
        Self { descriptor: one.target.into(), platforms: one.platforms.into_iter().map(platform).collect() }
    }
}

/// A repository that a search found.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SearchResult {
    /// How many people like it.
    pub star_count: i64,
    /// Whether the registry's owner vouches for it.
    pub is_official: bool,
    /// Its name as people are shown it.
    pub name: String,
    /// Always false.
    pub is_automated: bool,
    /// In words.
    pub description: String,
}

impl From<Found> for SearchResult {
    fn from(Found { name, description, star_count, is_official }: Found) -> Self {
        Self { star_count, is_official, name, is_automated: false, description: description.unwrap_or_default() }
    }
}

/// Answer of `POST /auth`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct LoginReply {
    /// In words.
    pub status: String,
    /// A token to use instead of the password: none is given here.
    pub identity_token: String,
}
