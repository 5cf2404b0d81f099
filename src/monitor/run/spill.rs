//! Where output waits for a client that does not take it: an unlinked file, so that neither the container stalls nor
//! memory grows.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, Mode, OFlags};

/// Bytes that may wait; a client further behind than this is cut off.
pub const CAP: u64 = 1 << 30;
/// Disk space of what has been delivered is given back in steps of this many bytes.
const PUNCH: u64 = 16 << 20;
/// Bytes handed to the kernel in one call.
const STEP: usize = 256 * 1024;

/// A queue of bytes on disk.
#[derive(Debug)]
pub struct Spill {
    file: File,
    read: u64,
    written: u64,
    punched: u64,
}

/// How far [`Spill::drain`] came.
#[derive(Debug, PartialEq, Eq)]
pub enum Drained {
    /// Nothing is left.
    All,
    /// The socket takes no more now.
    Blocked,
}

impl Spill {
    /// An empty queue in `dir`, without a name: gone with the process, however that ends.
    pub fn new(dir: &Path) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::open(dir, flags | OFlags::TMPFILE, mode).or_else(|_| -> io::Result<OwnedFd> {
            // A file system without O_TMPFILE.
            let path = dir.join(format!(".spill.{}", std::process::id()));
            let file = rustix::fs::open(&path, flags | OFlags::CREATE | OFlags::TRUNC, mode)?;
            std::fs::remove_file(path)?;
            Ok(file)
        })?;
        Ok(Self { file: file.into(), read: 0, written: 0, punched: 0 })
    }

    /// Adds to the end.
    ///
    /// # Errors
    /// Past [`CAP`], and those of the disk.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.written - self.read + bytes.len() as u64 > CAP {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.write_all_at(bytes, self.written)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Sends from the front what the (non-blocking) socket takes.
    ///
    /// # Errors
    /// Those of the socket and of the disk.
    pub fn drain(&mut self, socket: impl AsFd) -> io::Result<Drained> {
        while self.read < self.written {
            let count = (self.written - self.read).min(STEP as u64) as usize;
            match rustix::fs::sendfile(&socket, &self.file, Some(&mut self.read), count) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    self.punch();
                    return Ok(Drained::Blocked);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Drained::All)
    }

    /// Gives back the disk space of what is delivered. Where the file system cannot, it waits for the end.
    fn punch(&mut self) {
        if self.read - self.punched >= PUNCH {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            let _ = rustix::fs::fallocate(&self.file, flags, self.punched, self.read - self.punched);
            self.punched = self.read;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    #[test]
    fn what_waited_arrives_in_order() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let (ours, mut theirs) = UnixStream::pair().expect("pair");
        ours.set_nonblocking(true).expect("flag");
        let mut spill = Spill::new(dir.path()).expect("spill");
        assert_eq!(std::fs::read_dir(dir.path()).expect("list").count(), 0);
        let bytes: Vec<u8> = (0..4_000_000u32).flat_map(|n| n.to_le_bytes()).collect();
        bytes.chunks(100_000).for_each(|chunk| spill.append(chunk).expect("append"));
        let mut got = Vec::new();
        let mut buf = vec![0; 1 << 20];
        while spill.drain(&ours).expect("drain") == Drained::Blocked {
            let read = theirs.read(&mut buf).expect("read");
            got.extend_from_slice(&buf[..read]);
        }
        drop(ours);
        theirs.read_to_end(&mut got).expect("rest");
        assert!(got == bytes);
    }

    #[test]
    fn a_client_that_has_gone_is_an_error() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let (ours, theirs) = UnixStream::pair().expect("pair");
        let mut spill = Spill::new(dir.path()).expect("spill");
        spill.append(b"x").expect("append");
        drop(theirs);
        // SIGPIPE is ignored in every Rust program, and in the monitor.
        assert!(spill.drain(&ours).is_err());
    }
}
