//! Wire types of the image endpoints, and how they are made of what the engine knows.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::containers::DRIVER;
use crate::engine::images::{self, Details, RemovedItem};
use crate::image::meta::Descriptor;
use crate::model::config::{ContainerConfig, Healthcheck, Set};
use crate::model::time::{SECOND, rfc3339};

/// What the path names.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ByName {
    /// Name, id, or an unambiguous beginning of an id.
    pub name: String,
}

/// An image in a list.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ImageSummary {
    /// `sha256:` and 64 hexadecimal digits.
    pub id: String,
    /// The image it was built from here, or empty.
    pub parent_id: String,
    /// Names with a tag; before API 1.43 null if there is none.
    pub repo_tags: Option<Vec<String>>,
    /// Names with a digest; before API 1.43 null if there is none.
    pub repo_digests: Option<Vec<String>>,
    /// When it was made, seconds since 1970.
    pub created: i64,
    /// Bytes of its files.
    pub size: i64,
    /// Bytes of layers that other images have too; -1: not asked for.
    pub shared_size: i64,
    /// The same as `Size`, in versions before 1.44.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtual_size: Option<i64>,
    /// Labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// How many containers use it; before API 1.51 always -1: not known.
    pub containers: i64,
    /// The manifest it came with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub descriptor: Option<ImageDescriptor>,
}

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

/// Everything about one image.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ImageInspect {
    /// `sha256:` and 64 hexadecimal digits.
    pub id: String,
    /// Names with a tag.
    pub repo_tags: Vec<String>,
    /// Names with a digest.
    pub repo_digests: Vec<String>,
    /// The image it was built from here, or empty.
    pub parent: String,
    /// The message of its commit or import.
    pub comment: String,
    /// When it was made, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Before API 1.45, always empty: of the container that it was made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_config: Option<ImageConfig>,
    /// The engine that made it.
    pub docker_version: String,
    /// Who made it.
    pub author: String,
    /// Defaults of its containers.
    pub config: Option<ImageConfig>,
    /// Processor architecture.
    pub architecture: String,
    /// Its variant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Operating system.
    pub os: String,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Bytes of its files.
    pub size: i64,
    /// The same as `Size`, in versions before 1.44.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtual_size: Option<i64>,
    /// Where its layers are.
    pub graph_driver: GraphDriver,
    /// Its layers.
    #[serde(rename = "RootFS")]
    pub root_fs: ImageRootFs,
    /// What is known here and is no part of it.
    pub metadata: ImageMetadata,
    /// The manifest it came with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub descriptor: Option<ImageDescriptor>,
}

/// Defaults of an image's containers.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct ImageConfig {
    /// Those of a container's settings that an image can have.
    #[serde(flatten)]
    pub portable: PortableConfig,
    /// Before API 1.50: those that only containers have.
    #[serde(flatten)]
    pub container_only: Option<ContainerOnly>,
}

/// Those of a container's settings that an image can have.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct PortableConfig {
    /// `user[:group]`; empty: root.
    pub user: String,
    /// Ports that the program listens on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exposed_ports: Option<Set>,
    /// Environment.
    pub env: Option<Vec<String>>,
    /// Command, or the entrypoint's arguments.
    pub cmd: Option<Vec<String>>,
    /// How to test that a container is healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Windows only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args_escaped: Option<bool>,
    /// Mount points of anonymous volumes.
    pub volumes: Option<Set>,
    /// Working directory.
    pub working_dir: String,
    /// Program and its first arguments.
    pub entrypoint: Option<Vec<String>>,
    /// Build triggers.
    pub on_build: Option<Vec<String>>,
    /// Labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// Signal that asks the program to end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Shell for the shell form of build instructions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
}

/// Settings that images do not have: each always as if it were not set.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerOnly {
    /// Empty.
    pub hostname: String,
    /// Empty.
    pub domainname: String,
    /// False.
    pub attach_stdin: bool,
    /// False.
    pub attach_stdout: bool,
    /// False.
    pub attach_stderr: bool,
    /// False.
    pub tty: bool,
    /// False.
    pub open_stdin: bool,
    /// False.
    pub stdin_once: bool,
    /// Empty.
    pub image: String,
}

/// Where layers are.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct GraphDriver {
    /// How they are put on each other.
    pub name: String,
    /// Directories.
    pub data: BTreeMap<String, String>,
}

/// The layers of an image.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ImageRootFs {
    /// Always `layers`.
    pub r#type: String,
    /// Digests of the unpacked archives, the lowest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<String>,
}

/// What is known here of an image.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ImageMetadata {
    /// When it was last given a name, RFC 3339.
    pub last_tag_time: String,
}

/// A step in the making of an image.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct HistoryItem {
    /// The image's id, or `<missing>`.
    pub id: String,
    /// When, seconds since 1970.
    pub created: i64,
    /// By which command.
    pub created_by: String,
    /// Names of the image after this step.
    pub tags: Option<Vec<String>>,
    /// Bytes of the step's layer.
    pub size: i64,
    /// A message.
    pub comment: String,
}

/// One thing that a removal did; one of the fields is there.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct DeleteItem {
    /// A name that is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub untagged: Option<String>,
    /// An image or a layer that is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted: Option<String>,
}

/// Answer of `POST /images/prune`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ImagesPruneReply {
    /// What is gone.
    pub images_deleted: Option<Vec<DeleteItem>>,
    /// Bytes of it.
    pub space_reclaimed: u64,
}

impl From<images::Summary> for ImageSummary {
    fn from(image: images::Summary) -> Self {
        let meta = image.meta;
        Self {
            id: meta.id,
            parent_id: meta.parent,
            repo_tags: Some(image.tags),
            repo_digests: Some(image.digests),
            created: meta.created / SECOND,
            size: signed(meta.size),
            shared_size: image.shared_size.map_or(-1, signed),
            virtual_size: None,
            labels: (!meta.labels.is_empty()).then_some(meta.labels),
            containers: signed(image.containers),
            descriptor: meta.manifests.into_iter().next().map(|manifest| manifest.blob.into()),
        }
    }
}

impl From<Descriptor> for ImageDescriptor {
    fn from(blob: Descriptor) -> Self {
        Self { media_type: blob.media_type, digest: blob.digest, size: signed(blob.size) }
    }
}

impl From<Details> for ImageInspect {
    fn from(details: Details) -> Self {
        let (meta, config) = (details.image.meta, details.image.config);
        let last_comment = || config.history.last().and_then(|step| step.comment.clone());
        let text = |path: &std::path::PathBuf| path.display().to_string();
        let mut data = BTreeMap::new();
        if let Some((top, below)) = details.layers.split_last() {
            data.insert("UpperDir".to_owned(), text(top));
            let below: Vec<String> = below.iter().rev().map(text).collect();
            if !below.is_empty() {
                data.insert("LowerDir".to_owned(), below.join(":"));
            }
        }
        Self {
            id: meta.id,
            repo_tags: details.tags,
            repo_digests: details.digests,
            parent: meta.parent,
            comment: config.comment.clone().or_else(last_comment).unwrap_or_default(),
            created: (meta.created != 0).then(|| rfc3339(meta.created)),
            container_config: None,
            docker_version: config.docker_version.unwrap_or_default(),
            author: config.author.unwrap_or_default(),
            config: Some(ImageConfig { portable: config.config.unwrap_or_default().into(), container_only: None }),
            architecture: meta.architecture,
            variant: Some(meta.variant).filter(|variant| !variant.is_empty()),
            os: meta.os,
            os_version: config.os_version,
            size: signed(meta.size),
            virtual_size: None,
            graph_driver: GraphDriver { name: DRIVER.to_owned(), data },
            root_fs: ImageRootFs {
                r#type: "layers".to_owned(),
                layers: meta.layers.into_iter().map(|layer| layer.diff_id).collect(),
            },
            metadata: ImageMetadata { last_tag_time: rfc3339(meta.last_tagged) },
            descriptor: meta.manifests.into_iter().next().map(|manifest| manifest.blob.into()),
        }
    }
}

impl From<ContainerConfig> for PortableConfig {
    fn from(config: ContainerConfig) -> Self {
        Self {
            user: config.user,
            exposed_ports: config.exposed_ports,
            env: config.env,
            cmd: config.cmd,
            healthcheck: config.healthcheck,
            args_escaped: config.args_escaped,
            volumes: config.volumes,
            working_dir: config.working_dir,
            entrypoint: config.entrypoint,
            on_build: config.on_build,
            labels: (!config.labels.is_empty()).then_some(config.labels),
            stop_signal: config.stop_signal,
            shell: config.shell,
        }
    }
}

impl From<images::HistoryItem> for HistoryItem {
    fn from(item: images::HistoryItem) -> Self {
        Self {
            id: item.id,
            created: item.created / SECOND,
            created_by: item.created_by,
            tags: (!item.tags.is_empty()).then_some(item.tags),
            size: signed(item.size),
            comment: item.comment,
        }
    }
}

impl From<RemovedItem> for DeleteItem {
    fn from(item: RemovedItem) -> Self {
        match item {
            RemovedItem::Untagged(name) => Self { untagged: Some(name), ..Self::default() },
            RemovedItem::Deleted(id) => Self { deleted: Some(id), ..Self::default() },
        }
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
