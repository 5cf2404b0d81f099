//! Resolving paths beneath a directory as if it were the root: no symbolic link and no `..` leads out of it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};

/// A directory that is the root of what is looked up in it.
#[derive(Debug)]
pub struct Root(OwnedFd);

impl Root {
    /// Opens the directory itself, in the ordinary way.
    ///
    /// # Errors
    /// Missing, or no directory.
    pub fn open(dir: &Path) -> io::Result<Self> {
        Ok(Self(rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?))
    }

    /// Opens something beneath.
    ///
    /// # Errors
    /// Those of openat2(2).
    pub fn open_beneath(&self, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        open_in(&self.0, path, flags, mode)
    }

    /// Reads a regular file beneath; more than `limit` bytes are an error, for who made the file may not be trusted.
    ///
    /// # Errors
    /// Missing; no regular file; too large.
    pub fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        // Opening a fifo would wait for a writer.
        let file = File::from(self.open_beneath(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    }

    /// Finds something beneath, and makes it if it is missing, with the directories on the way to it. What is there
    /// stays as it is. Links are followed as the container would follow them, also those to what is missing: that is
    /// then made where they point to.
    ///
    /// # Errors
    /// Something on the way is no directory; too many links.
    pub fn make(&self, path: &Path, leaf: Leaf, mode: Mode) -> io::Result<OwnedFd> {
        let mut ahead: Vec<OsString> = components(path);
        let mut way: Vec<OwnedFd> = Vec::new();
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            let dir = way.last().unwrap_or(&self.0);
            if name == ".." {
                way.pop();
                continue;
            }
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let found = match rustix::fs::openat(dir, &name, flags, Mode::empty()) {
                Err(rustix::io::Errno::NOENT) => {
                    make_one(dir, &name, if ahead.is_empty() { leaf } else { Leaf::Directory }, mode)?;
                    rustix::fs::openat(dir, &name, flags, Mode::empty())?
                }
                other => other?,
            };
            match FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) {
                FileType::Symlink => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(rustix::io::Errno::LOOP.into());
                    }
                    let target = rustix::fs::readlinkat(&found, "", Vec::new())?;
                    let target = Path::new(OsStr::from_bytes(target.as_bytes()));
                    if target.is_absolute() {
                        way.clear();
                    }
                    ahead.extend(components(target));
                }
                FileType::Directory => way.push(found),
                _ if ahead.is_empty() && leaf == Leaf::File => return Ok(found),
                _ => return Err(rustix::io::Errno::NOTDIR.into()),
            }
        }
        match leaf {
            Leaf::Directory => way.pop().map_or_else(|| self.0.try_clone(), Ok),
            Leaf::File => Err(rustix::io::Errno::ISDIR.into()),
        }
    }
}

/// The most links that a path may lead through, as the kernel has it.
const MAX_LINKS: usize = 40;

/// What a path is to end in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaf {
    /// A directory.
    Directory,
    /// Anything else.
    File,
}

/// A path's names and `..`, the last one first.
fn components(path: &Path) -> Vec<OsString> {
    let parts = path.components().rev();
    let words = parts.filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    words.map(|part| part.as_os_str().to_owned()).collect()
}

fn make_one(dir: &OwnedFd, name: &OsStr, leaf: Leaf, mode: Mode) -> io::Result<()> {
    let made = match leaf {
        Leaf::Directory => rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o755)),
        Leaf::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(dir, name, flags, mode).map(drop)
        }
    };
    match made {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(err) => Err(err.into()),
    }
}

impl From<OwnedFd> for Root {
    /// A directory that is open already, be it for its path alone.
    fn from(dir: OwnedFd) -> Self {
        Self(dir)
    }
}

impl From<Root> for OwnedFd {
    fn from(root: Root) -> Self {
        root.0
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Opens something beneath an open directory as if that were the root.
///
/// # Errors
/// Those of openat2(2).
pub fn open_in(root: impl AsFd, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    loop {
        match rustix::fs::openat2(&root, path, flags | OFlags::CLOEXEC, mode, resolve) {
            // Something was renamed meanwhile, so the kernel could not be sure.
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_stay_inside() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("etc")).expect("directory");
        fs::write(root.join("etc/passwd"), "inside").expect("file");
        fs::write(dir.path().join("secret"), "outside").expect("file");
        symlink("/etc/passwd", root.join("absolute")).expect("link");
        symlink("../secret", root.join("escape")).expect("link");
        let root = Root::open(&root).expect("root");
        assert_eq!(root.read(Path::new("absolute"), 100).expect("resolved inside"), b"inside");
        assert!(root.read(Path::new("escape"), 100).is_err());
        assert!(root.read(Path::new("../secret"), 100).is_err());
        assert!(root.read(Path::new("/etc/passwd"), 2).is_err());
        assert!(root.read(Path::new("etc"), 100).is_err());
    }

    #[test]
    fn what_is_missing_is_made_inside() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("root");
        fs::create_dir_all(path.join("etc")).expect("directory");
        symlink("../run/resolv.conf", path.join("etc/dangling")).expect("link");
        symlink("/../../outside", path.join("absolute")).expect("link");
        symlink("loop", path.join("loop")).expect("link");
        fs::write(path.join("file"), "").expect("file");
        let root = Root::open(&path).expect("root");
        let make = |name: &str, leaf| root.make(Path::new(name), leaf, Mode::from_raw_mode(0o755));
        make("/a/b/../c", Leaf::Directory).expect("directories");
        assert!(path.join("a/b").is_dir() && path.join("a/c").is_dir());
        make("/etc/dangling", Leaf::File).expect("a file where the link points");
        assert!(path.join("run/resolv.conf").is_file());
        make("absolute/x", Leaf::Directory).expect("a directory where the link points");
        assert!(path.join("outside/x").is_dir() && !dir.path().join("outside").exists());
        make("/../../..", Leaf::Directory).expect("the root");
        for (name, leaf) in [("loop", Leaf::File), ("file/x", Leaf::File), ("file", Leaf::Directory), ("a", Leaf::File)]
        {
            assert!(make(name, leaf).is_err(), "{name}");
        }
    }
}
