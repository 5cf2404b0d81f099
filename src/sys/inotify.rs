//! inotify(7): being told by the kernel that files changed.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::inotify;

/// What to be told of.
pub use rustix::fs::inotify::WatchFlags as Mask;

/// A set of watches; readable when something that is watched has changed.
#[derive(Debug)]
pub struct Inotify(Option<OwnedFd>);

impl Drop for Inotify {
    /// The kernel lets a grace period pass before it closes one, 10 to 20 ms: longer than most requests take. Nobody
    /// has to wait for that.
    fn drop(&mut self) {
        let fd = self.0.take();
        // If there can be no thread, the descriptor is dropped here with the closure.
        let _ = std::thread::Builder::new().stack_size(16 * 1024).spawn(move || drop(fd));
    }
}

impl Inotify {
    /// An empty set.
    ///
    /// # Errors
    /// The user has too many of them (`fs.inotify.max_user_instances`).
    pub fn new() -> io::Result<Self> {
        Ok(Self(Some(inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?)))
    }

    /// Adds a file or a directory, or more to be told of it.
    ///
    /// # Errors
    /// It does not exist; too many watches.
    pub fn watch(&self, path: &Path, mask: Mask) -> io::Result<()> {
        inotify::add_watch(self.as_fd(), path, mask | Mask::MASK_ADD)?;
        Ok(())
    }

    /// Takes what there is to be told. That something changed is all that its users need: they look themselves.
    ///
    /// # Errors
    /// Those of read(2).
    pub fn drain(&self) -> io::Result<()> {
        let mut buffer = [0u8; 4096];
        loop {
            match rustix::io::read(self.as_fd(), &mut buffer) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(()),
                Err(err) => return Err(err.into()),
            }
        }
    }
}

/// Waits until the first descriptor is readable or the second one is: whether it was the first.
///
/// # Errors
/// Those of poll(2).
pub fn readable_before(first: BorrowedFd<'_>, second: BorrowedFd<'_>) -> io::Result<bool> {
    let mut fds = [PollFd::from_borrowed_fd(first, PollFlags::IN), PollFd::from_borrowed_fd(second, PollFlags::IN)];
    loop {
        match rustix::event::poll(&mut fds, None) {
            Ok(_) if !fds[1].revents().is_empty() => return Ok(false),
            Ok(_) if !fds[0].revents().is_empty() => return Ok(true),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(err) => return Err(err.into()),
        }
    }
}

impl AsFd for Inotify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_ref().expect("open until it is dropped").as_fd()
    }
}
