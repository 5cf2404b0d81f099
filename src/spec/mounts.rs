//! What is mounted where in a container.

use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::Mount;

use super::{Error, Input};
use crate::model::mount::Mount as Asked;

/// Options of what holds no programs and no devices.
const INERT: [&str; 3] = ["nosuid", "noexec", "nodev"];
/// A device can be written to on a read-only mount; its mode and owner, which are the host's, cannot be changed there.
const DEVICE: [&str; 3] = ["nosuid", "noexec", "ro"];
const SHM_SIZE: i64 = 64 << 20;

/// One mount of the OCI specification.
pub(super) fn mount(target: impl Into<PathBuf>, kind: &str, source: impl Into<PathBuf>, options: &[&str]) -> Mount {
    let mut mount = Mount::default();
    mount.set_destination(target.into());
    mount.set_typ(Some(kind.to_owned()));
    mount.set_source(Some(source.into()));
    mount.set_options(Some(options.iter().map(|option| (*option).to_owned()).collect()));
    mount
}

fn bind(target: impl Into<PathBuf>, source: impl Into<PathBuf>, options: &[&str]) -> Mount {
    mount(target, "bind", source, &[&["rbind"], options].concat())
}

fn inert<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&INERT[..], more].concat()
}

/// All mounts in the order in which they are made.
pub(super) fn build(input: &Input<'_>) -> Result<Vec<Mount>, Error> {
    let mut asked = user_mounts(input)?;
    // Deeper ones later, so that none is covered by its parent; among equals the order in which they were asked for.
    asked.sort_by_key(|mount| mount.destination().components().count());
    let targets: Vec<PathBuf> = asked.iter().map(|mount| mount.destination().clone()).collect();
    let has = |path: &Path| targets.iter().any(|target| target == path);
    let mut mounts = default_mounts(input);
    // What the user mounts replaces ours, and /dev as a whole what we would put in it.
    let all_dev = has(Path::new("/dev"));
    mounts.retain(|mount| {
        let replaced = has(mount.destination()) || (all_dev && mount.destination().starts_with("/dev"));
        !replaced
    });
    mounts.extend(asked);
    Ok(mounts)
}

fn default_mounts(input: &Input<'_>) -> Vec<Mount> {
    let host = &input.record.host_config;
    let writable = if host.privileged { "rw" } else { "ro" };
    let mut mounts = Vec::with_capacity(10);
    mounts.push(match host.pid_mode.as_str() {
        // A new procfs would show the pid namespace of the user namespace, which is not the host's.
        "host" if input.host.rootless => bind("/proc", "/proc", &inert(&[])),
        _ => mount("/proc", "proc", "proc", &inert(&[])),
    });
    mounts.push(mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]));
    let mut pts = vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    if !input.host.single_id {
        pts.push("gid=5");
    }
    mounts.push(mount("/dev/pts", "devpts", "devpts", &pts));
    mounts.push(match host.network_mode.as_str() {
        // sysfs belongs to a network namespace, and the host's is not this user's to mount.
        "host" if input.host.rootless && host.privileged => bind("/sys", "/sys", &inert(&["rw"])),
        "host" if input.host.rootless => bind("/sys", "/sys", &inert(&["ro", "rro"])),
        _ => mount("/sys", "sysfs", "sysfs", &inert(&[writable])),
    });
    mounts.push(mount("/sys/fs/cgroup", "cgroup2", "cgroup", &inert(&[writable])));
    match host.ipc_mode.as_str() {
        "host" => {
            mounts.push(bind("/dev/shm", "/dev/shm", &inert(&[])));
        }
        mode => {
            mounts.push(mount("/dev/mqueue", "mqueue", "mqueue", &inert(&[])));
            if input.shared_shm {
                // The source is given as a tree: it is in the other container's mount namespace.
                mounts.push(bind("/dev/shm", "/dev/shm", &inert(&[])));
            } else if mode != "none" {
                let bytes = if host.shm_size > 0 { host.shm_size } else { SHM_SIZE };
                mounts.push(mount("/dev/shm", "tmpfs", "shm", &inert(&["mode=1777", &format!("size={bytes}")])));
            }
        }
    }
    mounts
}

fn user_mounts(input: &Input<'_>) -> Result<Vec<Mount>, Error> {
    let host = &input.record.host_config;
    let mut mounts = Vec::new();
    for text in host.binds.iter().flatten() {
        mounts.push(own_socket(from_bind(text)?, input));
    }
    for asked in host.mounts.iter().flatten() {
        mounts.push(own_socket(from_mount(asked)?, input));
    }
    for (target, options) in host.tmpfs.iter().flatten() {
        mounts.push(tmpfs(&clean(target)?, options.split(',').filter(|option| !option.is_empty())));
    }
    if !input.host.rootless && !host.privileged {
        // Until there is a device filter: which of the host's devices a container has is said by `--device`, or by a bind
        // of them.
        let is_device = |mount: &Mount| mount.source().as_ref().is_some_and(|source| source.starts_with("/dev"));
        let binds = mounts.iter_mut().filter(|mount| mount.typ().as_deref() == Some("bind"));
        for mount in binds.filter(|mount| !is_device(mount)) {
            let options = mount.options().iter().flatten().cloned().chain(["rnodev".to_owned()]).collect();
            mount.set_options(Some(options));
        }
    }
    let taken: Vec<PathBuf> = mounts.iter().map(|mount| mount.destination().clone()).collect();
    let free = |target: &str| !taken.iter().any(|path| path == Path::new(target));
    let mode = if host.readonly_rootfs { "ro" } else { "rw" };
    for (target, source) in [
        ("/etc/resolv.conf", &input.etc.resolv_conf),
        ("/etc/hostname", &input.etc.hostname),
        ("/etc/hosts", &input.etc.hosts),
    ] {
        if let Some(source) = source.as_ref().filter(|_| free(target)) {
            mounts.push(bind(target, source, &["rprivate", mode]));
        }
    }
    if host.init == Some(true) {
        mounts.push(mount(super::process::INIT, "bind", &input.host.executable, &["bind", "ro"]));
    }
    for device in host.devices.iter().flatten() {
        let inside = if device.path_in_container.is_empty() { &device.path_on_host } else { &device.path_in_container };
        mounts.push(bind(clean(inside)?, &device.path_on_host, &DEVICE));
    }
    if host.privileged {
        let free = |path: &Path| !mounts.iter().any(|mount| mount.destination() == path);
        let devices = input.host.devices.iter().filter(|path| free(path));
        let devices: Vec<Mount> = devices.map(|path| bind(path, path, &DEVICE)).collect();
        mounts.extend(devices);
    }
    Ok(mounts)
}

/// Docker's well-known socket, which clients name without looking, is ours.
fn own_socket(mut mount: Mount, input: &Input<'_>) -> Mount {
    let known = ["/var/run/docker.sock", "/run/docker.sock"].map(Path::new);
    if mount.source().as_ref().is_some_and(|source| known.contains(&source.as_path())) {
        mount.set_source(Some(input.host.socket.clone()));
    }
    mount
}

/// `source:target[:options]`.
fn from_bind(text: &str) -> Result<Mount, Error> {
    let invalid = || Error(format!("invalid volume specification: '{text}'"));
    let mut parts = text.split(':');
    let (source, target, modes) = (parts.next().ok_or_else(invalid)?, parts.next().ok_or_else(invalid)?, parts.next());
    if parts.next().is_some() || !source.starts_with('/') {
        return Err(invalid());
    }
    let mut propagation = "rprivate";
    let mut read_only = false;
    for mode in modes.unwrap_or_default().split(',').filter(|mode| !mode.is_empty()) {
        match mode {
            "ro" => read_only = true,
            // Labels are SELinux's; the others say what is so anyway.
            "rw" | "z" | "Z" | "nocopy" | "consistent" | "cached" | "delegated" => {}
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => propagation = mode,
            _ => return Err(Error(format!("invalid mode: {}", modes.unwrap_or_default()))),
        }
    }
    let read_only: &[&str] = if read_only { &["ro", "rro"] } else { &["rw"] };
    Ok(bind(clean(target)?, source, &[&[propagation], read_only].concat()))
}

fn from_mount(asked: &Asked) -> Result<Mount, Error> {
    let target = clean(&asked.target)?;
    match asked.r#type.as_str() {
        "bind" => {
            let options = asked.bind_options.clone().unwrap_or_default();
            let mut words = vec![if options.non_recursive { "bind" } else { "rbind" }];
            words.push(if options.propagation.is_empty() { "rprivate" } else { &options.propagation });
            if asked.read_only {
                words.push("ro");
                if !options.read_only_non_recursive && !options.non_recursive {
                    words.push("rro");
                }
            }
            Ok(mount(target, "bind", &asked.source, &words))
        }
        "tmpfs" => {
            let options = asked.tmpfs_options.clone().unwrap_or_default();
            let mut words: Vec<String> = options.options.into_iter().flatten().map(|pair| pair.join("=")).collect();
            if options.mode != 0 {
                words.push(format!("mode={:o}", options.mode));
            }
            if options.size_bytes != 0 {
                words.push(format!("size={}", options.size_bytes));
            }
            if asked.read_only {
                words.push("ro".to_owned());
            }
            Ok(tmpfs(&target, words.iter().map(String::as_str)))
        }
        other => Err(Error(format!("mounts of type \"{other}\" are not supported yet"))),
    }
}

fn tmpfs<'a>(target: &Path, options: impl Iterator<Item = &'a str>) -> Mount {
    let mut words = inert(&[]);
    words.extend(options);
    mount(target, "tmpfs", "tmpfs", &words)
}

/// An absolute path without `.` and `..`.
fn clean(path: &str) -> Result<PathBuf, Error> {
    if !path.starts_with('/') {
        return Err(Error(format!("invalid mount path: '{path}' mount path must be absolute")));
    }
    let mut clean = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir => {
                clean.pop();
            }
            part => clean.push(part),
        }
    }
    if clean == Path::new("/") {
        return Err(Error(format!("invalid mount path: '{path}': destination can't be '/'")));
    }
    Ok(clean)
}

#[cfg(test)]
mod tests {
    use super::super::tests::Fixture;
    use super::*;

    fn options<'a>(mounts: &'a [Mount], target: &str) -> Vec<&'a str> {
        let mount = mounts.iter().find(|mount| mount.destination() == Path::new(target)).expect("mounted");
        mount.options().iter().flatten().map(String::as_str).collect()
    }

    #[test]
    fn defaults() {
        let mounts = build(&Fixture::default().input()).expect("mounts");
        let targets: Vec<&Path> = mounts.iter().map(|mount| mount.destination().as_path()).collect();
        assert_eq!(
            targets,
            ["/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup", "/dev/mqueue", "/dev/shm"].map(Path::new)
        );
        assert!(options(&mounts, "/dev/shm").contains(&"size=67108864"));
        assert!(options(&mounts, "/dev/pts").contains(&"gid=5"));
        assert!(options(&mounts, "/sys").contains(&"ro"));
    }

    #[test]
    fn asked_ones_replace_and_are_sorted() {
        let mut fixture = Fixture::default();
        fixture.etc.hosts = Some("/x/hosts".into());
        let host = &mut fixture.record.host_config;
        host.binds = Some(vec!["/a:/deep/below/here:ro,rslave".into(), "/b:/deep".into()]);
        host.tmpfs = Some([("/dev/shm".to_owned(), "exec,size=1k".to_owned())].into());
        let mounts = build(&fixture.input()).expect("mounts");
        assert_eq!(options(&mounts, "/deep/below/here"), ["rbind", "rslave", "ro", "rro", "rnodev"]);
        assert_eq!(options(&mounts, "/dev/shm"), ["nosuid", "noexec", "nodev", "exec", "size=1k"]);
        assert_eq!(options(&mounts, "/etc/hosts"), ["rbind", "rprivate", "rw"]);
        let at = |target: &str| mounts.iter().position(|mount| mount.destination() == Path::new(target));
        assert!(at("/deep") < at("/deep/below/here"));
        assert_eq!(mounts.iter().filter(|mount| mount.destination() == Path::new("/dev/shm")).count(), 1);
    }

    #[test]
    fn host_namespaces_without_root_bind() {
        let mut fixture = Fixture::default();
        fixture.host.rootless = true;
        fixture.record.host_config.network_mode = "host".into();
        fixture.record.host_config.pid_mode = "host".into();
        let mounts = build(&fixture.input()).expect("mounts");
        assert!(options(&mounts, "/sys").contains(&"rbind"));
        assert!(options(&mounts, "/proc").contains(&"rbind"));
    }

    #[test]
    fn refusals() {
        for bad in ["name:/x", "/a", "/a:b", "/a:/b:beer", "/a:/b:ro:x", "/a:/"] {
            assert!(from_bind(bad).is_err(), "{bad}");
        }
        assert_eq!(clean("/a/../b/./c").expect("clean"), Path::new("/b/c"));
    }
}
