//! What the host is and has, for the specification.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use crate::holder::Entered;
use crate::spec::Host;
use crate::state::paths::Home;
use crate::sys::kernel;

/// What every container of this host and user finds; with the devices that a privileged one gets.
pub fn facts(home: &Home, entered: &Entered, privileged: bool) -> Host {
    Host {
        rootless: entered.rootless,
        single_id: entered.single_id,
        kernel: kernel::version(),
        devices: if privileged { devices(Path::new("/dev")) } else { Vec::new() },
        socket: home.socket(),
    }
}

/// The devices below a directory that this user may open.
fn devices(dir: &Path) -> Vec<PathBuf> {
    // Those that every container has of its own.
    const OWN: [&str; 15] = [
        "console", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty",
        "urandom", "zero",
    ];
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if dir == Path::new("/dev") && OWN.iter().any(|own| name == *own) {
            continue;
        }
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            found.extend(devices(&path));
        } else if kind.is_char_device() || kind.is_block_device() {
            use rustix::fs::{Access, AtFlags, CWD, accessat};
            if accessat(CWD, &path, Access::READ_OK, AtFlags::EACCESS).is_ok() {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
