//! What every container's root file system has, whatever its image: the points where the kernel's file systems and the
//! container's own files are placed, and the file by which programs know that they are in a container.
//!
//! One directory for all, below the lowest layer: what an image has in any of these places is what its containers see.
//! Without it each start would make the same files in the container's upper directory, and each removal would take them
//! away again. Nothing depends on it: what is not there is made above, as always. It is never changed, for it may be
//! mounted.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use crate::sys::tree;

const DIRECTORIES: [&str; 5] = ["", "dev", "etc", "proc", "sys"];
const FILES: [(&str, u32); 4] =
    [(".dockerenv", 0o755), ("etc/hostname", 0o644), ("etc/hosts", 0o644), ("etc/resolv.conf", 0o644)];

/// Makes it, whole or not at all, by way of the directory `draft`, which is this process's alone.
///
/// # Errors
/// Those of the file system. That another process was first is none.
pub fn make(skeleton: &Path, draft: &Path) -> io::Result<()> {
    if skeleton.is_dir() {
        return Ok(());
    }
    let made = (|| {
        for name in DIRECTORIES {
            fs::DirBuilder::new().mode(0o755).create(draft.join(name))?;
        }
        for (name, mode) in FILES {
            fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(draft.join(name))?;
        }
        fs::rename(draft, skeleton)
    })();
    match made {
        Err(_) if skeleton.is_dir() => tree::remove(draft),
        Err(err) => tree::remove(draft).and(Err(err)),
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_first_makes_it() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let (skeleton, draft) = (dir.path().join("skeleton"), dir.path().join("draft"));
        make(&skeleton, &draft).expect("first");
        let first = fs::metadata(skeleton.join("etc")).and_then(|meta| meta.created()).expect("made");
        make(&skeleton, &draft).expect("second");
        assert_eq!(fs::metadata(skeleton.join("etc")).and_then(|meta| meta.created()).expect("kept"), first);
        assert!(skeleton.join("etc/hosts").is_file());
        assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 1);
        assert!(make(&dir.path().join("none/skeleton"), &draft).is_err());
        assert!(!draft.exists());
    }
}
