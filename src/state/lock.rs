//! Locks that the kernel keeps: open file description locks (fcntl(2), `F_OFD_*`). A killed process holds none.
//!
//! A lock belongs to the open file: a forked child that keeps the descriptor, or a process that was passed one, keeps
//! the lock. Unlike flock(2) it can be asked for without being taken, so a look never gets in anybody's way. All of a
//! file's users must use this kind: neither sees the other's locks. A shared lock needs a descriptor that may read, an
//! exclusive one a descriptor that may write. Who holds one the kernel does not tell (`l_pid` is -1): a holder that
//! wants to be found writes its process id into the file.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use super::{Error, Result};
use crate::sys::regular;

/// How a file is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// With any number of others that share it.
    Shared,
    /// Alone.
    Exclusive,
}

/// Waits for the lock on an open file; what its open file description had before is replaced.
///
/// # Errors
/// Those of fcntl(2): a descriptor of the wrong mode; no more locks.
pub fn acquire(file: impl AsFd, kind: Kind) -> io::Result<()> {
    loop {
        match fcntl(file.as_fd(), FcntlArg::F_OFD_SETLKW(&whole(kind.as_raw()))) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(err) => return Err(err.into()),
        }
    }
}

/// Takes the lock on an open file if nobody is in the way; returns whether it did.
///
/// # Errors
/// As [`acquire`].
pub fn try_acquire(file: impl AsFd, kind: Kind) -> io::Result<bool> {
    match fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&whole(kind.as_raw()))) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(err) => Err(err.into()),
    }
}

/// Frees the lock that this open file has.
///
/// # Errors
/// Those of fcntl(2).
pub fn release(file: impl AsFd) -> io::Result<()> {
    fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&whole(libc::F_UNLCK)))?;
    Ok(())
}

/// Whether somebody has this file locked exclusively, by another open file. Takes nothing.
///
/// # Errors
/// Those of fcntl(2).
pub fn is_locked(file: impl AsFd) -> io::Result<bool> {
    let mut lock = whole(libc::F_RDLCK);
    fcntl(file.as_fd(), FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

/// Whether somebody has this file locked in any way, by another open file. Takes nothing.
///
/// # Errors
/// Those of fcntl(2).
pub fn is_used(file: impl AsFd) -> io::Result<bool> {
    let mut lock = whole(libc::F_WRLCK);
    fcntl(file.as_fd(), FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

impl Kind {
    fn as_raw(self) -> libc::c_int {
        match self {
            Self::Shared => libc::F_RDLCK,
            Self::Exclusive => libc::F_WRLCK,
        }
    }
}

/// The whole file. `l_pid` must be 0 with these commands.
fn whole(kind: libc::c_int) -> libc::flock {
    // The kernel's constants are small numbers in fields of another type.
    let short = |value: libc::c_int| value as libc::c_short;
    libc::flock { l_type: short(kind), l_whence: short(libc::SEEK_SET), l_start: 0, l_len: 0, l_pid: 0 }
}

/// A held lock on a file of its own; dropped, or with its process gone, it is free. Its descriptor is closed by exec.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Waits for the exclusive lock, making the file if it is missing.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn exclusive(path: &Path) -> Result<Self> {
        Self::wait(path, Kind::Exclusive)
    }

    /// Waits for a shared lock, making the file if it is missing.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn shared(path: &Path) -> Result<Self> {
        Self::wait(path, Kind::Shared)
    }

    /// The exclusive lock if nobody has it now, making the file if it is missing.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn try_exclusive(path: &Path) -> Result<Option<Self>> {
        Self::take(path, |file| try_acquire(file, Kind::Exclusive))
    }

    /// Waits for the exclusive lock, but not for ever; none if it did not come free.
    ///
    /// The kernel's wait has no end of its own, so a thread waits that nobody waits for: should it get the lock after
    /// all, it frees it at once.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn exclusive_within(path: &Path, limit: Duration) -> Result<Option<Self>> {
        if let Some(lock) = Self::try_exclusive(path)? {
            return Ok(Some(lock));
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        let wanted = path.to_owned();
        std::thread::Builder::new()
            .stack_size(64 * 1024)
            .spawn(move || {
                let _ = sender.send(Self::exclusive(&wanted));
            })
            .map_err(Error::at(path))?;
        receiver.recv_timeout(limit).ok().transpose()
    }

    /// Whether somebody holds the exclusive lock now. A missing file is not held.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn is_held(path: &Path) -> Result<bool> {
        Self::look(path).map(|held| held.unwrap_or(false))
    }

    /// The same; none if the file is missing.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn look(path: &Path) -> Result<Option<bool>> {
        match regular::open(path) {
            Ok(file) => is_locked(file).map(Some).map_err(Error::at(path)),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(err) => Err(Error::at(path)(err)),
        }
    }

    /// The locked file, for a process that writes something in it or passes it on.
    pub fn file(&self) -> &File {
        &self.file
    }

    fn wait(path: &Path, kind: Kind) -> Result<Self> {
        Self::take(path, |file| acquire(file, kind).map(|()| true)).map(|lock| lock.expect("it was waited for"))
    }

    fn take(path: &Path, take: impl Fn(&File) -> io::Result<bool>) -> Result<Option<Self>> {
        loop {
            let open = || OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path);
            let file = open().map_err(Error::at(path))?;
            if !take(&file).map_err(Error::at(path))? {
                return Ok(None);
            }
            // The file may have been removed with its directory while this waited: a lock on it would exclude nobody.
            let same = |there: fs::Metadata| {
                file.metadata().is_ok_and(|here| (here.dev(), here.ino()) == (there.dev(), there.ino()))
            };
            if fs::metadata(path).is_ok_and(same) {
                return Ok(Some(Self { file }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excludes_and_frees() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("lock");
        assert!(!Lock::is_held(&path).expect("missing"));
        let lock = Lock::exclusive(&path).expect("lock");
        assert!(Lock::is_held(&path).expect("held"));
        assert!(Lock::try_exclusive(&path).expect("try").is_none());
        assert!(Lock::exclusive_within(&path, Duration::from_millis(1)).expect("try").is_none());
        drop(lock);
        assert!(Lock::exclusive_within(&path, Duration::from_secs(60)).expect("try").is_some());
        let shared = [Lock::shared(&path).expect("shared"), Lock::shared(&path).expect("shared")];
        assert!(!Lock::is_held(&path).expect("shared only"));
        assert!(Lock::try_exclusive(&path).expect("try").is_none());
        drop(shared);
        // A process that another test forked just now has a copy of the descriptor until it closes it.
        assert!(Lock::exclusive_within(&path, Duration::from_secs(60)).expect("try").is_some());
    }

    #[test]
    fn waits_for_its_turn_and_looks_without_taking() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("lock");
        let lock = Lock::exclusive(&path).expect("lock");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| Lock::exclusive_within(&path, Duration::from_secs(60)).expect("wait"));
            for _ in 0..100 {
                assert!(Lock::is_held(&path).expect("look"));
            }
            drop(lock);
            assert!(waiting.join().expect("thread").is_some());
        });
        // Another descriptor of the same open file keeps the lock.
        let lock = Lock::exclusive(&path).expect("lock");
        let passed = lock.file().try_clone().expect("descriptor");
        drop(lock);
        assert!(Lock::is_held(&path).expect("look"));
        release(&passed).expect("free");
        assert!(!Lock::is_held(&path).expect("look"));
    }
}
