//! What the host is and has, for the specification.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::{StartError, errno_text};
use crate::holder::{self, Entered};
use crate::spec::Host;
use crate::state::paths::Home;
use crate::sys::kernel;

/// What every container of this host and user finds; with the devices that a privileged one gets.
pub fn facts(home: &Home, entered: &Entered, privileged: bool) -> Host {
    Host {
        rootless: entered.rootless,
        single_id: entered.single_id,
        last_gid: holder::last_gid(),
        kernel: kernel::version(),
        devices: if privileged { devices(Path::new("/dev")) } else { Vec::new() },
        asked_devices: Vec::new(),
        block_devices: BTreeMap::new(),
        socket: home.socket(),
    }
}

/// The device nodes that a request for a device means: the one that its path leads to, or all in that directory; each
/// with its place in the container.
///
/// # Errors
/// There is nothing, or no device.
pub fn device_nodes(asked: &str, inside: &str) -> Result<Vec<(PathBuf, String)>, StartError> {
    let refused = |why: &dyn std::fmt::Display| {
        StartError::other(format!("error gathering device information while adding custom device \"{asked}\": {why}"))
    };
    let missing = |err: io::Error| refused(&errno_text(&err));
    let path = fs::canonicalize(asked).map_err(missing)?;
    let is_device = |kind: fs::FileType| kind.is_char_device() || kind.is_block_device();
    if is_device(fs::symlink_metadata(&path).map_err(missing)?.file_type()) {
        return Ok(vec![(path, inside.to_owned())]);
    }
    let mut nodes = Vec::new();
    let mut left = vec![path.clone()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let (node, kind) = (entry.path(), entry.file_type());
            match kind {
                Ok(kind) if kind.is_dir() => left.push(node),
                Ok(kind) if is_device(kind) => {
                    let below = node.strip_prefix(&path).unwrap_or(&node).to_string_lossy().into_owned();
                    nodes.push((node, format!("{}/{below}", inside.trim_end_matches('/'))));
                }
                _ => {}
            }
        }
    }
    nodes.sort();
    if nodes.is_empty() { Err(refused(&"not a device node")) } else { Ok(nodes) }
}

/// The numbers of a block device.
pub fn block_device(path: &str) -> Option<(i64, i64)> {
    let meta = fs::metadata(path).ok().filter(|meta| meta.file_type().is_block_device())?;
    let number = meta.rdev();
    Some((rustix::fs::major(number).into(), rustix::fs::minor(number).into()))
}

/// The devices below a directory that this user may open.
fn devices(dir: &Path) -> Vec<PathBuf> {
    // Those that every container has of its own.
    const OWN: [&str; 15] = [
        "console", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty",
        "urandom", "zero",
    ];
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if dir == Path::new("/dev") && OWN.iter().any(|own| name == *own) {
            continue;
        }
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            found.extend(devices(&path));
        } else if kind.is_char_device() || kind.is_block_device() {
            use rustix::fs::{Access, AtFlags, CWD, accessat};
            if accessat(CWD, &path, Access::READ_OK, AtFlags::EACCESS).is_ok() {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
