//! Mounts: propagation, overlayfs, and the little that a container's own set-up needs beside the runtime library.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_change, move_mount,
    open_tree,
};

/// From now on this mount namespace sees its parent's mounts and unmounts, and shows it none of its own.
///
/// # Errors
/// Not permitted.
pub fn make_all_slave() -> io::Result<()> {
    Ok(mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?)
}

/// No mount of this namespace is shown to or taken from another one any more.
///
/// # Errors
/// Not permitted.
pub fn make_all_private() -> io::Result<()> {
    Ok(mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?)
}

/// An overlay of directories.
#[derive(Debug, Clone)]
pub struct Overlay<'a> {
    /// Read-only directories, the lowest first.
    pub lower: &'a [PathBuf],
    /// What is written, with its scratch directory; none: a read-only overlay, which needs two lower directories.
    pub upper: Option<(&'a Path, &'a Path)>,
    /// Keep the overlay's own attributes in `user.*`: needed in a user namespace.
    pub userxattr: bool,
}

/// Mounts an overlay on `target`.
///
/// # Errors
/// The kernel or the file system of the directories refuses it.
pub fn overlay(overlay: &Overlay<'_>, target: &Path) -> io::Result<()> {
    // The kernel wants at least two lower directories where there is no upper one.
    match overlay_by_parts(overlay, target) {
        // Before Linux 6.8 a layer could not be given by itself.
        Err(err) if err.raw_os_error() == Some(nix::libc::EINVAL) || err.raw_os_error() == Some(nix::libc::ENOSYS) => {
            overlay_by_options(overlay, target).map_err(|_| err)
        }
        other => other,
    }
}

fn overlay_by_parts(overlay: &Overlay<'_>, target: &Path) -> io::Result<()> {
    let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let fs = fs.as_fd();
    fsconfig_set_string(fs, "source", "overlay")?;
    for layer in overlay.lower.iter().rev() {
        fsconfig_set_string(fs, "lowerdir+", layer)?;
    }
    if let Some((upper, work)) = overlay.upper {
        fsconfig_set_string(fs, "upperdir", upper)?;
        fsconfig_set_string(fs, "workdir", work)?;
        // A monitor may still hold the overlay of the container's last run, see `monitor::run`, though nobody uses it.
        fsconfig_set_string(fs, "index", "off")?;
    }
    if overlay.userxattr {
        fsconfig_set_flag(fs, "userxattr")?;
    }
    fsconfig_create(fs)?;
    let mount = fsmount(fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    Ok(move_mount(mount.as_fd(), "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// By mount(2): its options fit one page, so at most some forty layers with long paths.
fn overlay_by_options(overlay: &Overlay<'_>, target: &Path) -> io::Result<()> {
    let mut options = b"lowerdir=".to_vec();
    for (i, layer) in overlay.lower.iter().rev().enumerate() {
        if i > 0 {
            options.push(b':');
        }
        escape(layer, &mut options);
    }
    if let Some((upper, work)) = overlay.upper {
        options.extend(b",upperdir=");
        escape(upper, &mut options);
        options.extend(b",workdir=");
        escape(work, &mut options);
        options.extend(b",index=off");
    }
    if overlay.userxattr {
        options.extend(b",userxattr");
    }
    let options = CString::new(options)?;
    Ok(rustix::mount::mount("overlay", target, "overlay", MountFlags::empty(), Some(options.as_c_str()))?)
}

fn escape(path: &Path, to: &mut Vec<u8>) {
    for &byte in path.as_os_str().as_bytes() {
        if matches!(byte, b':' | b',' | b'\\') {
            to.push(b'\\');
        }
        to.push(byte);
    }
}

/// Shows one directory or file, with the mounts below it, at another place too.
///
/// # Errors
/// Those of mount(2).
pub fn bind_recursive(source: &Path, target: &Path) -> io::Result<()> {
    Ok(rustix::mount::mount_bind_recursive(source, target)?)
}

/// Shows what a descriptor is open on at another place too, without the mounts below it.
///
/// # Errors
/// Those of `open_tree(2)` and `move_mount(2)`.
pub fn bind_fd(source: BorrowedFd<'_>, target: &Path) -> io::Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(source, "", flags)?;
    Ok(move_mount(tree.as_fd(), "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// Shows a directory of another mount namespace at a place in this one. The caller ends in its own namespace again, at
/// the root.
///
/// # Errors
/// Those of setns(2), `open_tree(2)` and `move_mount(2)`.
pub fn bind_from(namespace: impl AsFd, source: &Path, target: &Path) -> io::Result<()> {
    use super::namespaces::{self, Kinds};
    let own = std::fs::File::open("/proc/self/ns/mnt")?;
    namespaces::join(namespace, Kinds::CLONE_NEWNS)?;
    // A copy belongs to no namespace until it is placed in one.
    let tree = open_tree(CWD, source, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC);
    namespaces::join(own, Kinds::CLONE_NEWNS)?;
    Ok(move_mount(tree?.as_fd(), "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// Makes a path unwritable: a mount of itself on itself, read-only. What is mounted below stays as it is.
///
/// # Errors
/// The path is missing, or those of mount(2).
pub fn read_only(path: &Path) -> io::Result<()> {
    rustix::mount::mount_bind_recursive(path, path)?;
    remount_read_only(path)
}

/// Makes the mount at this very path read-only, keeping the flags that it has: in a user namespace those are locked.
///
/// # Errors
/// Those of mount(2).
pub fn remount_read_only(path: &Path) -> io::Result<()> {
    use rustix::fs::StatVfsMountFlags as Has;
    let has = rustix::fs::statvfs(path)?.f_flag;
    let mut flags = MountFlags::BIND | MountFlags::RDONLY;
    for (bit, flag) in [
        (Has::NOSUID, MountFlags::NOSUID),
        (Has::NODEV, MountFlags::NODEV),
        (Has::NOEXEC, MountFlags::NOEXEC),
        (Has::NOATIME, MountFlags::NOATIME),
        (Has::NODIRATIME, MountFlags::NODIRATIME),
        (Has::RELATIME, MountFlags::RELATIME),
    ] {
        if has.contains(bit) {
            flags |= flag;
        }
    }
    Ok(rustix::mount::mount_remount(path, flags, c"")?)
}

/// Hides a directory behind an empty read-only one.
///
/// # Errors
/// Those of mount(2).
pub fn cover(dir: &Path) -> io::Result<()> {
    Ok(rustix::mount::mount("tmpfs", dir, "tmpfs", MountFlags::RDONLY, Some(c"size=0k"))?)
}

/// Mounts this process's view of the cgroup hierarchy.
///
/// # Errors
/// There is no such hierarchy, or it may not be mounted here.
pub fn cgroup(target: &Path, read_only: bool) -> io::Result<()> {
    let mut flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    if read_only {
        flags |= MountFlags::RDONLY;
    }
    Ok(rustix::mount::mount("cgroup", target, "cgroup2", flags, None::<&std::ffi::CStr>)?)
}

/// Takes a mount away; processes that still use it keep it.
///
/// # Errors
/// Nothing is mounted there.
pub fn detach(path: &Path) -> io::Result<()> {
    Ok(rustix::mount::unmount(path, UnmountFlags::DETACH)?)
}
