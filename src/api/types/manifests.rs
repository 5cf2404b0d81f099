//! Wire types of what is told of an image's manifests, and of where an image came from.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use crate::engine::images::InUse;
use crate::image::meta::Descriptor;
use crate::image::platform::Platform;
use crate::image::variants::Kind;

/// A blob.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageDescriptor {
    /// What it is.
    pub media_type: String,
    /// `sha256:…`.
    pub digest: String,
    /// Bytes.
    pub size: i64,
}

/// A machine, in OCI's words.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct OciPlatform {
    /// Processor architecture.
    pub architecture: String,
    /// Operating system.
    pub os: String,
    /// The architecture's variant.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

/// A manifest of an image.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ManifestSummary {
    /// Its digest.
    #[serde(rename = "ID")]
    pub id: String,
    /// Itself.
    pub descriptor: ManifestDescriptor,
    /// Whether all that it names is here.
    pub available: bool,
    /// Bytes of it.
    pub size: ManifestSize,
    /// `image`, `attestation` or `unknown`.
    pub kind: String,
    /// Of an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_data: Option<ImageData>,
    /// Of statements about an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attestation_data: Option<AttestationData>,
}

/// A manifest, in the words of its index.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ManifestDescriptor {
    /// Itself.
    #[serde(flatten)]
    pub blob: ImageDescriptor,
    /// The machine that it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<OciPlatform>,
    /// What is said of it besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// Bytes of a manifest.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ManifestSize {
    /// With what is unpacked of it.
    pub total: i64,
    /// Of its blobs that are here.
    pub content: i64,
}

/// What a manifest's image is.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ImageData {
    /// The machine that it is for.
    pub platform: OciPlatform,
    /// Where it came from, if that was asked for and is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// Bytes of its files.
    pub size: UnpackedSize,
    /// Ids of the containers that use it.
    pub containers: Vec<String>,
}

/// Bytes of an image's files.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct UnpackedSize {
    /// Unpacked; 0: it is not.
    pub unpacked: i64,
}

/// What statements are about.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct AttestationData {
    /// Digest of the manifest.
    pub r#for: String,
}

/// Where an image came from. Signatures are not looked at, and builds are not recorded: neither is ever there.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Identity {
    /// The repositories that it was pulled from or pushed to.
    pub pull: Vec<PullIdentity>,
}

/// A repository.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct PullIdentity {
    /// Its name.
    pub repository: String,
}

impl Identity {
    /// Of an image that these repositories have; none: nothing is known.
    pub fn of(sources: &BTreeSet<String>) -> Option<Self> {
        let pull: Vec<PullIdentity> = sources.iter().map(|name| PullIdentity { repository: name.clone() }).collect();
        (!pull.is_empty()).then_some(Self { pull })
    }
}

impl ManifestSummary {
    /// What is known of a manifest, with where its image came from or without.
    pub fn of(one: InUse, identity: bool) -> Self {
        let variant = one.variant;
        let unpacked = variant.image.as_ref().map_or(0, |image| image.size);
        let member = variant.member;
        let digest = member.blob.digest.clone();
        let descriptor = ManifestDescriptor {
            blob: member.blob.into(),
            platform: member.platform.map(Into::into),
            annotations: member.annotations,
        };
        let source = variant.image.as_ref().filter(|_| identity).and_then(|image| Identity::of(&image.sources));
        let (kind, image_data, attestation_data) = match variant.kind {
            Kind::Image(platform) => {
                let platform = platform.map(Into::into).unwrap_or_default();
                let size = UnpackedSize { unpacked: signed(unpacked) };
                ("image", Some(ImageData { platform, identity: source, size, containers: one.containers }), None)
            }
            Kind::Attestation(of) => ("attestation", None, Some(AttestationData { r#for: of })),
            Kind::Unknown => ("unknown", None, None),
        };
        let size = ManifestSize { total: signed(variant.content + unpacked), content: signed(variant.content) };
        Self {
            id: digest,
            descriptor,
            available: variant.available,
            size,
            kind: kind.to_owned(),
            image_data,
            attestation_data,
        }
    }
}

impl From<Platform> for OciPlatform {
    fn from(platform: Platform) -> Self {
        Self { architecture: platform.architecture, os: platform.os, variant: platform.variant }
    }
}

impl From<Descriptor> for ImageDescriptor {
    fn from(blob: Descriptor) -> Self {
        Self { media_type: blob.media_type, digest: blob.digest, size: signed(blob.size) }
    }
}

pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
