//! Layers copied on each other into one directory, where the kernel or the file system refuses overlayfs.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

use super::{Error, Result};

/// Copies layers, the lowest first, into an existing directory, as overlayfs would show them.
///
/// The walk makes each directory itself before it goes into it, and never one that is a symbolic link: no name in a
/// layer can lead out of the target.
///
/// # Errors
/// Those of the file system; what was copied until then remains, for the caller to remove.
pub fn flatten(layers: &[PathBuf], target: &Path) -> Result<()> {
    for layer in layers {
        // Hard links are within one layer.
        let mut links = HashMap::new();
        directory(layer, target, &mut links)?;
    }
    Ok(())
}

type Links = HashMap<(u64, u64), PathBuf>;

fn directory(from: &Path, to: &Path, links: &mut Links) -> Result<()> {
    let meta = fs::symlink_metadata(from).map_err(Error::at(from))?;
    if is_opaque(from) {
        for entry in fs::read_dir(to).map_err(Error::at(to))?.flatten() {
            remove(&entry.path())?;
        }
    }
    for entry in fs::read_dir(from).map_err(Error::at(from))? {
        let entry = entry.map_err(Error::at(from))?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        copy(&from, &to, links)?;
    }
    attributes(from, to, &meta)
}

fn copy(from: &Path, to: &Path, links: &mut Links) -> Result<()> {
    let meta = fs::symlink_metadata(from).map_err(Error::at(from))?;
    let kind = meta.file_type();
    if kind.is_dir() {
        if !fs::symlink_metadata(to).is_ok_and(|there| there.is_dir()) {
            remove(to)?;
            fs::create_dir(to).map_err(Error::at(to))?;
        }
        return directory(from, to, links);
    }
    remove(to)?;
    // A whiteout: overlayfs hides what the layers below have there.
    if kind.is_char_device() && meta.rdev() == 0 {
        return Ok(());
    }
    if meta.nlink() > 1 {
        if let Some(first) = links.get(&(meta.dev(), meta.ino())) {
            return fs::hard_link(first, to).map_err(Error::at(to));
        }
        links.insert((meta.dev(), meta.ino()), to.to_owned());
    }
    if kind.is_symlink() {
        let link = fs::read_link(from).map_err(Error::at(from))?;
        symlink(link, to).map_err(Error::at(to))?;
    } else if kind.is_file() {
        fs::copy(from, to).map_err(Error::at(to))?;
    } else {
        let kind = FileType::from_raw_mode(meta.mode());
        let made = rustix::fs::mknodat(CWD, to, kind, Mode::from_raw_mode(meta.mode()), meta.rdev());
        made.map_err(|err| Error::at(to)(err.into()))?;
    }
    attributes(from, to, &meta)
}

fn remove(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(err) => Err(err),
    };
    match removed {
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(Error::at(path)(err)),
        _ => Ok(()),
    }
}

/// Owner first, for chown clears set-id bits and capabilities; times last, for everything else changes them.
fn attributes(from: &Path, to: &Path, meta: &Metadata) -> Result<()> {
    let at = |err: rustix::io::Errno| Error::at(to)(err.into());
    lchown(to, Some(meta.uid()), Some(meta.gid())).map_err(Error::at(to))?;
    for (name, value) in xattrs(from) {
        if !name.contains("overlay.") {
            rustix::fs::lsetxattr(to, name.as_str(), &value, XattrFlags::empty()).map_err(at)?;
        }
    }
    if !meta.file_type().is_symlink() {
        fs::set_permissions(to, fs::Permissions::from_mode(meta.mode() & 0o7777)).map_err(Error::at(to))?;
    }
    let times = Timestamps {
        last_access: Timespec { tv_sec: meta.atime(), tv_nsec: meta.atime_nsec() },
        last_modification: Timespec { tv_sec: meta.mtime(), tv_nsec: meta.mtime_nsec() },
    };
    rustix::fs::utimensat(CWD, to, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).map_err(at)
}

fn is_opaque(dir: &Path) -> bool {
    xattrs(dir).iter().any(|(name, value)| name.ends_with(".overlay.opaque") && value == b"y")
}

/// All extended attributes; none where the file system has no such thing.
fn xattrs(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut names = vec![0u8; 64 << 10];
    let Ok(len) = rustix::fs::llistxattr(path, &mut names[..]) else { return Vec::new() };
    let names = names[..len].split(|&byte| byte == 0).filter_map(|name| std::str::from_utf8(name).ok());
    let value = |name: &str| {
        let mut value = vec![0u8; 64 << 10];
        let len = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
        value.truncate(len);
        Some((name.to_owned(), value))
    };
    names.filter(|name| !name.is_empty()).filter_map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upper_layers_replace_and_links_lead_nowhere() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = |name: &str| dir.path().join(name);
        for made in ["one/a", "two/a", "out", "outside"] {
            fs::create_dir_all(path(made)).expect("directory");
        }
        fs::write(path("one/a/kept"), "1").expect("file");
        fs::write(path("one/changed"), "1").expect("file");
        fs::hard_link(path("one/changed"), path("one/linked")).expect("link");
        symlink(path("outside"), path("one/door")).expect("symlink");
        fs::write(path("two/changed"), "2").expect("file");
        // In the upper layer the link's name is a directory: it must not be entered as the link.
        fs::create_dir(path("two/door")).expect("directory");
        fs::write(path("two/door/x"), "2").expect("file");
        flatten(&[path("one"), path("two")], &path("out")).expect("flattened");
        let read = |name: &str| fs::read_to_string(path(name)).expect("readable");
        assert_eq!((read("out/a/kept"), read("out/changed"), read("out/linked")), ("1".into(), "2".into(), "1".into()));
        assert_eq!(read("out/door/x"), "2");
        assert_eq!(fs::read_dir(path("outside")).expect("list").count(), 0);
    }
}
