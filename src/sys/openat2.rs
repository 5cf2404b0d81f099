//! Resolving paths beneath a directory as if it were the root: no symbolic link and no `..` leads out of it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};

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

    /// Makes a directory beneath, and those on the way to it. Those that are there stay as they are; links are
    /// followed as the container would follow them.
    ///
    /// # Errors
    /// Something on the way is no directory.
    pub fn create_dir_all(&self, path: &Path, mode: Mode) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let mut so_far = std::path::PathBuf::from("/");
        let mut current = self.0.try_clone()?;
        for part in path.components() {
            let std::path::Component::Normal(name) = part else {
                if part == std::path::Component::ParentDir {
                    return Err(io::ErrorKind::InvalidInput.into());
                }
                continue;
            };
            so_far.push(name);
            current = match self.open_beneath(&so_far, flags, Mode::empty()) {
                Err(err) if err.kind() == io::ErrorKind::NotFound => {
                    match rustix::fs::mkdirat(&current, name, mode) {
                        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                        Err(err) => return Err(err.into()),
                    }
                    self.open_beneath(&so_far, flags, Mode::empty())?
                }
                other => other?,
            };
        }
        Ok(current)
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

/// Whether the kernel has openat2(2).
pub fn is_supported() -> bool {
    rustix::fs::openat2(CWD, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::empty()).is_ok()
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
        root.create_dir_all(Path::new("/a/b/c"), Mode::from_raw_mode(0o755)).expect("directories");
        assert!(dir.path().join("root/a/b/c").is_dir());
    }
}
