//! Wire types of the image endpoints, and how they are made of what the engine knows.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::containers::DRIVER;
use super::manifests::{Identity, ImageDescriptor, ManifestSummary, signed};
use crate::engine::images::{self, Details, RemovedItem};
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
    /// The manifest or index that its name means, or that it came with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub descriptor: Option<ImageDescriptor>,
    /// All its manifests, if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifests: Option<Vec<ManifestSummary>>,
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
    /// The image it was built from here; before API 1.52 empty if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The message of its commit or import; before API 1.52 empty if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// When it was made, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Before API 1.45, always empty: of the container that it was made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_config: Option<ImageConfig>,
    /// The engine that made it; before API 1.52 empty if it does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker_version: Option<String>,
    /// Who made it; before API 1.52 empty if it does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
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
    /// The manifest or index that its name means, or that it came with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub descriptor: Option<ImageDescriptor>,
    /// All its manifests, if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifests: Option<Vec<ManifestSummary>>,
    /// Where it came from, as far as that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
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

/// Those of a container's settings that an image can have. Before API 1.52 the missing ones are null or empty, from then
/// on they are left out.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct PortableConfig {
    /// `user[:group]`; empty: root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Ports that the program listens on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exposed_ports: Option<Set>,
    /// Environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<Option<Vec<String>>>,
    /// Command, or the entrypoint's arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Option<Vec<String>>>,
    /// How to test that a container is healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Windows only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args_escaped: Option<bool>,
    /// Mount points of anonymous volumes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volumes: Option<Option<Set>>,
    /// Working directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Program and its first arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Option<Vec<String>>>,
    /// Build triggers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_build: Option<Option<Vec<String>>>,
    /// Labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Option<BTreeMap<String, String>>>,
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

impl ImageSummary {
    /// An image as a list tells it, with where its manifests came from or without.
    pub fn of(image: images::Summary, identity: bool) -> Self {
        let meta = image.meta;
        let manifest = |one| ManifestSummary::of(one, identity);
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
            descriptor: image.target.map(Into::into),
            manifests: image.manifests.map(|all| all.into_iter().map(manifest).collect()),
        }
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
            parent: Some(meta.parent),
            comment: Some(config.comment.clone().or_else(last_comment).unwrap_or_default()),
            created: (meta.created != 0).then(|| rfc3339(meta.created)),
            container_config: None,
            docker_version: Some(config.docker_version.unwrap_or_default()),
            author: Some(config.author.unwrap_or_default()),
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
            descriptor: details.target.map(Into::into),
            manifests: details.manifests.map(|all| all.into_iter().map(|one| ManifestSummary::of(one, true)).collect()),
            identity: Identity::of(&meta.sources),
        }
    }
}

impl PortableConfig {
    /// Leaves out what is not set.
    pub fn leave_out_empty(&mut self) {
        for text in [&mut self.user, &mut self.working_dir] {
            text.take_if(|text| text.is_empty());
        }
        for list in [&mut self.env, &mut self.cmd, &mut self.entrypoint, &mut self.on_build] {
            list.take_if(|list| list.as_ref().is_none_or(Vec::is_empty));
        }
        self.volumes.take_if(|volumes| volumes.as_ref().is_none_or(Set::is_empty));
        self.labels.take_if(|labels| labels.as_ref().is_none_or(BTreeMap::is_empty));
    }
}

impl From<ContainerConfig> for PortableConfig {
    fn from(config: ContainerConfig) -> Self {
        Self {
            user: Some(config.user),
            exposed_ports: config.exposed_ports,
            env: Some(config.env),
            cmd: Some(config.cmd),
            healthcheck: config.healthcheck,
            args_escaped: config.args_escaped,
            volumes: Some(config.volumes),
            working_dir: Some(config.working_dir),
            entrypoint: Some(config.entrypoint),
            on_build: Some(config.on_build),
            labels: Some((!config.labels.is_empty()).then_some(config.labels)),
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
