//! What every container has in /dev.

use std::io;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::sys::mounts::{self, Attributes, Change};
use crate::sys::openat2::{Leaf, Root};

/// The host's own, which any user may open.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Links that programs expect.
const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];

/// Fills the file system that was mounted on /dev just now, so that nothing in it is anybody else's.
pub(super) fn fill(root: &Root) -> io::Result<()> {
    for name in DEVICES {
        // Not mknod(2): a user namespace's root may not, and as real root no device may be opened on this file system.
        let device = mounts::clone_tree(&Path::new("/dev").join(name), false)?;
        // A device can be written to on a read-only mount; its mode and owner are the host's, and stay what they are.
        mounts::change(&device, Change { set: Attributes::MOUNT_ATTR_RDONLY, ..Change::default() }, false)?;
        let target = root.make(&Path::new("/dev").join(name), Leaf::File, Mode::from_raw_mode(0o666))?;
        mounts::attach(device, target)?;
    }
    let dev = root.open_beneath(Path::new("/dev"), OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
    for (target, name) in LINKS {
        rustix::fs::symlinkat(target, &dev, name)?;
    }
    if Path::new("/proc/kcore").exists() {
        rustix::fs::symlinkat("/proc/kcore", &dev, "core")?;
    }
    Ok(())
}
