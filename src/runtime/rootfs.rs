//! The root file system: the image's layers below, what the container writes above.
//!
//! It is made as a mount that is not placed anywhere: a descriptor under which files can be looked up and made, and which
//! is all that reading a stopped container's files needs. A start places it in the container's mount namespace.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::mount::MountPropagationFlags;

use crate::state::store::PROBE;
use crate::sys::mounts::{self, Attributes, Change, Overlay};
use crate::sys::openat2::Root;
use crate::sys::tree;

/// What a root file system is made of.
#[derive(Debug, Clone)]
pub enum RootFs<'a> {
    /// The kernel's overlayfs.
    Overlay {
        /// Read-only directories, the lowest first.
        lower: &'a [PathBuf],
        /// What is written, with its scratch directory; none: nothing can be written.
        upper: Option<(&'a Path, &'a Path)>,
    },
    /// A directory with all files in it.
    Directory(&'a Path),
}

impl RootFs<'_> {
    /// Mounts it. Devices on it are none.
    ///
    /// # Errors
    /// The kernel or the file system refuses.
    pub fn mount(&self, rootless: bool) -> io::Result<Root> {
        let mount = match self {
            Self::Overlay { lower, upper: None } if lower.len() < 2 => {
                // The kernel wants at least two lower directories where there is no upper one.
                let only = lower.first().ok_or(io::ErrorKind::NotFound)?;
                let mount = mounts::clone_tree(only, false)?;
                let set = Attributes::MOUNT_ATTR_RDONLY | Attributes::MOUNT_ATTR_NODEV;
                mounts::change(&mount, Change { set, ..Change::default() }, false)?;
                mount
            }
            Self::Overlay { lower, upper } => mounts::overlay(&Overlay { lower, upper: *upper, userxattr: rootless })?,
            Self::Directory(dir) => {
                let mount = mounts::clone_tree(dir, true)?;
                let propagation = MountPropagationFlags::PRIVATE;
                mounts::change(
                    &mount,
                    Change { set: Attributes::MOUNT_ATTR_NODEV, propagation, ..Change::default() },
                    true,
                )?;
                mount
            }
        };
        Ok(Root::from(mount))
    }
}

/// Whether overlays work for directories in `dir`, found by mounting one for a moment.
///
/// # Errors
/// Why not.
pub fn overlay_supported(dir: &Path, rootless: bool) -> io::Result<()> {
    let probe = dir.join(format!("{PROBE}{}", std::process::id()));
    let [lower, upper, work] = ["lower", "upper", "work"].map(|name| probe.join(name));
    let tried = (|| {
        for dir in [&lower, &upper, &work] {
            fs::create_dir_all(dir)?;
        }
        fs::write(lower.join("file"), "")?;
        let lower = std::slice::from_ref(&lower);
        let root = RootFs::Overlay { lower, upper: Some((&upper, &work)) }.mount(rootless)?;
        // A whiteout is what some file systems cannot have.
        Ok(rustix::fs::unlinkat(root, "file", rustix::fs::AtFlags::empty())?)
    })();
    // The kernel leaves a directory of mode 0 in `work`, which root of a user namespace may still enter.
    let _ = tree::remove(&probe);
    tried
}
