//! Wire types of what is asked of registries.

use schemars::JsonSchema;
use serde::Serialize;

use super::images::ImageDescriptor;
use crate::image::platform::Platform;
use crate::image::pull::Distribution;

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

/// Answer of `POST /auth`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct LoginReply {
    /// In words.
    pub status: String,
    /// A token to use instead of the password: none is given here.
    pub identity_token: String,
}
