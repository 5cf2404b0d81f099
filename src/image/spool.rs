//! A file that is read while it is still being written: a layer is unpacked as it arrives, and kept as it arrived.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};

use crate::model::ids::hex;

use super::{Error, Result};

#[derive(Debug)]
struct Shared {
    file: File,
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    written: u64,
    end: Option<End>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Complete,
    Broken,
}

impl Shared {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn advance(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.progress());
        self.changed.notify_all();
    }
}

/// Writes the file and hashes it.
#[derive(Debug)]
pub struct Spool {
    shared: Arc<Shared>,
    path: PathBuf,
    hash: Sha256,
}

/// A file written to its end.
#[derive(Debug, Clone)]
pub struct Spooled {
    /// Where it is.
    pub path: PathBuf,
    /// Hash in hexadecimal.
    pub hex: String,
    /// Bytes.
    pub size: u64,
}

impl Spool {
    /// A new file.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn create(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(Error::at(path))?;
        let shared = Shared { file, progress: Mutex::default(), changed: Condvar::new() };
        Ok(Self { shared: Arc::new(shared), path: path.to_owned(), hash: Sha256::new() })
    }

    /// Goes on with a file of which a part is there: reads that, and hashes it.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn resume(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().read(true).append(true).open(path).map_err(Error::at(path))?;
        let (mut hash, mut written, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 20]);
        loop {
            match file.read_at(&mut buffer, written).map_err(Error::at(path))? {
                0 => break,
                count => {
                    hash.update(&buffer[..count]);
                    written += count as u64;
                }
            }
        }
        let shared = Shared { file, progress: Mutex::new(Progress { written, end: None }), changed: Condvar::new() };
        Ok(Self { shared: Arc::new(shared), path: path.to_owned(), hash })
    }

    /// Bytes so far.
    pub fn written(&self) -> u64 {
        self.shared.progress().written
    }

    /// A reader from the beginning, which waits for what is not written yet.
    pub fn reader(&self) -> SpoolReader {
        SpoolReader { shared: Arc::clone(&self.shared), at: 0 }
    }

    /// Appends.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        (&self.shared.file).write_all(bytes).map_err(Error::at(&self.path))?;
        self.shared.advance(|progress| progress.written += bytes.len() as u64);
        self.hash.update(bytes);
        Ok(())
    }

    /// Hash of the bytes so far, in hexadecimal.
    pub fn hash(&self) -> String {
        hex(&self.hash.clone().finalize())
    }

    /// Says that it is complete. Dropped without this, its readers fail.
    pub fn finish(self) -> Spooled {
        self.shared.advance(|progress| progress.end = Some(End::Complete));
        let size = self.shared.progress().written;
        Spooled { path: self.path.clone(), hex: self.hash(), size }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.shared.advance(|progress| {
            progress.end.get_or_insert(End::Broken);
        });
    }
}

/// A file of the store with which an arriving one is compared: as long as they are the same, nothing is written.
#[derive(Debug)]
pub struct Twin {
    file: File,
    /// Its hash in hexadecimal.
    hex: String,
    at: u64,
    buffer: Vec<u8>,
}

impl Twin {
    /// A blob of the store by its path and hash; none if it is gone.
    pub fn open(path: &Path, hex: &str) -> Option<Self> {
        Some(Self { file: File::open(path).ok()?, hex: hex.to_owned(), at: 0, buffer: Vec::new() })
    }

    /// Whether these bytes come next in it; from the first difference on, it is of no use any more.
    pub fn goes_on_with(&mut self, bytes: &[u8]) -> bool {
        self.buffer.resize(bytes.len(), 0);
        let same = self.file.read_exact_at(&mut self.buffer, self.at).is_ok() && self.buffer == bytes;
        self.at += if same { bytes.len() as u64 } else { 0 };
        same
    }

    /// A spool that begins with what was the same.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn into_spool(self, path: &Path) -> Result<Spool> {
        let mut spool = Spool::create(path)?;
        let mut same = (&self.file).take(self.at);
        let mut buffer = vec![0; 1 << 20];
        loop {
            match same.read(&mut buffer).map_err(Error::at(path))? {
                0 => return Ok(spool),
                count => spool.write(&buffer[..count])?,
            }
        }
    }

    /// The whole file arrived and is the same: a further name of it in `path`, so that it stays whatever becomes of the
    /// store's.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn finish(self, store: &Path, path: &Path) -> Result<Spooled> {
        let size = self.at;
        if self.file.metadata().is_ok_and(|meta| meta.len() == size) && fs::hard_link(store, path).is_ok() {
            return Ok(Spooled { path: path.to_owned(), hex: self.hex, size });
        }
        Ok(self.into_spool(path)?.finish())
    }
}

/// Reads the file from its beginning.
#[derive(Debug)]
pub struct SpoolReader {
    shared: Arc<Shared>,
    at: u64,
}

impl Read for SpoolReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut progress = self.shared.progress();
        while progress.written == self.at {
            match progress.end {
                Some(End::Complete) => return Ok(0),
                Some(End::Broken) => return Err(io::ErrorKind::UnexpectedEof.into()),
                None => progress = self.shared.changed.wait(progress).unwrap_or_else(PoisonError::into_inner),
            }
        }
        let available = progress.written - self.at;
        drop(progress);
        let limit = usize::try_from(available).map_or(buffer.len(), |available| available.min(buffer.len()));
        let count = self.shared.file.read_at(&mut buffer[..limit], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_follows_the_writer_and_learns_of_its_end() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut spool = Spool::create(&dir.path().join("a")).expect("create");
        let mut reader = spool.reader();
        let thread = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| all)
        });
        for _ in 0..100 {
            spool.write(&[b'x'; 1000]).expect("write");
        }
        assert_eq!(spool.finish().size, 100_000);
        assert_eq!(thread.join().expect("join").expect("read").len(), 100_000);
        let spool = Spool::create(&dir.path().join("b")).expect("create");
        let mut reader = spool.reader();
        drop(spool);
        assert!(reader.read_to_end(&mut Vec::new()).is_err());
    }

    #[test]
    fn a_twin_is_written_only_where_it_differs() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let blob = dir.path().join("blob");
        fs::write(&blob, b"hello world").expect("blob");
        let same = |bytes: &[&[u8]], name: &str| {
            let mut twin = Twin::open(&blob, "h").expect("twin");
            let good = bytes.iter().take_while(|bytes| twin.goes_on_with(bytes)).count();
            let path = dir.path().join(name);
            if good == bytes.len() {
                return twin.finish(&blob, &path).expect("finish");
            }
            let mut spool = twin.into_spool(&path).expect("spool");
            bytes[good..].iter().for_each(|bytes| spool.write(bytes).expect("write"));
            spool.finish()
        };
        assert_eq!(same(&[b"hello ", b"world"], "a").hex, "h");
        for (at, bytes) in
            [[b"hello ".as_slice(), b"there"], [b"hello ", b"world, and more"], [b"hel", b""]].iter().enumerate()
        {
            let spooled = same(bytes, &format!("b{at}"));
            assert_eq!(fs::read(&spooled.path).expect("read"), bytes.concat());
            assert_eq!(spooled.hex, hex(&Sha256::digest(bytes.concat())));
        }
    }
}
