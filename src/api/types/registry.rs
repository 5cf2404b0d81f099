//! Wire types of what is asked of registries.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use super::manifests::ImageDescriptor;
use crate::image::attestations::Statement;
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

/// A statement about an image.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct AttestationStatement {
    /// The blob that it is.
    pub descriptor: StatementDescriptor,
    /// Its kind, a URI.
    pub predicate_type: String,
    /// Itself, to the byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub statement: Option<Box<RawValue>>,
}

/// A blob, and what its manifest says of it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct StatementDescriptor {
    /// Media type, digest and size.
    #[serde(flatten)]
    pub blob: ImageDescriptor,
    /// What else is said of it.
    pub annotations: BTreeMap<String, String>,
}

impl From<Statement> for AttestationStatement {
    fn from(one: Statement) -> Self {
        let annotations = one.member.annotations.unwrap_or_default();
        let descriptor = StatementDescriptor { blob: one.member.blob.into(), annotations };
        Self { descriptor, predicate_type: one.kind, statement: one.body }
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
