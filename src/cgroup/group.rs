//! One container's cgroups: making, finding, ending.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use crate::sys::poll;

/// Where cgroups of version 2 are mounted.
const ROOT: &str = "/sys/fs/cgroup";
/// The type of such a file system.
const CGROUP2: u64 = 0x6367_7270;
/// The monitor's own, beside its container's, so that no limit of that is its.
pub const MONITOR: &str = "monitor";
/// The container's.
pub const PAYLOAD: &str = "payload";
/// How long killed processes may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether this host has cgroups of version 2, and no others.
pub fn is_v2() -> bool {
    rustix::fs::statfs(ROOT).is_ok_and(|fs| fs.f_type as u64 == CGROUP2)
}

/// Makes a group, unless it is there.
///
/// # Errors
/// Those of the file system.
pub fn make(group: &Path) -> io::Result<()> {
    match fs::create_dir(group) {
        Err(err) if err.kind() != io::ErrorKind::AlreadyExists => Err(err),
        _ => Ok(()),
    }
}

/// Gives the groups below this one every controller that it has, one by one: what one refuses, others give.
pub fn delegate(group: &Path) {
    let given = fs::read_to_string(group.join("cgroup.controllers")).unwrap_or_default();
    let has = fs::read_to_string(group.join("cgroup.subtree_control")).unwrap_or_default();
    for controller in given.split_whitespace().filter(|wanted| !has.split_whitespace().any(|had| had == *wanted)) {
        let _ = fs::write(group.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

/// The group that a process is in.
///
/// # Errors
/// It has ended, or there is no version 2 here.
pub fn of(pid: i32) -> io::Result<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"));
    Ok(Path::new(ROOT).join(path.ok_or(io::ErrorKind::NotFound)?))
}

/// A container's groups, if this process is in that of its monitor.
pub fn of_monitor(id: &str) -> Option<PathBuf> {
    let own = of(std::process::id().cast_signed()).ok()?;
    own.ends_with(Path::new(id).join(MONITOR)).then(|| own.parent().map(Path::to_owned)).flatten()
}

/// The container's own group, if this process is in that of its monitor.
pub fn payload(id: &str) -> Option<PathBuf> {
    of_monitor(id).map(|groups| groups.join(PAYLOAD))
}

/// Opens a group, for a process to be born in it.
///
/// # Errors
/// It is not there.
pub fn open(group: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(group, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Ends every process in a group and in those below it.
///
/// # Errors
/// They do not end.
pub fn kill(group: &Path) -> io::Result<()> {
    match fs::write(group.join("cgroup.kill"), "1") {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(err) => Err(err),
        Ok(()) => emptied(group),
    }
}

/// Waits until no process is in a group and in those below it.
///
/// # Errors
/// It takes too long.
pub fn emptied(group: &Path) -> io::Result<()> {
    let events = match fs::File::open(group.join("cgroup.events")) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let since = Instant::now();
    loop {
        // By this descriptor, for what was read by it is what a change is a change of.
        let mut text = [0; 256];
        let len = match events.read_at(&mut text, 0) {
            // It has gone meanwhile.
            Err(err) if err.raw_os_error() == Some(nix::libc::ENODEV) => return Ok(()),
            other => other?,
        };
        if !text[..len].split(|byte| *byte == b'\n').any(|line| line == b"populated 1") {
            return Ok(());
        }
        let left = PATIENCE.saturating_sub(since.elapsed());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "processes of the container do not end"));
        }
        poll::changed_within(&events, left)?;
    }
}

/// Ends every process in a container's group, and takes that away, with what the container made below it.
///
/// # Errors
/// They do not end.
pub fn end(group: &Path) -> io::Result<()> {
    match fs::remove_dir(group) {
        Ok(()) => return Ok(()),
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(_) => {}
    }
    kill(group)?;
    remove(group);
    Ok(())
}

/// Removes groups without processes from the deepest to the topmost. Directories are all that can be removed there.
pub fn remove(group: &Path) {
    let mut order = vec![group.to_owned()];
    let mut at = 0;
    while let Some(next) = order.get(at) {
        let entries = fs::read_dir(next).into_iter().flatten().flatten();
        let below: Vec<_> = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).collect();
        order.extend(below.into_iter().map(|entry| entry.path()));
        at += 1;
    }
    order.iter().rev().for_each(|group| drop(fs::remove_dir(group)));
}
