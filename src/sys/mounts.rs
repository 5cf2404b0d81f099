//! Mounts, by descriptors: each is made complete, attributes and all, before it is placed where anybody can see it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
pub use rustix::mount::MountAttrFlags as Attributes;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_change, move_mount, open_tree,
};

use super::kernel;
use super::namespaces::{self, Kinds};

/// From now on this mount namespace sees its parent's mounts and unmounts, and shows it none of its own.
///
/// # Errors
/// Not permitted.
pub fn make_all_slave() -> io::Result<()> {
    Ok(mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?)
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

/// Makes an overlay that is placed nowhere yet. No device on it can be opened.
///
/// # Errors
/// The kernel or the file system of the directories refuses it.
pub fn overlay(overlay: &Overlay<'_>) -> io::Result<OwnedFd> {
    let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let fs = fs.as_fd();
    fsconfig_set_string(fs, "source", "overlay")?;
    // A kernel that does not know `lowerdir+` says so only when all is there, and in its log. Linux 6.5 to 6.7 refuse it
    // at once.
    let each = |layer: &PathBuf| fsconfig_set_string(fs, "lowerdir+", layer);
    let by_parts = kernel::version() >= (6, 5)
        && match overlay.lower.iter().rev().try_for_each(each) {
            Ok(()) => true,
            Err(rustix::io::Errno::INVAL) => false,
            Err(err) => return Err(err.into()),
        };
    if by_parts {
        if let Some((upper, work)) = overlay.upper {
            fsconfig_set_string(fs, "upperdir", upper)?;
            fsconfig_set_string(fs, "workdir", work)?;
        }
        finish(fs, overlay)
    } else {
        by_numbers(fs, overlay)
    }
}

fn finish(fs: BorrowedFd<'_>, overlay: &Overlay<'_>) -> io::Result<OwnedFd> {
    if overlay.upper.is_some() {
        // A monitor may still hold the overlay of the container's last run, see `monitor::run`, though nobody uses it.
        fsconfig_set_string(fs, "index", "off")?;
    }
    if overlay.userxattr {
        fsconfig_set_flag(fs, "userxattr")?;
    }
    fsconfig_create(fs)?;
    Ok(fsmount(fs, FsMountFlags::FSMOUNT_CLOEXEC, Attributes::MOUNT_ATTR_NODEV)?)
}

/// All layers in one word of at most 255 bytes: as numbers of descriptors, relative to `/proc/self/fd`.
fn by_numbers(fs: BorrowedFd<'_>, overlay: &Overlay<'_>) -> io::Result<OwnedFd> {
    let open = |dir: &Path| rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let layers: Vec<OwnedFd> = overlay.lower.iter().rev().map(|dir| open(dir)).collect::<Result<_, _>>()?;
    let name = |fd: &OwnedFd| fd.as_raw_fd().to_string();
    let upper = overlay.upper.map(|(upper, work)| Ok::<_, io::Error>((open(upper)?, open(work)?))).transpose()?;
    // Only this thread's working directory.
    let before = File::open(".")?;
    namespaces::unshare(Kinds::CLONE_FS)?;
    rustix::process::chdir("/proc/self/fd")?;
    let made = (|| {
        fsconfig_set_string(fs, "lowerdir", layers.iter().map(name).collect::<Vec<_>>().join(":"))?;
        if let Some((upper, work)) = &upper {
            fsconfig_set_string(fs, "upperdir", name(upper))?;
            fsconfig_set_string(fs, "workdir", name(work))?;
        }
        finish(fs, overlay)
    })();
    rustix::process::fchdir(&before)?;
    made
}

/// Makes a file system of a kind (`tmpfs`, `proc`) that is placed nowhere yet, of options with and without a value.
///
/// # Errors
/// The kernel knows no such kind or option, or it may not be mounted here.
pub fn new(kind: &str, options: &[(&str, Option<&str>)], attributes: Attributes) -> io::Result<OwnedFd> {
    let fs = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    let fs = fs.as_fd();
    for (name, value) in options {
        match value {
            Some(value) => fsconfig_set_string(fs, *name, *value)?,
            None => fsconfig_set_flag(fs, *name)?,
        }
    }
    fsconfig_create(fs)?;
    Ok(fsmount(fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// A second mount of what is at a path, placed nowhere yet; with the mounts below it, or without.
///
/// # Errors
/// Those of `open_tree(2)`. In a user namespace what another one mounted cannot be left out.
pub fn clone_tree(source: &Path, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(open_tree(CWD, source, flags)?)
}

/// As [`clone_tree`], of what a descriptor is open on, without the mounts below it.
///
/// # Errors
/// Those of `open_tree(2)`.
pub fn clone_of(source: impl AsFd) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(open_tree(source, "", flags)?)
}

/// As [`clone_of`], with the mounts below it.
///
/// # Errors
/// Those of `open_tree(2)`.
pub fn clone_of_recursive(source: impl AsFd) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    Ok(open_tree(source, "", flags | OpenTreeFlags::AT_EMPTY_PATH | OpenTreeFlags::AT_RECURSIVE)?)
}

/// As [`clone_tree`], with a path of another mount namespace. The caller ends in its own namespace again, at the root.
///
/// # Errors
/// Those of setns(2) and `open_tree(2)`.
pub fn clone_from(namespace: impl AsFd, source: &Path, recursive: bool) -> io::Result<OwnedFd> {
    let own = File::open("/proc/self/ns/mnt")?;
    namespaces::join(namespace, Kinds::CLONE_NEWNS)?;
    let tree = clone_tree(source, recursive);
    namespaces::join(own, Kinds::CLONE_NEWNS)?;
    tree
}

/// Places a mount over what a descriptor is open on.
///
/// # Errors
/// Those of `move_mount(2)`: a directory on a file, not permitted.
pub fn attach(tree: impl AsFd, target: impl AsFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(tree.as_fd(), "", target.as_fd(), "", flags)?)
}

/// Places a mount at a path of this mount namespace.
///
/// # Errors
/// Those of `move_mount(2)`.
pub fn place(tree: impl AsFd, target: &Path) -> io::Result<()> {
    Ok(move_mount(tree.as_fd(), "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// What is to change of a mount.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    /// Attributes that it gets.
    pub set: Attributes,
    /// Attributes that it loses.
    pub clear: Attributes,
    /// Whether it takes mounts from others, or shows them its own: `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED`.
    pub propagation: MountPropagationFlags,
}

impl Default for Change {
    fn default() -> Self {
        Self { set: Attributes::empty(), clear: Attributes::empty(), propagation: MountPropagationFlags::empty() }
    }
}

/// Changes a mount, and with `recursive` those below it too: all of them, or none.
///
/// # Errors
/// Not permitted, above all where another user namespace's attribute is to be cleared; a kernel before 5.12.
#[allow(unsafe_code)]
pub fn change(tree: impl AsFd, change: Change, recursive: bool) -> io::Result<()> {
    use nix::libc;
    let attributes = libc::mount_attr {
        attr_set: change.set.bits().into(),
        attr_clr: change.clear.bits().into(),
        propagation: change.propagation.bits().into(),
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    let path = c"".as_ptr();
    let (fd, size) = (tree.as_fd().as_raw_fd(), size_of_val(&attributes));
    // SAFETY: the path is a string that ends, the attributes are of the given size; the kernel only reads both.
    match unsafe { libc::syscall(libc::SYS_mount_setattr, fd, path, flags, &raw const attributes, size) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes a directory, which a mount of this mount namespace begins at, the root of this process, and leaves all that was
/// mounted before.
///
/// # Errors
/// Those of `pivot_root(2)`.
pub fn pivot(root: impl AsFd) -> io::Result<()> {
    rustix::process::fchdir(&root)?;
    // The old root is then mounted above the new one, in the same place.
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir("/")?)
}
