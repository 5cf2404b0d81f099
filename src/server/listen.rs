//! The listening socket: systemd's, or our own.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use rustix::fs::Mode;
use rustix::io::FdFlags;
use rustix::net::{AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType};

use super::error::Error;
use crate::state::lock::Lock;

/// Connections that may wait to be accepted. The kernel's own limit (net.core.somaxconn) may be lower.
const BACKLOG: i32 = 4096;

/// A listening socket, non-blocking.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    own: Option<Own>,
}

/// A socket that we made: whose file goes when we stop listening.
#[derive(Debug)]
struct Own {
    path: PathBuf,
    inode: u64,
}

impl Listener {
    /// Takes the socket that was passed, or binds this path.
    ///
    /// # Errors
    /// A passed descriptor that is no listening unix socket; a path where somebody listens; those of the file system.
    pub fn take_or_bind(path: &Path) -> Result<Self, Error> {
        let mut passed = ListenFd::from_env();
        if passed.len() == 0 {
            return Self::bind(path);
        }
        let socket = passed
            .take_unix_listener(0)
            .map_err(Error::Passed)?
            .ok_or_else(|| Error::Passed(io::ErrorKind::NotFound.into()))?;
        // Children must not hold it: systemd would see it in use.
        rustix::io::fcntl_setfd(&socket, FdFlags::CLOEXEC).map_err(|err| Error::Passed(err.into()))?;
        if !rustix::net::sockopt::socket_acceptconn(&socket).unwrap_or(false) {
            return Err(Error::Passed(io::Error::other("not a listening socket")));
        }
        socket.set_nonblocking(true).map_err(Error::Passed)?;
        Ok(Self { socket, own: None })
    }

    fn bind(path: &Path) -> Result<Self, Error> {
        let at = |source: io::Error| Error::Bind { path: path.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder(path)).map_err(at)?;
        // Two that start at once must not each take the other's socket for a stale one.
        let _lock = lock(path).map_err(at)?;
        match UnixStream::connect(path) {
            Ok(_) => return Err(Error::InUse(path.to_owned())),
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            Err(err) if err.kind() == io::ErrorKind::ConnectionRefused => {
                // A file that is no socket refuses too: that one is not ours to remove.
                let kind = fs::symlink_metadata(path).map_err(at)?.file_type();
                if !std::os::unix::fs::FileTypeExt::is_socket(&kind) {
                    return Err(at(io::ErrorKind::AlreadyExists.into()));
                }
                fs::remove_file(path).map_err(at)?;
            }
            Err(err) => return Err(at(err)),
        }
        let socket = bind_private(path).map_err(at)?;
        let inode = fs::symlink_metadata(path).map_err(at)?.ino();
        Ok(Self { socket, own: Some(Own { path: path.to_owned(), inode }) })
    }

    /// Whether the socket was passed: then it goes on listening when we do not.
    pub fn is_passed(&self) -> bool {
        self.own.is_none()
    }

    /// The socket's file, if it has a name.
    pub fn path(&self) -> Option<PathBuf> {
        self.socket.local_addr().ok()?.as_pathname().map(Path::to_owned)
    }

    /// The next connection, if one waits.
    pub fn try_accept(&self) -> Option<UnixStream> {
        loop {
            match self.socket.accept() {
                Ok((stream, _)) => return Some(stream),
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return None,
                Err(err) => {
                    tracing::debug!("accept: {err}");
                    return None;
                }
            }
        }
    }

    /// A second descriptor, for the runtime to wait on.
    ///
    /// # Errors
    /// Too many open files.
    pub fn second(&self) -> io::Result<UnixListener> {
        self.socket.try_clone()
    }

    /// Stops listening on a socket of our own: its name goes first, then it refuses. What had been let in before
    /// still waits to be accepted. A passed socket is left alone.
    pub fn stop(&mut self) {
        let Some(own) = self.own.take() else { return };
        if let Ok(_lock) = lock(&own.path)
            && fs::symlink_metadata(&own.path).is_ok_and(|meta| meta.ino() == own.inode)
        {
            let _ = fs::remove_file(&own.path);
        }
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Read);
    }
}

/// Keeps others out while a socket is bound or removed: a lock on a file beside it, which goes with this.
struct Alone {
    path: PathBuf,
    _lock: Lock,
}

impl Drop for Alone {
    fn drop(&mut self) {
        // While it is locked: who waits for it looks whether it is still the same file.
        let _ = fs::remove_file(&self.path);
    }
}

fn lock(path: &Path) -> io::Result<Alone> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".lock");
    let path = folder(path).join(name);
    let lock = Lock::exclusive(&path).map_err(io::Error::other)?;
    Ok(Alone { path, _lock: lock })
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Binds and listens with mode 0600. No thread exists yet that the umask could surprise.
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let bound = rustix::net::bind(&socket, &SocketAddrUnix::new(path)?);
    rustix::process::umask(before);
    bound?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}
