//! Mounts as they will be made: bind strings, mount objects and memory file systems, each read once.
//!
//! Nothing here looks at the host: whether a source exists is told by who can look.

use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use super::mount::{Mount, TmpfsOptions};

/// Paths by which clients mean the engine's own socket, whatever is there.
pub const DOCKER_SOCKETS: [&str; 2] = ["/var/run/docker.sock", "/run/docker.sock"];

/// How mounts travel between a mount and its source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Propagation {
    /// Not at all; the mounts below it may differ.
    Private,
    /// Not at all.
    #[default]
    RPrivate,
    /// Both ways.
    Shared,
    /// Both ways, also below it.
    RShared,
    /// From the source only.
    Slave,
    /// From the source only, also below it.
    RSlave,
}

impl Propagation {
    const ALL: [Self; 6] = [Self::Private, Self::RPrivate, Self::Shared, Self::RShared, Self::Slave, Self::RSlave];

    /// As mount options have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::RPrivate => "rprivate",
            Self::Shared => "shared",
            Self::RShared => "rshared",
            Self::Slave => "slave",
            Self::RSlave => "rslave",
        }
    }

    /// From a mount option.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == text)
    }
}

/// A mount of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    /// Absolute path in the container, without `.` and `..`.
    pub target: String,
    /// Not writable in the container.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// The options of a bind string, as given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mode: String,
    /// What is mounted.
    #[serde(flatten)]
    pub source: Source,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Source {
    /// A path of the host.
    Bind(Bind),
    /// Memory, with these options of tmpfs(5).
    Tmpfs {
        /// Each as mount(8) has it.
        options: Vec<String>,
    },
    /// A volume.
    Volume {
        /// Its name; empty: a new one without a name.
        name: String,
    },
    /// An image.
    Image {
        /// As the creator names it.
        image: String,
    },
}

/// A path of the host that is mounted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bind {
    /// The path, without `.` and `..`.
    #[serde(rename = "source")]
    pub path: String,
    /// Asked for, not by default.
    pub propagation: Option<Propagation>,
    /// Without the mounts below it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub non_recursive: bool,
    /// With `read_only`: the mounts below it stay writable.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub writable_below: bool,
    /// A missing path is made, as a directory.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub make: bool,
}

impl Bind {
    /// Whether it means the engine's own socket, whatever is there.
    pub fn is_docker_socket(&self) -> bool {
        DOCKER_SOCKETS.contains(&self.path.as_str())
    }
}

impl MountPoint {
    /// The path, volume or image that is mounted; empty if it is none of them.
    pub fn source_name(&self) -> &str {
        match &self.source {
            Source::Bind(bind) => &bind.path,
            Source::Volume { name } => name,
            Source::Image { image } => image,
            Source::Tmpfs { .. } => "",
        }
    }

    /// The bind, if it is one.
    pub fn bind(&self) -> Option<&Bind> {
        match &self.source {
            Source::Bind(bind) => Some(bind),
            _ => None,
        }
    }
}

const ROOT_TARGET: &str = "invalid specification: destination can't be '/'";

/// The options of a bind string, by concern.
#[derive(Debug, Default)]
struct Modes {
    read_only: Option<bool>,
    label: bool,
    propagation: Option<Propagation>,
    copy: Option<bool>,
    consistency: bool,
}

/// Reads `ro,rslave`: each concern at most once. None if it is no such list.
fn modes(text: &str) -> Option<Modes> {
    let mut modes = Modes::default();
    let once = |slot: &mut bool| !std::mem::replace(slot, true);
    for word in text.split(',').filter(|_| !text.is_empty()) {
        let first = match word {
            "ro" | "rw" => modes.read_only.replace(word == "ro").is_none(),
            "z" | "Z" => once(&mut modes.label),
            "nocopy" => modes.copy.replace(false).is_none(),
            "consistent" | "cached" | "delegated" => once(&mut modes.consistency),
            other => modes.propagation.replace(Propagation::parse(other)?).is_none(),
        };
        if !first {
            return None;
        }
    }
    Some(modes)
}

/// Reads a bind string: `[source:]target[:options]`. A source that is no path is a volume's name.
///
/// # Errors
/// Docker's text for what is none.
pub fn parse_bind(raw: &str) -> Result<MountPoint, String> {
    let invalid = || format!("invalid volume specification: '{raw}'");
    let (source, target, mode) = match raw.splitn(4, ':').collect::<Vec<_>>()[..] {
        ["", ..] => return Err(invalid()),
        [target] => ("", target, ""),
        // A target and options, without a source, are no volume.
        [_, second] if modes(second).is_some() => return Err(invalid()),
        [source, target] => (source, target, ""),
        [source, target, mode] => (source, target, mode),
        _ => return Err(invalid()),
    };
    let modes = modes(mode).ok_or_else(|| format!("invalid mode: {mode}"))?;
    let kind = if source.starts_with('/') { "bind" } else { "volume" };
    let wrong = |what: String| format!("{}: invalid mount config for type \"{kind}\": {what}", invalid());
    let target = target_of(target).map_err(wrong)?;
    let source = match kind {
        "bind" if modes.copy.is_some() => return Err(wrong(extra("VolumeOptions"))),
        "bind" => {
            Source::Bind(Bind { path: clean(source), propagation: modes.propagation, make: true, ..Bind::default() })
        }
        _ if modes.propagation.is_some() => return Err(wrong(extra("BindOptions"))),
        _ => Source::Volume { name: source.to_owned() },
    };
    Ok(MountPoint { target, read_only: modes.read_only == Some(true), mode: mode.to_owned(), source })
}

/// Reads a mount object.
///
/// # Errors
/// Docker's text for what is none.
pub fn parse_mount(mount: &Mount) -> Result<MountPoint, String> {
    let wrong = |what: String| format!("invalid mount config for type \"{}\": {what}", mount.r#type);
    if mount.target.is_empty() {
        return Err(wrong(missing("Target")));
    }
    let target = target_of(&mount.target).map_err(wrong)?;
    let source = match mount.r#type.as_str() {
        "bind" => bind_source(mount),
        "volume" => volume_source(mount),
        "tmpfs" => tmpfs_source(mount),
        "image" => image_source(mount),
        _ => Err("mount type unknown".to_owned()),
    }
    .map_err(wrong)?;
    Ok(MountPoint { target, read_only: mount.read_only, mode: String::new(), source })
}

fn bind_source(mount: &Mount) -> Result<Source, String> {
    if mount.source.is_empty() {
        return Err(missing("Source"));
    }
    let options = mount.bind_options.clone().unwrap_or_default();
    let propagation = match options.propagation.as_str() {
        "" => None,
        text => Some(Propagation::parse(text).ok_or_else(|| format!("invalid propagation mode: {text}"))?),
    };
    refuse(&[("VolumeOptions", mount.volume_options.is_some()), ("ImageOptions", mount.image_options.is_some())])?;
    absolute(&mount.source)?;
    Ok(Source::Bind(Bind {
        path: clean(&mount.source),
        propagation,
        non_recursive: options.non_recursive,
        writable_below: options.read_only_non_recursive,
        make: options.create_mountpoint,
    }))
}

fn volume_source(mount: &Mount) -> Result<Source, String> {
    refuse(&[("BindOptions", mount.bind_options.is_some()), ("ImageOptions", mount.image_options.is_some())])?;
    let subpath = mount.volume_options.as_ref().map_or("", |options| &options.subpath);
    if !subpath.is_empty() {
        if mount.source.is_empty() {
            return Err("must not set Subpath when using anonymous volumes".to_owned());
        }
        local(subpath)?;
    }
    if mount.read_only && mount.source.is_empty() {
        return Err("must not set ReadOnly mode when using anonymous volumes".to_owned());
    }
    Ok(Source::Volume { name: mount.source.clone() })
}

fn tmpfs_source(mount: &Mount) -> Result<Source, String> {
    refuse(&[
        ("BindOptions", mount.bind_options.is_some()),
        ("ImageOptions", mount.image_options.is_some()),
        ("Source", !mount.source.is_empty()),
    ])?;
    let TmpfsOptions { size_bytes, mode, options } = mount.tmpfs_options.clone().unwrap_or_default();
    let mut words = Vec::new();
    if mode != 0 {
        words.push(format!("mode={mode:o}"));
    }
    if size_bytes != 0 {
        words.push(format!("size={size_bytes}"));
    }
    for option in options.into_iter().flatten() {
        if !(1..=2).contains(&option.len()) {
            return Err("invalid option array length".to_owned());
        }
        if !matches!(option[0].as_str(), "exec" | "noexec") {
            return Err(format!("invalid option: {}", option[0]));
        }
        words.push(option.join("="));
    }
    Ok(Source::Tmpfs { options: words })
}

fn image_source(mount: &Mount) -> Result<Source, String> {
    refuse(&[("BindOptions", mount.bind_options.is_some()), ("VolumeOptions", mount.volume_options.is_some())])?;
    if mount.source.is_empty() {
        return Err(missing("Source"));
    }
    if let Some(options) = &mount.image_options
        && !options.subpath.is_empty()
    {
        local(&options.subpath)?;
    }
    Ok(Source::Image { image: mount.source.clone() })
}

/// Reads an entry of `HostConfig.Tmpfs`: a target, and options as mount(8) has them.
///
/// # Errors
/// Docker's text for a target that is none.
pub fn parse_tmpfs(target: &str, options: &str) -> Result<MountPoint, String> {
    let target = target_of(target)?;
    let words = options.split(',').filter(|word| !word.is_empty());
    let options: Vec<String> = words.map(str::to_owned).collect();
    let read_only = options.iter().any(|option| option == "ro");
    Ok(MountPoint { target, read_only, mode: String::new(), source: Source::Tmpfs { options } })
}

/// Reads `container[:mode]` of `VolumesFrom`; true: read-only.
///
/// # Errors
/// Docker's text for what is none.
pub fn parse_volumes_from(text: &str) -> Result<(&str, bool), String> {
    if text.is_empty() {
        return Err("volumes-from specification cannot be an empty string".to_owned());
    }
    let (container, mode) = text.split_once(':').unwrap_or((text, ""));
    // Propagation and copying are as the other container has them.
    match modes(mode).filter(|modes| modes.propagation.is_none() && modes.copy.is_none()) {
        Some(modes) => Ok((container, modes.read_only == Some(true))),
        None => Err(format!("invalid mode: {mode}")),
    }
}

fn missing(field: &str) -> String {
    format!("field {field} must not be empty")
}

fn extra(field: &str) -> String {
    format!("field {field} must not be specified")
}

fn refuse(fields: &[(&str, bool)]) -> Result<(), String> {
    match fields.iter().find(|(_, given)| *given) {
        Some((field, _)) => Err(extra(field)),
        None => Ok(()),
    }
}

fn absolute(path: &str) -> Result<(), String> {
    match path.starts_with('/') {
        true => Ok(()),
        false => Err(format!("invalid mount path: '{path}' mount path must be absolute")),
    }
}

/// A path below something, which does not lead out of it.
fn local(path: &str) -> Result<(), String> {
    let mut depth = 0i64;
    for component in Path::new(path).components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir => depth -= 1,
            Component::RootDir | Component::Prefix(_) => depth = -1,
        }
        if depth < 0 {
            return Err("subpath must be a relative path within the volume".to_owned());
        }
    }
    Ok(())
}

/// A target: an absolute path that is not the root.
fn target_of(path: &str) -> Result<String, String> {
    let clean = clean(path);
    if clean == "/" && !path.is_empty() && path.starts_with('/') {
        return Err(ROOT_TARGET.to_owned());
    }
    absolute(path)?;
    Ok(clean)
}

/// An absolute path without `.`, `..` and doubled slashes: by its text, whatever links there are.
pub fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::mount::BindOptions;

    fn bind(raw: &str) -> Result<Bind, String> {
        Ok(parse_bind(raw)?.bind().expect("a bind").clone())
    }

    #[test]
    fn paths_are_cleaned() {
        for (path, cleaned) in [("/a/../b//c/.", "/b/c"), ("/../..", "/"), ("/x", "/x"), ("/", "/")] {
            assert_eq!(clean(path), cleaned);
        }
    }

    #[test]
    fn bind_strings() {
        let mount = parse_bind("/a/./b:/x/:ro,rslave,z").expect("a bind");
        assert_eq!((mount.target.as_str(), mount.read_only, mount.mode.as_str()), ("/x", true, "ro,rslave,z"));
        assert_eq!(mount.bind().expect("a bind").path, "/a/b");
        assert_eq!(bind("/a:/x:slave").expect("a bind").propagation, Some(Propagation::Slave));
        assert_eq!(bind("/a:/x").expect("a bind").propagation, None);
        assert_eq!(parse_bind("data:/x").expect("a volume").source, Source::Volume { name: "data".into() });
        assert_eq!(parse_bind("/x").expect("a volume").source, Source::Volume { name: String::new() });
        for bad in
            ["", ":/x", "::", "/a:", "/a:ro", "/a:b", "/a:/", "/a:/x:beer", "/a:/x:ro,rw", "/a:/b:/c:/d", "v:/x:rslave"]
        {
            assert!(parse_bind(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_read_can_be_stored() {
        for raw in ["/a:/b:ro,shared", "v:/b", "/b"] {
            let mount = parse_bind(raw).expect("reads");
            let text = serde_json::to_string(&mount).expect("a record");
            assert_eq!(serde_json::from_str::<MountPoint>(&text).expect("reads"), mount, "{text}");
        }
        let tmpfs = parse_tmpfs("/t", "ro,size=1k").expect("reads");
        let text = serde_json::to_string(&tmpfs).expect("a record");
        assert_eq!(serde_json::from_str::<MountPoint>(&text).expect("reads"), tmpfs);
    }

    #[test]
    fn objects() {
        let mount = |kind: &str, source: &str| Mount {
            r#type: kind.to_owned(),
            source: source.to_owned(),
            target: "/x".to_owned(),
            ..Mount::default()
        };
        let options = BindOptions { propagation: "beer".to_owned(), ..BindOptions::default() };
        let bad = Mount { bind_options: Some(options), ..mount("bind", "/a") };
        assert_eq!(
            parse_mount(&bad).expect_err("refused"),
            "invalid mount config for type \"bind\": invalid propagation mode: beer"
        );
        assert!(parse_mount(&mount("tmpfs", "/a")).is_err());
        assert!(parse_mount(&mount("npipe", "a")).is_err());
        assert!(parse_mount(&mount("bind", "a")).is_err());
        assert!(parse_mount(&mount("bind", "/a")).is_ok());
    }

    #[test]
    fn no_text_panics() {
        crate::model::every_text("/:a.,é", 6, &mut |text| {
            let _ = parse_bind(text);
            let _ = parse_volumes_from(text);
        });
    }

    #[test]
    fn targets_are_absolute_and_not_the_root() {
        crate::model::every_text("/:a.", 7, &mut |text| {
            if let Ok(mount) = parse_bind(text) {
                assert!(mount.target.starts_with('/') && mount.target.len() > 1, "{text}");
                assert_eq!(clean(&mount.target), mount.target);
            }
        });
    }
}
