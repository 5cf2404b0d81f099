//! A directory tree that is written to by paths from outside, none of which can lead out of it.
//!
//! Every directory is opened with openat2(2) and `RESOLVE_IN_ROOT`: the kernel itself takes the tree's root for `/`, so
//! a symbolic link in the middle of a path, absolute or not, stays inside even if it changes meanwhile.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Mode of directories that a path needs but that no entry described.
const IMPLIED_MODE: Mode = Mode::from_raw_mode(0o755);
/// Bytes that a path may have in a system call, with the NUL at its end.
const PATH_MAX: usize = 4096;
/// For what is looked up from a directory in the middle of the tree.
const BELOW: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);

/// The tree, and the directory that was used last: entries of one directory follow each other.
#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
    last: Option<(Vec<u8>, OwnedFd)>,
}

impl Tree {
    /// The tree whose root is this directory.
    pub fn new(root: OwnedFd) -> Self {
        Self { root, last: None }
    }

    /// A directory of the tree by its clean path (no leading slash, no `.` or `..`; empty: the root). It and those
    /// above it are made if they are missing.
    ///
    /// # Errors
    /// `NotADirectory` if something else is in the way, a dangling link among it; and those of the file system.
    pub fn directory(&mut self, path: &[u8]) -> io::Result<BorrowedFd<'_>> {
        if path.is_empty() {
            return Ok(self.root.as_fd());
        }
        if self.last.as_ref().is_none_or(|(have, _)| have != path) {
            let fd = self.open_or_make(path)?;
            self.last = Some((path.to_vec(), fd));
        }
        match &self.last {
            Some((_, fd)) => Ok(fd.as_fd()),
            None => Ok(self.root.as_fd()),
        }
    }

    /// Like [`Tree::directory`], but never makes one.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`, and those of the file system.
    pub fn existing(&self, path: &[u8]) -> io::Result<OwnedFd> {
        self.open(path, OFlags::RDONLY)
    }

    fn open(&self, path: &[u8], access: OFlags) -> io::Result<OwnedFd> {
        let path = if path.is_empty() { b".".as_slice() } else { path };
        let (first, mut rest) = head(path);
        let mut fd = resolve(self.root.as_fd(), first, access, ResolveFlags::IN_ROOT)?;
        while !rest.is_empty() {
            // Nobody says what a link would mean that is further from the root than a path can be long.
            let (next, after) = head(rest);
            fd = resolve(fd.as_fd(), next, access, BELOW)?;
            rest = after;
        }
        Ok(fd)
    }

    /// Opens a directory from the one that was used last, if it is below it: the kernel need not begin at the root.
    fn open_from_last(&self, path: &[u8]) -> Option<OwnedFd> {
        let (last, fd) = self.last.as_ref()?;
        let below = path.strip_prefix(last.as_slice())?.strip_prefix(b"/")?;
        resolve(fd.as_fd(), below, OFlags::PATH, BELOW).ok()
    }

    fn open_or_make(&self, path: &[u8]) -> io::Result<OwnedFd> {
        if let Some(fd) = self.open_from_last(path) {
            return Ok(fd);
        }
        // The deepest one that is there, then what is missing below it.
        let mut there = path;
        let mut at = loop {
            match self.open(there, OFlags::PATH) {
                Err(err) if err.kind() == io::ErrorKind::NotFound && !there.is_empty() => there = split(there).0,
                other => break other?,
            }
        };
        let missing = path[there.len()..].split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        for name in missing {
            match rustix::fs::mkdirat(&at, name, IMPLIED_MODE) {
                Ok(()) => {}
                // It is there and yet cannot be opened as a directory: a link to nowhere.
                Err(Errno::EXIST) => return Err(io::ErrorKind::NotADirectory.into()),
                Err(err) => return Err(err.into()),
            }
            at = rustix::fs::openat(&at, name, here(OFlags::RDONLY | OFlags::DIRECTORY), Mode::empty())?;
            rustix::fs::fchmod(&at, IMPLIED_MODE)?;
        }
        Ok(at)
    }

    /// Forgets the directory used last: to be called when one may have been replaced.
    pub fn forget(&mut self) {
        self.last = None;
    }
}

/// Opens a directory without leaving the one it is looked up in.
fn resolve(dir: BorrowedFd<'_>, path: &[u8], access: OFlags, how: ResolveFlags) -> io::Result<OwnedFd> {
    let flags = access | OFlags::DIRECTORY | OFlags::CLOEXEC;
    loop {
        // The kernel answers EAGAIN where a rename elsewhere keeps it from being sure about `..`.
        match rustix::fs::openat2(dir, path, flags, Mode::empty(), how | ResolveFlags::NO_MAGICLINKS) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// As much of a path as one system call takes, and the rest.
fn head(path: &[u8]) -> (&[u8], &[u8]) {
    if path.len() < PATH_MAX {
        return (path, b"");
    }
    let end = path[..PATH_MAX].iter().rposition(|byte| *byte == b'/').unwrap_or(path.len());
    (&path[..end], path.get(end + 1..).unwrap_or_default())
}

/// Flags for opening an entry itself, never what a link points to.
pub fn here(flags: OFlags) -> OFlags {
    flags | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

/// What is at a name in a directory, links not followed.
///
/// # Errors
/// Those of the file system other than absence.
pub fn stat(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Option<rustix::fs::Stat>> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(err) => Err(err.into()),
    }
}

/// Whether this is overlayfs's mark for a removed file.
pub fn is_whiteout(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// A path to an entry of an open directory, for system calls that take no descriptor.
pub fn through(dir: BorrowedFd<'_>, name: &[u8]) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(OsStr::from_bytes(name))
}

/// Directory and last component of a clean path.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// A path as written, made clean: no empty component, no `.`; a `..` takes back what precedes it. None if it leads out
/// of the root. Absolute paths begin at the root.
pub fn clean(path: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()?),
            _ => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_and_held_inside() {
        assert_eq!(clean(b"./a//b/../c/"), Some(b"a/c".to_vec()));
        assert_eq!(clean(b"/etc/passwd"), Some(b"etc/passwd".to_vec()));
        assert_eq!(clean(b"./"), Some(Vec::new()));
        assert_eq!(clean(b"../x"), None);
        assert_eq!(clean(b"a/../../x"), None);
        assert_eq!(split(b"a/b/c"), (b"a/b".as_slice(), b"c".as_slice()));
    }
}
