//! Removes trees.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, chmodat, fchmod, openat, unlinkat};
use rustix::io::Errno;
use rustix::path::Arg;

use super::descent::open_directory;
use super::walk::{Visitor, walk};

/// How often a tree is gone through in which something new appears meanwhile.
const PASSES: usize = 16;

/// Removes what is at a path, with everything below it; nothing there is fine. Several may do it at once.
///
/// # Errors
/// As [`remove_at`].
pub fn remove(path: &Path) -> io::Result<()> {
    remove_at(CWD, path)
}

/// Removes what is at a name in a directory, with everything below it; nothing there is fine. Links are removed, not
/// followed. Directories without permission bits are given them first.
///
/// # Errors
/// The first that came up; all else is removed all the same.
pub fn remove_at(dir: BorrowedFd<'_>, name: impl Arg + Copy) -> io::Result<()> {
    for _ in 0..PASSES {
        match unlinkat(dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(err) => return Err(err.into()),
        }
        let root = match open_directory(dir, name) {
            Err(err) if err.kind() == io::ErrorKind::PermissionDenied => {
                permit(dir, name)?;
                open_directory(dir, name)
            }
            other => other,
        };
        let root = match root {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        let mut removal = Removal::default();
        let walked = walk(root, &mut removal);
        match unlinkat(dir, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTEMPTY) if removal.removed => {}
            Err(err) => return Err(removal.failure.or(walked.err()).unwrap_or_else(|| err.into())),
        }
    }
    Err(Errno::NOTEMPTY.into())
}

/// Removes everything in a directory, which itself stays.
///
/// # Errors
/// The first that came up; all else is removed all the same.
pub fn remove_contents(dir: BorrowedFd<'_>) -> io::Result<()> {
    let mut removal = Removal::default();
    walk(open_directory(dir, ".")?, &mut removal)?;
    removal.failure.map_or(Ok(()), Err)
}

#[derive(Debug, Default)]
struct Removal {
    /// Whether anything was removed.
    removed: bool,
    failure: Option<io::Error>,
}

impl Removal {
    fn unlink(&mut self, dir: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> io::Result<()> {
        let mut result = unlinkat(dir, name, flags);
        if result == Err(Errno::ACCESS) {
            fchmod(dir, Mode::RWXU)?;
            result = unlinkat(dir, name, flags);
        }
        match result {
            Ok(()) => self.removed = true,
            Err(Errno::NOENT) => {}
            Err(err) => return Err(err.into()),
        }
        Ok(())
    }
}

impl Visitor for Removal {
    fn other(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        self.unlink(dir, name, AtFlags::empty())
    }

    fn leave(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        self.unlink(dir, name, AtFlags::REMOVEDIR)
    }

    fn denied(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        permit(dir, name)
    }

    fn failed(&mut self, error: io::Error) -> io::Result<()> {
        self.failure.get_or_insert(error);
        Ok(())
    }
}

/// Lets the owner into a directory. Not by its name: a link could be there by now.
fn permit(dir: BorrowedFd<'_>, name: impl Arg) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat(dir, name, flags, Mode::empty())?;
    Ok(chmodat(CWD, format!("/proc/self/fd/{}", fd.as_raw_fd()), Mode::RWXU, AtFlags::empty())?)
}
