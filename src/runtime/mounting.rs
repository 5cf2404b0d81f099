//! The container's view of files: what libcontainer mounts, and what it leaves to do.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use libcontainer::rootfs::RootFS;
use libcontainer::syscall::syscall::create_syscall;
use oci_spec::runtime::{Linux, Mount, Spec};
use rustix::fs::{Mode, OFlags};

use super::{StartError, child};
use crate::sys::mounts;
use crate::sys::openat2::Root;

/// Mounts all that the specification asks for below the root, and makes that the root of this process, which must be in
/// a mount namespace of its own.
pub(super) fn enter(spec: &Spec, rootfs: &Path, rootless: bool) -> Result<(), StartError> {
    let mut spec = spec.clone();
    let cgroup = take_cgroup(&mut spec);
    RootFS::new()
        .prepare_rootfs(&spec, rootfs, rootless, false)
        .map_err(|err| StartError::other(format!("error mounting the container's file systems: {}", chain(&err))))?;
    let root = Root::open(rootfs).map_err(StartError::at("rootfs"))?;
    if let Some(mount) = &cgroup {
        // Without a cgroup file system that this user may mount, the container sees an empty directory.
        let read_only = mount.options().iter().flatten().any(|option| option == "ro");
        let _ = beneath(&root, mount.destination()).and_then(|path| mounts::cgroup(&path, read_only));
    }
    for mount in spec.mounts().iter().flatten() {
        set_propagation(&root, mount).map_err(StartError::at(mount.destination().display()))?;
    }
    drop(root);
    create_syscall()
        .pivot_rootfs(rootfs)
        .map_err(|err| StartError::other(format!("cannot change the root: {}", chain(&err))))?;
    child::reopen_null().map_err(StartError::at("/dev/null"))
}

/// An error and what caused it: libcontainer's own texts tell only the last step.
fn chain(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut next = err.source();
    while let Some(err) = next {
        let cause = err.to_string();
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
        next = err.source();
    }
    text
}

/// The cgroup file system is the one mount that a container can do without.
fn take_cgroup(spec: &mut Spec) -> Option<Mount> {
    let mut all = spec.mounts().clone().unwrap_or_default();
    let at = all.iter().position(|mount| mount.typ().as_deref() == Some("cgroup2"))?;
    let cgroup = all.remove(at);
    spec.set_mounts(Some(all));
    Some(cgroup)
}

/// A path by which the ordinary system calls reach something beneath a root that is not this process's.
fn beneath(root: &Root, path: &Path) -> io::Result<PathBuf> {
    use std::os::fd::IntoRawFd;
    let fd = root.open_beneath(path, OFlags::PATH, Mode::empty())?;
    // Kept open until exec: the path goes through it.
    Ok(PathBuf::from(format!("/proc/self/fd/{}", fd.into_raw_fd())))
}

/// Whether mounts on the host show in the container: by default not.
fn set_propagation(root: &Root, mount: &Mount) -> io::Result<()> {
    use rustix::mount::{MountPropagationFlags as Flags, mount_change};
    for option in mount.options().iter().flatten() {
        let (word, recursive) = match option.as_str() {
            "rshared" => ("shared", Flags::REC),
            "rslave" => ("slave", Flags::REC),
            word => (word, Flags::empty()),
        };
        let kind = match word {
            "shared" => Flags::SHARED,
            "slave" => Flags::DOWNSTREAM,
            _ => continue,
        };
        let fd = root.open_beneath(mount.destination(), OFlags::PATH, Mode::empty())?;
        mount_change(format!("/proc/self/fd/{}", fd.as_raw_fd()), kind | recursive)?;
    }
    Ok(())
}

/// In the new root: kernel parameters, then what may not be written, then what may not be seen.
pub(super) fn restrict(linux: &Linux, read_only: bool) -> Result<(), StartError> {
    for (name, value) in linux.sysctl().iter().flatten() {
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        fs::write(&path, value)
            .map_err(|err| StartError::other(format!("open sysctl {name} file: {}", child::errno_text(&err))))?;
    }
    if read_only {
        mounts::remount_read_only(Path::new("/")).map_err(StartError::at("cannot make the root read-only"))?;
    }
    for path in linux.readonly_paths().iter().flatten() {
        ignore_missing(mounts::read_only(Path::new(path))).map_err(StartError::at(path))?;
    }
    let mut null = None;
    for path in linux.masked_paths().iter().flatten() {
        let path = Path::new(path);
        let masked = match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => mounts::cover(path),
            Ok(_) => (|| {
                let null = match &null {
                    Some(null) => null,
                    None => null.insert(open_null()?),
                };
                mounts::bind_fd(std::os::fd::AsFd::as_fd(null), path)
            })(),
            Err(err) => Err(err),
        };
        ignore_missing(masked).map_err(StartError::at(path.display()))?;
    }
    Ok(())
}

/// The null device, to hide files behind. /dev may be a volume, whose owner could have put anything there.
fn open_null() -> io::Result<fs::File> {
    use std::os::fd::AsFd;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let null = rustix::fs::open("/dev/null", flags, Mode::empty())?;
    if !child::is_null(null.as_fd()) {
        return Err(io::Error::other("/dev/null is not the null device"));
    }
    Ok(null.into())
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(err) if matches!(err.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(()),
        // Hidden by the host itself.
        Err(err) if err.raw_os_error() == Some(nix::libc::EACCES) => Ok(()),
        other => other,
    }
}
