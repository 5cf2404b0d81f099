//! Layers copied on each other into one directory, where the kernel or the file system refuses overlayfs.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use crate::sys::tree::{self, Descent, Visitor, open_directory, stat_at};

use super::{Error, Result};

/// Bytes of paths that are remembered for hard links. Where hostile layers have more, links become files of their own.
const MAX_PATHS: usize = 64 << 20;
/// Longest path that one system call takes.
const PATH_MAX: usize = 4096;

/// Copies layers, the lowest first, into an existing directory, as overlayfs would show them.
///
/// The walk makes each directory itself before it goes into it, and never one that is a symbolic link: no name in a
/// layer can lead out of the target.
///
/// # Errors
/// Those of the file system; what was copied until then remains, for the caller to remove.
pub fn flatten(layers: &[PathBuf], target: &Path) -> Result<()> {
    for layer in layers {
        let source = open_directory(CWD, layer.as_path()).map_err(Error::at(layer))?;
        copy_layer(source, target).map_err(Error::at(target))?;
    }
    Ok(())
}

fn copy_layer(source: OwnedFd, target: &Path) -> io::Result<()> {
    let root = open_directory(CWD, target)?;
    let own = source.try_clone()?;
    if is_opaque(own.as_fd()) {
        tree::remove_contents(root.as_fd())?;
    }
    let mut copier = Copier {
        target: Descent::new(root.try_clone()?),
        root,
        path: Vec::new(),
        // Hard links are within one layer.
        links: HashMap::new(),
        remembered: 0,
    };
    tree::walk(source, &mut copier)?;
    directory_attributes(own.as_fd(), copier.root.as_fd())
}

struct Copier {
    root: OwnedFd,
    /// Where in the target the walk is.
    target: Descent,
    /// The same as a path, as long as it is short enough to be of use.
    path: Vec<u8>,
    /// Copies of files with several names, by the inodes of what they are copies of.
    links: HashMap<(u64, u64), CString>,
    remembered: usize,
}

impl Visitor for Copier {
    fn enter(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        let parent = self.target.here();
        match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
            Err(Errno::EXIST) => {
                let there = stat_at(parent, name)?;
                if !there.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory) {
                    tree::remove_at(parent, name)?;
                    rustix::fs::mkdirat(parent, name, Mode::RWXU)?;
                }
            }
            other => other?,
        }
        self.target.down(name)?;
        self.path.extend_from_slice(name.to_bytes());
        self.path.push(b'/');
        if is_opaque(dir) { tree::remove_contents(self.target.here()) } else { Ok(()) }
    }

    fn leave(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        let source = open_directory(dir, name)?;
        directory_attributes(source.as_fd(), self.target.here())?;
        self.path.truncate(self.path.len() - name.to_bytes_with_nul().len());
        self.target.up().map(|_| ())
    }

    fn other(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        let Some(stat) = stat_at(dir, name)? else { return Ok(()) };
        let parent = self.target.here();
        tree::remove_at(parent, name)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        // A whiteout: overlayfs hides what the layers below have there.
        if kind == FileType::CharacterDevice && stat.st_rdev == 0 {
            return Ok(());
        }
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
                return Ok(rustix::fs::linkat(&self.root, first.as_c_str(), parent, name, AtFlags::empty())?);
            }
            let path = [&self.path, name.to_bytes()].concat();
            if path.len() < PATH_MAX && self.remembered < MAX_PATHS {
                self.remembered += path.len();
                self.links.insert((stat.st_dev, stat.st_ino), CString::new(path)?);
            }
        }
        match kind {
            FileType::RegularFile => {
                let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mut from = File::from(rustix::fs::openat(dir, name, flags | OFlags::RDONLY, Mode::empty())?);
                let new = flags | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
                let mut to = File::from(rustix::fs::openat(parent, name, new, Mode::RUSR | Mode::WUSR)?);
                copy_data(&mut from, &mut to, stat.st_size.try_into().unwrap_or(0))?;
            }
            FileType::Symlink => {
                let link = rustix::fs::readlinkat(dir, name, Vec::new())?;
                rustix::fs::symlinkat(link.as_c_str(), parent, name)?;
            }
            kind => rustix::fs::mknodat(parent, name, kind, Mode::from_raw_mode(stat.st_mode), stat.st_rdev)?,
        }
        attributes(&through(dir, name), &through(parent, name), &stat)
    }
}

/// Copies what a file has, and leaves its holes: a small layer may have a file of terabytes.
fn copy_data(from: &mut File, to: &mut File, size: u64) -> io::Result<()> {
    let mut at = 0;
    while at < size {
        let Ok(start) = rustix::fs::seek(&*from, rustix::fs::SeekFrom::Data(at)) else { break };
        let end = rustix::fs::seek(&*from, rustix::fs::SeekFrom::Hole(start)).unwrap_or(size);
        from.seek(SeekFrom::Start(start))?;
        to.seek(SeekFrom::Start(start))?;
        io::copy(&mut from.take(end - start), to)?;
        at = end;
    }
    to.set_len(size)
}

/// A path to an entry of an open directory, for system calls that take no descriptor.
fn through(dir: BorrowedFd<'_>, name: &CStr) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(OsStr::from_bytes(name.to_bytes()))
}

fn directory_attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    attributes(&through(from, c"."), &through(to, c"."), &rustix::fs::fstat(from)?)
}

/// Owner first, for chown clears set-id bits and capabilities; times last, for everything else changes them.
fn attributes(from: &Path, to: &Path, stat: &Stat) -> io::Result<()> {
    let here = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(CWD, to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)), here)?;
    for (name, value) in xattrs(from) {
        if !is_overlays_own(&name) {
            rustix::fs::lsetxattr(to, name.as_slice(), &value, XattrFlags::empty())?;
        }
    }
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        rustix::fs::chmodat(CWD, to, Mode::from_raw_mode(stat.st_mode & 0o7777), AtFlags::empty())?;
    }
    let time = |seconds: i64, nanos: u64| Timespec { tv_sec: seconds, tv_nsec: nanos.try_into().unwrap_or(0) };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    };
    Ok(rustix::fs::utimensat(CWD, to, &times, here)?)
}

fn is_overlays_own(name: &[u8]) -> bool {
    name.starts_with(b"user.overlay.") || name.starts_with(b"trusted.overlay.")
}

pub(super) fn is_opaque(dir: BorrowedFd<'_>) -> bool {
    let all = xattrs(&through(dir, c"."));
    all.iter().any(|(name, value)| is_overlays_own(name) && name.ends_with(b".opaque") && value == b"y")
}

/// All extended attributes; none where the file system has no such thing.
fn xattrs(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut names = vec![0u8; 64 << 10];
    let Ok(len) = rustix::fs::llistxattr(path, &mut names[..]) else { return Vec::new() };
    let value = |name: &[u8]| {
        let mut value = vec![0u8; 64 << 10];
        let len = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
        value.truncate(len);
        Some((name.to_owned(), value))
    };
    names[..len].split(|byte| *byte == 0).filter(|name| !name.is_empty()).filter_map(value).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

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
        fs::hard_link(path("one/changed"), path("one/a/linked")).expect("link");
        symlink(path("outside"), path("one/door")).expect("symlink");
        fs::write(path("two/changed"), "2").expect("file");
        // In the upper layer the link's name is a directory: it must not be entered as the link.
        fs::create_dir(path("two/door")).expect("directory");
        fs::write(path("two/door/x"), "2").expect("file");
        flatten(&[path("one")], &path("out")).expect("flattened");
        let inode = |name: &str| fs::metadata(path(name)).expect("metadata").ino();
        assert_eq!(inode("out/changed"), inode("out/a/linked"));
        flatten(&[path("two")], &path("out")).expect("flattened");
        let read = |name: &str| fs::read_to_string(path(name)).expect("readable");
        assert_eq!((read("out/a/kept"), read("out/changed")), ("1".into(), "2".into()));
        assert_eq!((read("out/a/linked"), read("out/door/x")), ("1".into(), "2".into()));
        assert_eq!(fs::read_dir(path("outside")).expect("list").count(), 0);
    }

    #[test]
    fn holes_stay_holes_and_opaque_directories_hide() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = |name: &str| dir.path().join(name);
        for made in ["one/a/hidden", "two/a", "out"] {
            fs::create_dir_all(path(made)).expect("directory");
        }
        let sparse = File::create(path("one/sparse")).expect("file");
        sparse.set_len(1 << 32).expect("length");
        std::os::unix::fs::FileExt::write_all_at(&sparse, b"end", (1 << 32) - 3).expect("write");
        let opaque = rustix::fs::setxattr(path("two/a"), "user.overlay.opaque", b"y", XattrFlags::empty());
        opaque.expect("attribute");
        flatten(&[path("one"), path("two")], &path("out")).expect("flattened");
        let copied = fs::metadata(path("out/sparse")).expect("sparse");
        assert!(copied.len() == 1 << 32 && copied.blocks() * 512 < 1 << 20, "{copied:?}");
        assert!(path("out/a").exists() && !path("out/a/hidden").exists());
    }

    #[test]
    fn deep_layers_are_copied_on_a_small_stack() {
        let dir = tempfile::tempdir_in("/dev/shm").expect("temporary directory");
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir(&from).expect("directory");
        fs::create_dir(&to).expect("directory");
        let mut at = open_directory(CWD, from.as_path()).expect("open");
        for _ in 0..8_000 {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).expect("directory");
            at = open_directory(at.as_fd(), "d").expect("open");
        }
        for name in ["one", "two"] {
            let flags = OFlags::CREATE | OFlags::WRONLY;
            rustix::fs::openat(&at, name, flags, Mode::RUSR)
                .map(|fd| rustix::io::write(fd, b"12"))
                .expect("file")
                .expect("write");
        }
        let target = to.clone();
        let work = move || flatten(&[from], &target);
        let small = std::thread::Builder::new().stack_size(128 << 10);
        small.spawn(work).expect("thread").join().expect("no panic").expect("flattened");
        assert_eq!(tree::size(&to), 4);
        tree::remove(dir.path()).expect("removed");
    }
}
