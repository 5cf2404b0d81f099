//! Mounts: binds, mount objects, memory file systems, other containers' volumes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::refusal::{invalid, refuse};
use crate::engine::{Engine, Error, Result};
use crate::model::host_config::HostConfig;
use crate::model::mount::Mount;
use crate::model::mounting::{self, MountPoint, Propagation, Source};
use crate::model::settings::Settings;
use crate::state::paths::Home;

/// Mount objects; those that are to be there already are looked for.
pub(super) fn objects(mounts: &Option<Vec<Mount>>) -> Result<()> {
    for mount in mounts.iter().flatten() {
        let point = mounting::parse_mount(mount).map_err(invalid)?;
        let Some(bind) = point.bind() else { continue };
        // What Docker's own socket means is this engine's, wherever it is.
        if !bind.make && !bind.is_docker_socket() && fs::metadata(&bind.path).is_err() {
            return refuse(format!(
                "invalid mount config for type \"bind\": bind source path does not exist: {}",
                mount.source
            ));
        }
    }
    Ok(())
}

pub(super) fn tmpfs(host: &HostConfig) -> Result<()> {
    for (target, options) in host.tmpfs.iter().flatten() {
        mounting::parse_tmpfs(target, options).map_err(invalid)?;
    }
    Ok(())
}

/// What all mounts together allow; and the propagation that a source in the data directory has by default.
pub(super) fn finish(home: &Home, host: &HostConfig, settings: &mut Settings, writable_below: bool) -> Result<()> {
    let binds = host.binds.as_ref().map_or(0, Vec::len);
    let objects = host.mounts.iter().flatten().map(|mount| mount.target.clone());
    let mut targets = BTreeSet::new();
    for (number, point) in settings.mounts.iter_mut().enumerate() {
        own_root(home, point)?;
        let memory = number < binds && host.tmpfs.iter().flatten().any(|(target, _)| *target == point.target);
        if memory || !targets.insert(point.target.clone()) {
            let told = number.checked_sub(binds).and_then(|object| objects.clone().nth(object));
            return refuse(format!("Duplicate mount point: {}", told.as_ref().unwrap_or(&point.target)));
        }
        if let Source::Bind(bind) = &mut point.source {
            bind.writable_below |= writable_below && point.read_only;
        }
    }
    Ok(())
}

/// Mounts below the data directory must not be held by a container: they travel in, never out.
fn own_root(home: &Home, point: &mut MountPoint) -> Result<()> {
    let Source::Bind(bind) = &mut point.source else { return Ok(()) };
    let (root, source) = (home.data.as_path(), Path::new(&bind.path));
    if !source.starts_with(root) && !root.starts_with(source) {
        return Ok(());
    }
    match bind.propagation {
        None => bind.propagation = Some(Propagation::RSlave),
        Some(Propagation::RSlave | Propagation::RShared) => {}
        Some(other) => {
            return refuse(format!(
                "invalid mount config: must use either propagation mode \"rslave\" or \"rshared\" when mount source \
                 is within the daemon root, daemon root: {:?}, bind mount source: {:?}, propagation: {:?}",
                root.display().to_string(),
                bind.path,
                other.as_str()
            ));
        }
    }
    Ok(())
}

/// Volumes and images cannot be mounted yet.
pub(super) fn implemented(settings: &Settings) -> Result<()> {
    for point in &settings.mounts {
        match &point.source {
            Source::Bind(_) | Source::Tmpfs { .. } => {}
            Source::Volume { name } => {
                volume_name(name)?;
                return Err(Error::NotImplemented(format!("volumes are not implemented yet: '{}'", point.target)));
            }
            Source::Image { .. } => {
                return Err(Error::NotImplemented("mounts of type image are not implemented yet".to_owned()));
            }
        }
    }
    Ok(())
}

fn volume_name(name: &str) -> Result<()> {
    if name.is_empty() {
        return Ok(());
    }
    if name.len() < 2 {
        return refuse(format!(
            "create {name}: volume name is too short, names should be at least two alphanumeric characters"
        ));
    }
    let fits = |(at, byte): (usize, u8)| byte.is_ascii_alphanumeric() || (at > 0 && b"_.-".contains(&byte));
    match name.bytes().enumerate().all(fits) {
        true => Ok(()),
        false => refuse(format!(
            "create {name}: {name:?} includes invalid characters for a local volume name, only \
             \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
        )),
    }
}

impl Engine {
    /// Containers whose volumes are asked for exist.
    pub(super) fn check_volumes_from(&self, host: &HostConfig) -> Result<()> {
        for text in host.volumes_from.iter().flatten() {
            let (name, _) = mounting::parse_volumes_from(text).map_err(invalid)?;
            self.peer(name)?;
        }
        Ok(())
    }
}
