//! Ending what is left of a container whose processes are in a pid namespace that others share.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use crate::sys::{namespaces, pidfd, spawn};

/// How long one of them may take to end: the kernel lets none wait for long but in a broken file system.
const PATIENCE: Duration = Duration::from_secs(2);
/// Who is not gone by then makes others faster than they are ended.
const ROUNDS: usize = 100;

/// Kills all processes in a mount namespace, but this one, and waits until there are none. They are known by the
/// namespace, never by their numbers; that its descriptor is open keeps it from being another one's meanwhile.
///
/// # Errors
/// Some are left.
pub fn end_all(mounts: impl AsFd) -> io::Result<()> {
    let wanted = namespaces::identity_of(&mounts)?;
    for _ in 0..ROUNDS {
        let left = members(wanted)?;
        if left.is_empty() {
            return Ok(());
        }
        for process in &left {
            let _ = pidfd::send_signal(process, spawn::SIGKILL);
        }
        for process in &left {
            pidfd::wait_exit(process, PATIENCE)?;
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

fn members(wanted: namespaces::Identity) -> io::Result<Vec<OwnedFd>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let is_member = || namespaces::identity(&pid.to_string(), "mnt").is_ok_and(|other| other == wanted);
        // Most processes are not this user's to look at, and none of the container's then.
        if pid.unsigned_abs() == std::process::id() || !is_member() {
            continue;
        }
        // What is asked again is what the descriptor is open on, whatever the number meant before.
        if let Ok(process) = pidfd::open(pid)
            && is_member()
        {
            found.push(process);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_of_the_namespace_is_left() {
        // In a process of its own, which may make namespaces: the test's has threads.
        let mut child = std::process::Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", "sleep 1000 & sleep 1000 & echo up; wait"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("unshare");
        let mut first = [0; 3];
        std::io::Read::read_exact(child.stdout.as_mut().expect("piped"), &mut first).expect("up");
        let pid = i32::try_from(child.id()).expect("pid");
        let namespace = namespaces::open(pid, "mnt").expect("namespace");
        assert!(members(namespaces::identity_of(&namespace).expect("identity")).expect("list").len() >= 3);
        end_all(&namespace).expect("ended");
        assert!(members(namespaces::identity_of(&namespace).expect("identity")).expect("list").is_empty());
        assert!(!child.wait().expect("reaped").success());
    }
}
