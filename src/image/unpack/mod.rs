//! Unpacks a layer's tar into a directory that overlayfs can take for a lower layer.
//!
//! Docker's marks for what a layer removes become overlayfs's own: `.wh.NAME` a character device 0:0 called `NAME`, and
//! `.wh..wh..opq` an attribute of its directory. Works as root and as root of a user namespace alike; what the latter
//! may not do (attributes of other namespaces), and device nodes, which containers get from the engine, is left out and
//! noted. Owners that do not exist are an error.

mod owner;
mod tree;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

use owner::Owner;
pub use owner::Privilege;
pub use tree::clean;
use tree::{Tree, here, split};

use crate::sys::tree::remove_at;

use super::entries::{Entries, Entry, Kind};

const WHITEOUT: &[u8] = b".wh.";
const META: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const BUFFER: usize = 256 << 10;
/// Bytes of directories' paths that are kept until the end.
const MAX_REMEMBERED: usize = 256 << 20;
/// Notes kept; the rest are counted.
const MAX_NOTES: usize = 20;

/// What came of unpacking.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// Sum of the files' lengths in bytes, each file counted once.
    pub size: u64,
    /// Entries written.
    pub entries: u64,
    /// What could not be kept, for people.
    pub notes: Vec<String>,
    /// How many notes there would be.
    pub noted: usize,
}

/// Why a layer could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// A path or hard link leads out of the layer's root.
    #[error("\"{0}\" is outside of the layer's root")]
    Outside(String),
    /// One entry could not be written.
    #[error("{path}: {source}")]
    Entry {
        /// Its path as written.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// An owner that this process cannot give.
    #[error("{path}: {why}")]
    Owner {
        /// Its path as written.
        path: String,
        /// Which id, and what to do.
        why: String,
    },
    /// The archive cannot be read.
    #[error("reading layer: {0}")]
    Read(#[source] io::Error),
}

/// Unpacks the archive into a directory. On an error the directory is in disorder: the caller removes it.
///
/// # Errors
/// As [`UnpackError`] says.
pub fn unpack(archive: impl Read, root: OwnedFd, privilege: Privilege) -> Result<Unpacked, UnpackError> {
    let mut unpacker = Unpacker {
        tree: Tree::new(root),
        privilege,
        directories: Vec::new(),
        remembered: 0,
        buffer: vec![0; BUFFER],
        done: Unpacked::default(),
    };
    let mut entries = Entries::new(archive);
    while let Some(entry) = entries.next_entry().map_err(UnpackError::Read)? {
        unpacker.write(&entry, &mut entries)?;
    }
    unpacker.finish()
}

struct Unpacker {
    tree: Tree,
    privilege: Privilege,
    /// Times of directories, set last because every entry in them changes them.
    directories: Vec<(Vec<u8>, Timestamps)>,
    /// Bytes of their paths.
    remembered: usize,
    buffer: Vec<u8>,
    done: Unpacked,
}

impl Unpacker {
    fn write(&mut self, entry: &Entry, data: &mut impl Read) -> Result<(), UnpackError> {
        let shown = || String::from_utf8_lossy(&entry.path).into_owned();
        let path = clean(&entry.path).ok_or_else(|| UnpackError::Outside(shown()))?;
        self.done.entries += 1;
        let written = match split(&path) {
            (_, b"") => {
                let owner = self.owner(entry)?;
                self.root_entry(entry, &owner)
            }
            (dir, OPAQUE) => self.opaque(dir),
            // Other marks of the old aufs driver mean nothing here.
            (_, name) if name.starts_with(META) => Ok(()),
            (dir, name) => match name.strip_prefix(WHITEOUT) {
                Some(b"" | b"." | b"..") => return Err(UnpackError::Outside(shown())),
                Some(hidden) => self.whiteout(dir, hidden),
                None if entry.kind == Kind::HardLink => {
                    let target = clean(&entry.link).filter(|target| !target.is_empty());
                    let Some(target) = target else {
                        return Err(UnpackError::Outside(String::from_utf8_lossy(&entry.link).into_owned()));
                    };
                    self.hard_link(&path, &target)
                }
                None => {
                    let owner = self.owner(entry)?;
                    self.create(dir, name, &path, &owner, entry, data)
                }
            },
        };
        written.map_err(|source| UnpackError::Entry { path: shown(), source })
    }

    /// Whether its owner can be had, before anything is made of it.
    fn owner(&self, entry: &Entry) -> Result<Owner, UnpackError> {
        let path = || String::from_utf8_lossy(&entry.path).into_owned();
        self.privilege.owner(entry).map_err(|why| UnpackError::Owner { path: path(), why })
    }

    fn root_entry(&mut self, entry: &Entry, owner: &Owner) -> io::Result<()> {
        if entry.kind != Kind::Directory {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the root is not a directory"));
        }
        let root = self.tree.existing(b"")?;
        self.attributes(root.as_fd(), entry, owner)?;
        self.remember(Vec::new(), entry)
    }

    fn create(
        &mut self,
        dir: &[u8],
        name: &[u8],
        path: &[u8],
        owner: &Owner,
        entry: &Entry,
        data: &mut impl Read,
    ) -> io::Result<()> {
        match entry.kind {
            Kind::Directory => {
                let fd = self.make_directory(dir, name)?;
                self.attributes(fd.as_fd(), entry, owner)?;
                self.remember(path.to_vec(), entry)
            }
            Kind::File => {
                let flags = here(OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL);
                let mode = Mode::RUSR | Mode::WUSR;
                let fd = self.replacing(dir, name, |dir| rustix::fs::openat(dir, name, flags, mode))?;
                let mut file = File::from(fd);
                self.content(&mut file, entry, data)?;
                self.attributes(file.as_fd(), entry, owner)?;
                rustix::fs::futimens(&file, &times(entry))?;
                self.done.size = self.done.size.saturating_add(entry.size);
                Ok(())
            }
            Kind::Symlink => {
                self.replacing(dir, name, |dir| rustix::fs::symlinkat(entry.link.as_slice(), dir, name))?;
                self.attributes_by_name(dir, name, entry, owner)
            }
            Kind::Fifo => {
                let make =
                    |dir: BorrowedFd<'_>| rustix::fs::mknodat(dir, name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0);
                self.replacing(dir, name, make)?;
                self.attributes_by_name(dir, name, entry, owner)
            }
            // A user namespace cannot make them, and as root of the machine they would be the host's own devices. A
            // container is given those that it may have.
            Kind::Char | Kind::Block => {
                self.note(entry, "device node left out");
                Ok(())
            }
            Kind::HardLink => Ok(()),
        }
    }

    /// Keeps a directory's times for the end. Its path is as long as the archive says, and packs well.
    fn remember(&mut self, path: Vec<u8>, entry: &Entry) -> io::Result<()> {
        self.remembered += path.len();
        if self.remembered > MAX_REMEMBERED {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "too many directories with too long paths"));
        }
        self.directories.push((path, times(entry)));
        Ok(())
    }

    /// Makes something at a name, in place of whatever an earlier entry put there.
    fn replacing<T>(
        &mut self,
        dir: &[u8],
        name: &[u8],
        make: impl Fn(BorrowedFd<'_>) -> rustix::io::Result<T>,
    ) -> io::Result<T> {
        let parent = self.tree.directory(dir)?;
        match make(parent) {
            Err(Errno::EXIST) => {}
            other => return Ok(other?),
        }
        remove_at(parent, name)?;
        let made = make(parent)?;
        self.tree.forget();
        Ok(made)
    }

    fn make_directory(&mut self, dir: &[u8], name: &[u8]) -> io::Result<OwnedFd> {
        let parent = self.tree.directory(dir)?;
        let open = |parent| rustix::fs::openat(parent, name, here(OFlags::RDONLY | OFlags::DIRECTORY), Mode::empty());
        let mode = Mode::RWXU;
        match rustix::fs::mkdirat(parent, name, mode) {
            Ok(()) => return Ok(open(parent)?),
            Err(Errno::EXIST) => {}
            Err(err) => return Err(err.into()),
        }
        let there = tree::stat(parent, name)?;
        let is_directory = |stat: &rustix::fs::Stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if there.as_ref().is_some_and(is_directory) {
            return Ok(open(parent)?);
        }
        remove_at(parent, name)?;
        rustix::fs::mkdirat(parent, name, mode)?;
        let fd = open(parent)?;
        // The whiteout that was there hid the lower layers' directory: the new one must not show it again.
        if there.as_ref().is_some_and(tree::is_whiteout) {
            self.mark_opaque(fd.as_fd())?;
        }
        self.tree.forget();
        Ok(fd)
    }

    fn whiteout(&mut self, dir: &[u8], hidden: &[u8]) -> io::Result<()> {
        let parent = self.tree.directory(dir)?;
        let none = Mode::empty();
        match rustix::fs::mknodat(parent, hidden, FileType::CharacterDevice, none, 0) {
            // This layer has the name itself; a file hides the lower layers' by being there, a directory if opaque.
            Err(Errno::EXIST) => {}
            other => return Ok(other?),
        }
        match rustix::fs::openat(parent, hidden, here(OFlags::RDONLY | OFlags::DIRECTORY), none) {
            Ok(fd) => self.mark_opaque(fd.as_fd()),
            Err(Errno::NOTDIR | Errno::LOOP) => Ok(()),
            Err(err) => Err(err.into()),
        }
    }

    fn opaque(&mut self, dir: &[u8]) -> io::Result<()> {
        self.tree.directory(dir)?;
        let fd = self.tree.existing(dir)?;
        self.mark_opaque(fd.as_fd())
    }

    fn mark_opaque(&self, dir: BorrowedFd<'_>) -> io::Result<()> {
        Ok(rustix::fs::fsetxattr(dir, self.privilege.opaque_attribute(), b"y", XattrFlags::empty())?)
    }

    fn hard_link(&mut self, path: &[u8], target: &[u8]) -> io::Result<()> {
        if path == target {
            return Ok(());
        }
        let ((dir, name), (target_dir, target_name)) = (split(path), split(target));
        let from = self.tree.existing(target_dir)?;
        self.replacing(dir, name, |dir| rustix::fs::linkat(&from, target_name, dir, name, AtFlags::empty()))
    }

    fn content(&mut self, file: &mut File, entry: &Entry, data: &mut impl Read) -> io::Result<()> {
        let Some(fragments) = &entry.fragments else { return self.copy(file, entry.size, data) };
        for (offset, length) in fragments {
            file.seek(SeekFrom::Start(*offset))?;
            self.copy(file, *length, data)?;
        }
        file.set_len(entry.size)
    }

    fn copy(&mut self, file: &mut File, mut length: u64, data: &mut impl Read) -> io::Result<()> {
        while length > 0 {
            let want = usize::try_from(length).map_or(BUFFER, |length| length.min(BUFFER));
            data.read_exact(&mut self.buffer[..want])?;
            file.write_all(&self.buffer[..want])?;
            length -= want as u64;
        }
        Ok(())
    }

    /// Owner, extended attributes and mode of an open file; in this order, since a change of owner takes away both
    /// capabilities and setuid bits.
    fn attributes(&mut self, fd: BorrowedFd<'_>, entry: &Entry, owner: &Owner) -> io::Result<()> {
        if let Some((uid, gid)) = owner.ids {
            rustix::fs::fchown(fd, Some(uid), Some(gid))?;
        }
        for (name, value) in &entry.xattrs {
            if allowed_attribute(name) {
                let set = rustix::fs::fsetxattr(fd, name.as_slice(), value, XattrFlags::empty());
                self.attribute_set(entry, name, set)?;
            }
        }
        Ok(rustix::fs::fchmod(fd, Mode::from_raw_mode(owner.mode))?)
    }

    /// The same for what cannot be opened: links, pipes, devices.
    fn attributes_by_name(&mut self, dir: &[u8], name: &[u8], entry: &Entry, owner: &Owner) -> io::Result<()> {
        let mut sets = Vec::new();
        let parent = self.tree.directory(dir)?;
        if let Some((uid, gid)) = owner.ids {
            rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        for (attribute, value) in entry.xattrs.iter().filter(|(attribute, _)| allowed_attribute(attribute)) {
            let path = tree::through(parent, name);
            sets.push((attribute, rustix::fs::lsetxattr(path, attribute.as_slice(), value, XattrFlags::empty())));
        }
        if entry.kind != Kind::Symlink {
            rustix::fs::chmodat(parent, name, Mode::from_raw_mode(owner.mode), AtFlags::empty())?;
        }
        rustix::fs::utimensat(parent, name, &times(entry), AtFlags::SYMLINK_NOFOLLOW)?;
        for (attribute, set) in sets {
            self.attribute_set(entry, attribute, set)?;
        }
        Ok(())
    }

    /// An attribute that this file system or this user namespace does not take is no reason to refuse the image.
    fn attribute_set(&mut self, entry: &Entry, name: &[u8], set: rustix::io::Result<()>) -> io::Result<()> {
        match set {
            Err(Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS | Errno::INVAL) => {
                self.note(entry, &format!("attribute {} left out", String::from_utf8_lossy(name)));
                Ok(())
            }
            other => Ok(other?),
        }
    }

    fn note(&mut self, entry: &Entry, what: &str) {
        self.done.noted += 1;
        if self.done.notes.len() < MAX_NOTES {
            self.done.notes.push(format!("{}: {what}", String::from_utf8_lossy(&entry.path)));
        }
    }

    fn finish(mut self) -> Result<Unpacked, UnpackError> {
        for (path, times) in self.directories.drain(..).rev() {
            let set = match self.tree.existing(&path) {
                Ok(fd) => rustix::fs::futimens(&fd, &times).map_err(io::Error::from),
                // A later entry replaced the directory.
                Err(err) if matches!(err.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(()),
                Err(err) => Err(err),
            };
            let path = || String::from_utf8_lossy(&path).into_owned();
            set.map_err(|source| UnpackError::Entry { path: path(), source })?;
        }
        Ok(self.done)
    }
}

/// Overlayfs's own attributes would let a layer redirect into other layers.
fn allowed_attribute(name: &[u8]) -> bool {
    !name.starts_with(b"trusted.overlay.") && !name.starts_with(b"user.overlay.")
}

fn times(entry: &Entry) -> Timestamps {
    let time = Timespec { tv_sec: entry.mtime, tv_nsec: entry.mtime_nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}

#[cfg(test)]
mod tests;
