//! What a container may not write and not see, once its root is the root: kernel parameters, read-only and masked paths.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::Linux;
use rustix::fs::{FileType, Mode, OFlags};

use super::{StartError, child};
use crate::sys::mounts::{self, Attributes, Change};
use crate::sys::openat2::Root;

/// Applies it to the root of this process.
pub(super) fn restrict(root: &Root, linux: &Linux, read_only: bool) -> Result<(), StartError> {
    for (name, value) in linux.sysctl().iter().flatten() {
        set_sysctl(root, name, value)
            .map_err(|err| StartError::other(format!("open sysctl {name} file: {}", child::errno_text(&err))))?;
    }
    if read_only {
        make_read_only(root).map_err(StartError::at("cannot make the root read-only"))?;
    }
    for path in linux.readonly_paths().iter().flatten() {
        ignore_missing(protect(root, Path::new(path))).map_err(StartError::at(path))?;
    }
    let mut null = None;
    for path in linux.masked_paths().iter().flatten() {
        ignore_missing(mask(root, Path::new(path), &mut null)).map_err(StartError::at(path))?;
    }
    Ok(())
}

/// Only in the kernel's own file system, whatever is mounted on /proc.
fn set_sysctl(root: &Root, name: &str, value: &str) -> io::Result<()> {
    let path = Path::new("/proc/sys").join(name.replace('.', "/"));
    let mut file = File::from(root.open_beneath(&path, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty())?);
    if rustix::fs::fstatfs(&file)?.f_type != rustix::fs::PROC_SUPER_MAGIC {
        return Err(io::ErrorKind::NotFound.into());
    }
    file.write_all(value.as_bytes())
}

/// The mount itself; those below it stay as they are.
fn make_read_only(tree: impl AsFd) -> io::Result<()> {
    mounts::change(tree, Change { set: Attributes::MOUNT_ATTR_RDONLY, ..Change::default() }, false)
}

fn look(root: &Root, path: &Path) -> io::Result<OwnedFd> {
    root.open_beneath(path, OFlags::PATH, Mode::empty())
}

/// A mount of itself on itself, read-only. What is mounted below stays as it is.
fn protect(root: &Root, path: &Path) -> io::Result<()> {
    let target = look(root, path)?;
    let tree = mounts::clone_of_recursive(&target)?;
    make_read_only(&tree)?;
    mounts::attach(tree, target)
}

/// Hides a directory behind an empty one, a file behind the null device.
fn mask(root: &Root, path: &Path, null: &mut Option<OwnedFd>) -> io::Result<()> {
    let target = look(root, path)?;
    let tree = if FileType::from_raw_mode(rustix::fs::fstat(&target)?.st_mode).is_dir() {
        mounts::new("tmpfs", &[("size", Some("0k"))], Attributes::MOUNT_ATTR_RDONLY)?
    } else {
        let null = match null {
            Some(null) => null,
            None => null.insert(open_null(root)?),
        };
        mounts::clone_of(null)?
    };
    mounts::attach(tree, target)
}

/// The null device. /dev may be a volume, whose owner could have put anything there.
fn open_null(root: &Root) -> io::Result<OwnedFd> {
    let null = root.open_beneath(Path::new("/dev/null"), OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?;
    if !child::is_null(null.as_fd()) {
        return Err(io::Error::other("/dev/null is not the null device"));
    }
    Ok(null)
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(err) if matches!(err.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(()),
        // Hidden by the host itself.
        Err(err) if err.raw_os_error() == Some(nix::libc::EACCES) => Ok(()),
        other => other,
    }
}
