//! Measures trees.

use std::collections::HashSet;
use std::ffi::CStr;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{CWD, FileType};

use super::descent::open_directory;
use super::walk::{Visitor, stat_at, walk};

/// Bytes in the regular files of a tree, each file counted once however many names it has. What cannot be read is not
/// counted; a missing tree has none.
pub fn size(root: &Path) -> u64 {
    struct Sizes {
        bytes: u64,
        seen: HashSet<u64>,
    }
    impl Visitor for Sizes {
        fn other(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
            if let Some(stat) = stat_at(dir, name)?
                && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
                && (stat.st_nlink < 2 || self.seen.insert(stat.st_ino))
            {
                self.bytes = self.bytes.saturating_add(stat.st_size.try_into().unwrap_or(0));
            }
            Ok(())
        }
        fn failed(&mut self, _: io::Error) -> io::Result<()> {
            Ok(())
        }
    }
    let mut sizes = Sizes { bytes: 0, seen: HashSet::new() };
    if let Ok(root) = open_directory(CWD, root) {
        // A running container may move what is being counted: then it is what was found until then.
        let _ = walk(root, &mut sizes);
    }
    sizes.bytes
}
