//! Mounts as inspections and lists tell them.

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::host_config::HostConfig;
use crate::model::mount::Mount;

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

/// The mounts that a configuration asks for.
pub fn mount_points(host: &HostConfig) -> Vec<MountPoint> {
    let bind = |bind: &String| {
        let mut parts = bind.splitn(3, ':');
        let (source, target) = (parts.next()?, parts.next()?);
        let mode = parts.next().unwrap_or_default();
        let has = |option: &str| mode.split(',').any(|have| have == option);
        let kinds = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];
        let propagation = kinds.into_iter().find(|kind| has(kind)).unwrap_or("rprivate");
        Some(MountPoint {
            r#type: "bind".to_owned(),
            source: source.to_owned(),
            destination: target.to_owned(),
            mode: mode.to_owned(),
            rw: !has("ro"),
            propagation: propagation.to_owned(),
            ..MountPoint::default()
        })
    };
    let mount = |mount: &Mount| MountPoint {
        r#type: mount.r#type.clone(),
        source: mount.source.clone(),
        destination: mount.target.clone(),
        rw: !mount.read_only,
        propagation: match (&mount.bind_options, mount.r#type.as_str()) {
            (Some(options), "bind") if !options.propagation.is_empty() => options.propagation.clone(),
            (_, "bind") => "rprivate".to_owned(),
            _ => String::new(),
        },
        ..MountPoint::default()
    };
    let binds = host.binds.iter().flatten().filter_map(bind);
    binds.chain(host.mounts.iter().flatten().map(mount)).collect()
}
