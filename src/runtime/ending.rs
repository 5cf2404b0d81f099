//! Ending what is left of a container whose processes are in a pid namespace that others share.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use crate::sys::{mountinfo, namespaces, pidfd, spawn};

/// How long one of them may take to end: the kernel lets none wait for long but in a broken file system.
const PATIENCE: Duration = Duration::from_secs(2);
/// Who is not gone by then makes others faster than they are ended.
const ROUNDS: usize = 100;

/// Where a container has a mount of its own directory, whatever its image and its request say: the root file system, and
/// the files that are written for it.
const OWN: [&str; 4] = ["/", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];

/// Kills all processes in a mount namespace, but this one, and waits until there are none. They are known by the
/// namespace, never by their numbers; that its descriptor is open keeps it from being another one's meanwhile.
///
/// # Errors
/// Some are left.
pub fn end_all(mounts: impl AsFd) -> io::Result<()> {
    let wanted = namespaces::identity_of(&mounts)?;
    end(&|pid| namespaces::identity(pid, "mnt").is_ok_and(|other| other == wanted))
}

/// Kills all processes that have a container's files mounted where a container has its own, and waits until there are
/// none: for whoever has no descriptor of its mount namespace any more, whose number may be another one's by now.
///
/// # Errors
/// Some are left.
pub fn end_rooted(id: &str) -> io::Result<()> {
    let own = namespaces::identity("self", "mnt")?;
    let part = format!("/{id}/");
    end(&|pid| {
        namespaces::identity(pid, "mnt").is_ok_and(|other| other != own)
            && mountinfo::has(pid, &OWN, part.as_bytes()).unwrap_or(false)
    })
}

/// Kills all processes that belong to those that are meant, but this one, and waits until there are none.
fn end(is_member: &dyn Fn(&str) -> bool) -> io::Result<()> {
    for _ in 0..ROUNDS {
        let left = members(is_member)?;
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

fn members(is_member: &dyn Fn(&str) -> bool) -> io::Result<Vec<OwnedFd>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some((name, pid)) = name.to_str().and_then(|name| Some((name, name.parse::<i32>().ok()?))) else {
            continue;
        };
        // Most processes are not this user's to look at, and none of the container's then.
        if pid.unsigned_abs() == std::process::id() || !is_member(name) {
            continue;
        }
        // What is asked again is what the descriptor is open on, whatever the number meant before.
        if let Ok(process) = pidfd::open(pid)
            && is_member(name)
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
        let wanted = namespaces::identity_of(&namespace).expect("identity");
        let left = || members(&|pid| namespaces::identity(pid, "mnt").is_ok_and(|other| other == wanted));
        assert!(left().expect("list").len() >= 3);
        end_all(&namespace).expect("ended");
        assert!(left().expect("list").is_empty());
        assert!(!child.wait().expect("reaped").success());
    }
}
