//! Manifests and indexes, as registries and archives have them: which one a document is, its fields tell.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::meta::Descriptor;
use super::platform::Platform;

/// What an OCI index says that it is.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// What an OCI manifest says that it is.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// What Docker's index says that it is.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// What the configuration of an image says that it is.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// What Docker's manifest says that it is.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Types of the configuration of an image that can be run; others are of artifacts.
const CONFIGS: [&str; 3] = [
    OCI_CONFIG,
    "application/vnd.docker.container.image.v1+json",
    // Old builders wrote their manifests so.
    "application/octet-stream",
];

/// A blob that a document names.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Member {
    /// The blob.
    #[serde(flatten)]
    pub blob: Descriptor,
    /// The machine that it is for.
    pub platform: Option<Platform>,
    /// What else is said of it.
    pub annotations: Option<BTreeMap<String, String>>,
}

/// An index or a manifest.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Document {
    /// 2; 1 is a format of before 2016.
    #[serde(rename = "schemaVersion")]
    pub schema: Option<u32>,
    /// What it says that it is.
    #[serde(rename = "mediaType")]
    pub media_type: Option<String>,
    /// What kind of artifact it is, if it is one.
    #[serde(rename = "artifactType")]
    pub artifact: Option<String>,
    /// An index's members.
    pub manifests: Option<Vec<Member>>,
    /// A manifest's configuration.
    pub config: Option<Member>,
    /// A manifest's layers, the lowest first.
    pub layers: Option<Vec<Member>>,
}

impl Document {
    /// A manifest's blobs, its configuration first; none of an index.
    pub fn blobs(&self) -> Vec<Descriptor> {
        let layers = self.layers.iter().flatten();
        self.config.iter().chain(layers).map(|member| member.blob.clone()).collect()
    }

    /// What it is, by its own word, by that of whoever brought it, or by its fields; none but what is known.
    pub fn kind(&self, told: &str) -> String {
        let known = [OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST];
        let own = self.media_type.as_deref().unwrap_or_default();
        let by_fields = if self.manifests.is_some() { OCI_INDEX } else { OCI_MANIFEST };
        let by_word = [own, told].into_iter().find(|word| known.contains(word));
        by_word.unwrap_or(by_fields).to_owned()
    }

    /// Why this is no image that can be run, in words for people; none if it is one.
    pub fn no_image(&self) -> Option<String> {
        let config = self.config.as_ref()?;
        let kind = config.blob.media_type.as_str();
        if kind.is_empty() || CONFIGS.contains(&kind) {
            return None;
        }
        let what = self.artifact.as_deref().unwrap_or(kind);
        Some(format!("unsupported media type {what}: an artifact, not an image that can be run"))
    }
}

/// Whether it is made of statements about an image, which BuildKit puts beside that.
pub fn is_attestation(member: &Member) -> bool {
    let annotated = member.annotations.as_ref().and_then(|all| all.get("vnd.docker.reference.type"));
    annotated.is_some_and(|kind| kind == "attestation-manifest")
        || member.platform.as_ref().is_some_and(|platform| platform.os == "unknown")
}

/// Which of an index's members is for this machine, or for `wanted`: one of the same variant before one of any. None:
/// there is none; without a wish, the only one is it.
pub fn choose(members: &[Member], wanted: Option<&Platform>) -> Option<usize> {
    let host = Platform::host();
    let want = wanted.unwrap_or(&host);
    let rank = |member: &Member| {
        let have = member.platform.as_ref().filter(|_| !is_attestation(member))?;
        have.fits(want)
    };
    let ranked = members.iter().enumerate().filter_map(|(at, member)| Some((rank(member)?, at)));
    if let Some((_, at)) = ranked.min() {
        return Some(at);
    }
    let mut images = members.iter().enumerate().filter(|(_, member)| !is_attestation(member));
    match (images.next(), images.next(), wanted) {
        (Some((at, _)), None, None) => Some(at),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(text: &str) -> Vec<Member> {
        let all = format!("{{\"manifests\":[{text}]}}");
        serde_json::from_str::<Document>(&all).expect("index").manifests.unwrap_or_default()
    }

    #[test]
    fn the_member_for_the_machine_is_chosen() {
        let of = |os: &str, architecture: &str, variant: &str| Platform {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
        };
        let member = |os: &str, architecture: &str, variant: &str| {
            format!(
                r#"{{"digest":"x","platform":{{"os":"{os}","architecture":"{architecture}","variant":"{variant}"}}}}"#
            )
        };
        let all = index(
            &[
                member("unknown", "unknown", ""),
                member("linux", "arm", "v7"),
                member("linux", "arm", "v6"),
                member("linux", "arm64", "v8"),
                member("linux", "s390x", ""),
            ]
            .join(","),
        );
        assert_eq!(choose(&all, Some(&of("linux", "arm", "v6"))), Some(2));
        assert_eq!(choose(&all, Some(&of("linux", "arm", ""))), Some(1));
        assert_eq!(choose(&all, Some(&of("linux", "arm64", ""))), Some(3));
        assert_eq!(choose(&all, Some(&of("windows", "arm64", ""))), None);
        assert_eq!(choose(&all, Some(&of("linux", "arm", "v5"))), None);
        assert_eq!(choose(&all, Some(&of("unknown", "unknown", ""))), None);
        let alone = index(&[member("unknown", "unknown", ""), member("linux", "mips", "")].join(","));
        assert_eq!(choose(&alone, None), Some(1), "the only one is meant");
        assert_eq!(choose(&alone, Some(&of("linux", "arm", ""))), None);
    }

    #[test]
    fn artifacts_are_told_from_images() {
        let of = |text: &str| serde_json::from_str::<Document>(text).expect("manifest").no_image();
        assert_eq!(of(r#"{"config":{"mediaType":"application/vnd.oci.image.config.v1+json"}}"#), None);
        let helm = of(r#"{"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json"}}"#).expect("no image");
        assert!(helm.contains("vnd.cncf.helm.config"), "{helm}");
    }
}
