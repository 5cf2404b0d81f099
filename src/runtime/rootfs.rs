//! The root file system: the image's layers below, what the container writes above.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::state::store::PROBE;
use crate::sys::mounts::{self, Overlay};
use crate::sys::tree;

/// Mounts layers (the lowest first) with a writable one above them on `target`, in this mount namespace.
///
/// # Errors
/// The kernel or the file system refuses.
pub fn mount(layers: &[PathBuf], upper: &Path, work: &Path, target: &Path, rootless: bool) -> io::Result<()> {
    if layers.is_empty() {
        // Nothing below: what is written is all there is.
        return mounts::bind_recursive(upper, target);
    }
    mounts::overlay(&Overlay { lower: layers, upper: Some((upper, work)), userxattr: rootless }, target)
}

/// Shows layers (the lowest first) read-only on `target`.
///
/// # Errors
/// As [`mount`].
pub fn mount_read_only(layers: &[PathBuf], target: &Path, rootless: bool) -> io::Result<()> {
    match layers {
        [] => Ok(()),
        [only] => {
            mounts::bind_recursive(only, target)?;
            mounts::remount_read_only(target)
        }
        _ => mounts::overlay(&Overlay { lower: layers, upper: None, userxattr: rootless }, target),
    }
}

/// Whether overlays work for directories in `dir`, found by mounting one for a moment. In the caller's own mount
/// namespace, which must be one that nobody else uses.
///
/// # Errors
/// Why not.
pub fn overlay_supported(dir: &Path, rootless: bool) -> io::Result<()> {
    let probe = dir.join(format!("{PROBE}{}", std::process::id()));
    let [lower, upper, work, target] = ["lower", "upper", "work", "target"].map(|name| probe.join(name));
    let tried = (|| {
        for dir in [&lower, &upper, &work, &target] {
            fs::create_dir_all(dir)?;
        }
        fs::write(lower.join("file"), "")?;
        mount(std::slice::from_ref(&lower), &upper, &work, &target, rootless)?;
        // A whiteout is what some file systems cannot have.
        let removed = fs::remove_file(target.join("file"));
        mounts::detach(&target)?;
        removed
    })();
    // The kernel leaves a directory of mode 0 in `work`, which root of a user namespace may still enter.
    let _ = tree::remove(&probe);
    tried
}
