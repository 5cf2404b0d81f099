//! The program as processes run it that containers can get at: a sealed copy in memory.
//!
//! A container can get hold of the executable of a process that comes to it: an exec of a script that begins with
//! `#!/proc/self/exe` runs it, and a descriptor of it that is kept can be opened for writing once nobody executes it any
//! more. With the user's own file the next `pierless ps` would run what a container wrote. So the holder, monitors (with
//! the starters that they fork) and `docker-init` run from a copy whose seals no capability opens.
//!
//! There is one copy for all, or each monitor would cost the program's whole size. Its keeper is the holder, which runs
//! from it, and so does every monitor: whoever launches one takes the executable that the holder has, or a monitor, if
//! that is a copy of its own program, of which an upgrade may have made another one. It is told by its name.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::OnceLock;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};
use rustix::io::Errno;

use super::find::{self, Found};
use crate::state::paths::Home;

/// Begins the name of every copy.
const NAME: &str = "pierless ";
/// The executable of this process.
const OWN: &str = "/proc/self/exe";

/// Whether this process runs from a copy.
pub fn is_copy() -> bool {
    fs::read_link(OWN).is_ok_and(|path| path.as_os_str().as_bytes().starts_with(format!("/memfd:{NAME}").as_bytes()))
}

/// What the user calls: the file that this process, or the one that made its copy, was executed from.
pub fn path() -> PathBuf {
    let called = || std::env::args_os().next().map(PathBuf::from);
    let own = || fs::read_link(OWN).ok();
    match is_copy() {
        true => called(),
        false => own().or_else(called),
    }
    .unwrap_or_else(|| "pierless".into())
}

/// Whether a descriptor is a sealed file. Those who execute a copy give it to the new process, in a place that its role
/// knows: this tells it that it was meant.
pub fn is_sealed(fd: impl AsFd) -> bool {
    fcntl_get_seals(fd).is_ok_and(|seals| seals.contains(SealFlags::WRITE))
}

/// The path by which this process, or a child of it that has not executed anything yet, executes a descriptor.
pub fn executable(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// The copy of this process's program: the one that others of this user run from, else a new one.
///
/// # Errors
/// The host allows no programs in memory, or has no memory.
pub fn copy(home: &Home) -> io::Result<&'static OwnedFd> {
    static COPY: OnceLock<OwnedFd> = OnceLock::new();
    if let Some(copy) = COPY.get() {
        return Ok(copy);
    }
    let own = File::open(OWN)?;
    let copy = match is_copy() {
        true => own.into(),
        false => {
            let name = name(&own)?;
            let pids = find::holder(home).into_iter().chain(find::monitors(home));
            let found = pids.into_iter().find_map(|found| of_process(&found, &name));
            found.map_or_else(|| make(own, &name), Ok)?
        }
    };
    Ok(COPY.get_or_init(|| copy))
}

/// The name of a copy of this file, as it is now.
fn name(original: &File) -> io::Result<String> {
    let meta = original.metadata()?;
    Ok(format!("{NAME}{:x}-{:x}-{:x}-{:x}.{:x}", meta.dev(), meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
}

/// The executable of a process, if it is the copy of this name.
fn of_process(process: &Found, name: &str) -> Option<OwnedFd> {
    let file: OwnedFd = File::open(format!("/proc/{}/exe", process.pid)).ok()?.into();
    let link = fs::read_link(executable(&file)).ok()?;
    let wanted = OsString::from(format!("/memfd:{name} (deleted)"));
    // Alive after the look: so it was looked at.
    (link.as_os_str() == wanted && is_sealed(&file) && process.is_alive()).then_some(file)
}

fn make(mut original: File, name: &str) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = match memfd_create(name, flags | MemfdFlags::EXEC) {
        // Before Linux 6.3 all files in memory could be executed.
        Err(Errno::INVAL) => memfd_create(name, flags),
        other => other,
    };
    let mut memory = File::from(memory.map_err(refusal)?);
    io::copy(&mut original, &mut memory)?;
    memory.set_permissions(Permissions::from_mode(0o555))?;
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
    // F_SEAL_EXEC, which came with Linux 6.3: the permission to execute stays.
    match fcntl_add_seals(&memory, seals | SealFlags::from_bits_retain(0x20)) {
        Err(Errno::INVAL) => fcntl_add_seals(&memory, seals)?,
        other => other?,
    }
    // What is open for writing cannot be executed.
    Ok(File::open(executable(&memory.into()))?.into())
}

/// Why there is no copy. Where programs in memory are forbidden there is no other way: a bind that is read-only can be
/// undone by a container that may mount, and an overlay without an upper needs a place that such a one cannot reach.
fn refusal(err: Errno) -> io::Error {
    match err {
        Errno::ACCESS => {
            io::Error::other("programs in memory are forbidden: the sysctl vm.memfd_noexec must be 0 or 1")
        }
        err => err.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn who_forbids_programs_in_memory_is_named() {
        // What memfd_create(2) says to MFD_EXEC with the sysctl at 2. Only the host's root could set it here.
        assert!(refusal(Errno::ACCESS).to_string().contains("vm.memfd_noexec"));
        assert_eq!(refusal(Errno::NOMEM).kind(), io::ErrorKind::OutOfMemory);
    }

    #[test]
    fn a_copy_is_sealed_and_known_by_its_name() {
        let original = File::open("/bin/sleep").expect("a program");
        let name = name(&original).expect("name");
        let copy = make(original, &name).expect("copy");
        assert!(is_sealed(&copy));
        assert!(!is_sealed(File::open("/bin/sleep").expect("a program")));
        let mut child =
            std::process::Command::new(executable(&copy)).arg("100").spawn().expect("a copy can be executed");
        let pid = i32::try_from(child.id()).expect("pid");
        let found = Found::new(pid).expect("it runs");
        assert!(of_process(&found, &name).is_some());
        assert!(of_process(&found, "pierless other").is_none());
        child.kill().and_then(|()| child.wait()).expect("end");
        // Not even its owner, once nobody runs it.
        let writable = File::options().write(true).open(executable(&copy));
        assert!(writable.and_then(|mut file| file.write(b"x")).is_err());
        assert!(fs::set_permissions(executable(&copy), Permissions::from_mode(0o600)).is_err() || is_sealed(&copy));
    }
}
