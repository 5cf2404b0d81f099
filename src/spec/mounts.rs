//! What is mounted where in a container.

use std::path::{Path, PathBuf};

use oci_spec::runtime::Mount;

use super::{Error, Input};
use crate::model::mounting::{Bind, MountPoint, Source, clean};

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
    let settings = input.record.settings().map_err(Error)?;
    let asked = settings.mounts.iter().chain(&settings.tmpfs);
    let mut mounts = asked.map(|point| asked_mount(point, input)).collect::<Result<Vec<_>, _>>()?;
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
    for (source, inside) in &input.host.asked_devices {
        mounts.push(bind(clean(inside), source, &DEVICE));
    }
    if host.privileged {
        let free = |path: &Path| !mounts.iter().any(|mount| mount.destination() == path);
        let devices = input.host.devices.iter().filter(|path| free(path));
        let devices: Vec<Mount> = devices.map(|path| bind(path, path, &DEVICE)).collect();
        mounts.extend(devices);
    }
    Ok(mounts)
}

/// A mount that was asked for. Docker's well-known socket, which clients name without looking, is ours.
fn asked_mount(point: &MountPoint, input: &Input<'_>) -> Result<Mount, Error> {
    match &point.source {
        Source::Bind(asked) => {
            let source = if asked.is_docker_socket() { &input.host.socket } else { Path::new(&asked.path) };
            Ok(mount(&point.target, "bind", source, &bind_options(asked, point.read_only)))
        }
        Source::Tmpfs { options } => {
            let read_only = point.read_only && !options.iter().any(|option| option == "ro");
            let words = options.iter().map(String::as_str).chain(read_only.then_some("ro"));
            Ok(mount(&point.target, "tmpfs", "tmpfs", &inert(&words.collect::<Vec<_>>())))
        }
        Source::Volume { .. } | Source::Image { .. } => {
            Err(Error(format!("what is to be mounted at {} is not supported yet", point.target)))
        }
    }
}

fn bind_options(bind: &Bind, read_only: bool) -> Vec<&'static str> {
    let mut words = vec![if bind.non_recursive { "bind" } else { "rbind" }];
    words.push(bind.propagation.unwrap_or_default().as_str());
    match read_only {
        true if bind.writable_below || bind.non_recursive => words.push("ro"),
        true => words.extend(["ro", "rro"]),
        false => words.push("rw"),
    }
    words
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
}
