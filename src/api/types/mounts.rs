//! Mounts as inspections and lists tell them.

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::mounting::{self, Source};
use crate::state::container::ContainerRecord;

/// A mount of a container.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct MountPoint {
    /// `bind`, `tmpfs`, …
    pub r#type: String,
    /// Name of a volume.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Path on the host.
    pub source: String,
    /// Path in the container.
    pub destination: String,
    /// Driver of a volume.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub driver: String,
    /// Options as given.
    pub mode: String,
    /// Whether it is writable.
    #[serde(rename = "RW")]
    pub rw: bool,
    /// How mounts travel between it and its source.
    pub propagation: String,
}

/// The mounts of a container.
pub fn mount_points(record: &ContainerRecord) -> Vec<MountPoint> {
    let settings = record.settings().unwrap_or_default();
    settings.mounts.iter().map(mount_point).collect()
}

fn mount_point(point: &mounting::MountPoint) -> MountPoint {
    let (kind, name, source, propagation) = match &point.source {
        Source::Bind(bind) => ("bind", "", bind.path.as_str(), bind.propagation.unwrap_or_default().as_str()),
        Source::Tmpfs { .. } => ("tmpfs", "", "", ""),
        Source::Volume { name } => ("volume", name.as_str(), "", ""),
        Source::Image { image } => ("image", image.as_str(), "", ""),
    };
    MountPoint {
        r#type: kind.to_owned(),
        name: name.to_owned(),
        source: source.to_owned(),
        destination: point.target.clone(),
        driver: String::new(),
        mode: point.mode.clone(),
        rw: !point.read_only,
        propagation: propagation.to_owned(),
    }
}
