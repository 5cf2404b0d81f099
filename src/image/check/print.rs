//! A print of a tree of files: two trees with the same one are the same to whoever uses them as a layer.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat};
use sha2::{Digest, Sha256};

use crate::image::flatten::is_opaque;
use crate::sys::tree::{Visitor, open_directory, stat_at, walk};

const BUFFER: usize = 256 << 10;

/// The print of all that is below a directory: names, kinds, modes, owners, contents, whiteouts. Times do not count.
///
/// # Errors
/// Those of the file system.
pub fn print(root: &Path) -> io::Result<[u64; 4]> {
    let root = open_directory(CWD, root)?;
    let mut printer = Printer { path: Vec::new(), sum: [0; 4], buffer: vec![0; BUFFER] };
    if is_opaque(root.as_fd()) {
        printer.add(b"opaque root");
    }
    walk(root, &mut printer)?;
    Ok(printer.sum)
}

struct Printer {
    path: Vec<u8>,
    /// Sum of the hashes of all entries: a directory tells them in no order.
    sum: [u64; 4],
    buffer: Vec<u8>,
}

impl Printer {
    fn add(&mut self, entry: &[u8]) {
        let hash = Sha256::digest(entry);
        for (sum, part) in self.sum.iter_mut().zip(hash.as_chunks::<8>().0) {
            *sum = sum.wrapping_add(u64::from_le_bytes(*part));
        }
    }

    /// What is said of any entry.
    fn entry(&self, name: &CStr, stat: &Stat) -> Vec<u8> {
        let mut entry = [self.path.as_slice(), name.to_bytes_with_nul()].concat();
        let mode = u64::from(stat.st_mode);
        for number in [mode, stat.st_uid.into(), stat.st_gid.into(), stat.st_rdev] {
            entry.extend(number.to_le_bytes());
        }
        entry
    }

    fn content(&mut self, file: &mut File) -> io::Result<Vec<u8>> {
        let mut hash = Sha256::new();
        loop {
            match file.read(&mut self.buffer)? {
                0 => return Ok(hash.finalize().to_vec()),
                count => hash.update(&self.buffer[..count]),
            }
        }
    }
}

impl Visitor for Printer {
    fn enter(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        let stat = rustix::fs::fstat(dir)?;
        let mut entry = self.entry(name, &stat);
        entry.push(u8::from(is_opaque(dir)));
        self.add(&entry);
        self.path.extend_from_slice(name.to_bytes());
        self.path.push(b'/');
        Ok(())
    }

    fn leave(&mut self, _dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        self.path.truncate(self.path.len() - name.to_bytes_with_nul().len());
        Ok(())
    }

    fn other(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        let Some(stat) = stat_at(dir, name)? else { return Ok(()) };
        let mut entry = self.entry(name, &stat);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let mut file = File::from(rustix::fs::openat(dir, name, flags, Mode::empty())?);
                entry.extend(self.content(&mut file)?);
            }
            FileType::Symlink => entry.extend(rustix::fs::readlinkat(dir, name, Vec::new())?.as_bytes()),
            _ => {}
        }
        self.add(&entry);
        Ok(())
    }
}
