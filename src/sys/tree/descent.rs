//! A place in a directory tree, of which only the deepest few directories are open.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, fstat, openat, openat2};
use rustix::io::Errno;
use rustix::path::Arg;

/// Directories that are kept open. Deeper ones are few; beyond these the way up is opened anew.
const OPEN: usize = 8;

/// The directories from a root down to a current one. Goes down by names, and up again to exactly the directories that
/// it came through: one that was moved away meanwhile is an error, not a way to somewhere else.
#[derive(Debug)]
pub struct Descent {
    /// Device and inode of those that are not open any more, from the root on.
    closed: Vec<(u64, u64)>,
    /// The deepest ones. Never empty.
    open: VecDeque<OwnedFd>,
    root: OwnedFd,
}

impl Descent {
    /// Begins at a root.
    pub fn new(root: OwnedFd) -> Self {
        Self { closed: Vec::new(), open: VecDeque::with_capacity(OPEN), root }
    }

    /// The current directory.
    pub fn here(&self) -> BorrowedFd<'_> {
        self.open.back().map_or(self.root.as_fd(), AsFd::as_fd)
    }

    /// Goes into a directory of the current one: no link, nothing that is mounted there.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ELOOP`, `EXDEV`, `EACCES`, and those of the file system. Then it stays where it is.
    pub fn down(&mut self, name: impl Arg + Copy) -> io::Result<()> {
        let below = open_beneath(self.here(), name)?;
        if self.open.len() == OPEN
            && let Some(above) = self.open.front()
        {
            let stat = fstat(above)?;
            self.closed.push((stat.st_dev, stat.st_ino));
            self.open.pop_front();
        }
        self.open.push_back(below);
        Ok(())
    }

    /// Goes back to the directory above. True if it had to be opened anew, so that reading it begins at its start.
    ///
    /// # Errors
    /// `ESTALE` if what is above now is not where it came from; and those of the file system.
    pub fn up(&mut self) -> io::Result<bool> {
        let Some(below) = self.open.pop_back() else { return Err(Errno::INVAL.into()) };
        if !self.open.is_empty() {
            return Ok(false);
        }
        let Some(want) = self.closed.pop() else { return Ok(false) };
        let above = openat(&below, "..", directory_flags(), Mode::empty())?;
        let stat = fstat(&above)?;
        if (stat.st_dev, stat.st_ino) != want {
            return Err(Errno::STALE.into());
        }
        self.open.push_back(above);
        Ok(true)
    }
}

fn directory_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

fn open_beneath(dir: BorrowedFd<'_>, name: impl Arg + Copy) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    loop {
        match openat2(dir, name, directory_flags(), Mode::empty(), resolve) {
            // Something was renamed meanwhile, so the kernel could not be sure.
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// Opens a directory for reading; the last component of the path must be no link.
///
/// # Errors
/// `ENOTDIR` if it is none; and those of the file system.
pub fn open_directory(dir: BorrowedFd<'_>, path: impl Arg) -> io::Result<OwnedFd> {
    Ok(openat(dir, path, directory_flags(), Mode::empty())?)
}
