//! Ending all of a user's containers and processes, to be alone.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use super::{Entered, Error, enter_as, find, way_out};
use crate::model::signal;
use crate::state::lock::Lock;
use crate::state::paths::{self, Home};
use crate::sys::namespaces::{self, Identity};
use crate::sys::{pidfd, process};

/// How long what was killed may take to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Ends every process of pierless that uses the namespaces, and every process in them, then enters. Others that come
/// wait for the end of this process.
///
/// # Errors
/// As [`super::enter`]; something does not end.
pub fn enter_alone(home: &Home) -> Result<Entered, Error> {
    home.make()?;
    paths::private_dir(&home.holder())?;
    let since = Instant::now();
    loop {
        let left = victims(home);
        for (_, pidfd) in &left {
            pidfd::send_signal(pidfd, signal::KILL).map_err(Error::at("cannot end a process"))?;
        }
        if since.elapsed() > PATIENCE {
            let pids: Vec<i32> = left.iter().map(|(pid, _)| *pid).collect();
            return Err(Error::Refused(format!("these processes do not end: {pids:?}")));
        }
        for (_, pidfd) in &left {
            let _ = pidfd::wait_exit(pidfd, PATIENCE);
        }
        way_out::end(&home.way_out());
        // What was about to begin may have begun meanwhile.
        if left.is_empty()
            && let Some(users) = Lock::try_exclusive(&home.holder().join("users"))?
        {
            return enter_as(home, users);
        }
    }
}

/// Who has to end, but for this process and those that wait for it.
fn victims(home: &Home) -> Vec<(i32, OwnedFd)> {
    let users = fs::metadata(home.holder().join("users")).ok().map(|meta| (meta.dev(), meta.ino()));
    let (shared, own) = (find::recorded(home, find::USERS), namespaces::identity("self", "user").ok());
    let inits: Vec<i32> = find::inits(home, false).collect();
    let waiting = ancestors();
    let is_ours = |pid: i32| {
        inits.contains(&pid)
            || users.is_some_and(|users| has_open(pid, users))
            || own.zip(shared).is_some_and(|(own, shared)| is_within(pid, shared, own))
    };
    let others = process::all().filter(|pid| !waiting.contains(pid));
    // The descriptor first: what was looked at is what is ended. Who has ended needs only its parent.
    let lives = |pidfd: &OwnedFd| pidfd::is_alive(pidfd);
    others.filter_map(|pid| pidfd::open(pid).ok().filter(lives).filter(|_| is_ours(pid)).map(|fd| (pid, fd))).collect()
}

fn ancestors() -> Vec<i32> {
    let mut line = vec![std::process::id().cast_signed()];
    while let Some(parent) = line.last().and_then(|pid| process::parent(*pid).ok()).filter(|pid| *pid > 0) {
        line.push(parent);
    }
    line
}

fn has_open(pid: i32, file: Identity) -> bool {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut found = entries.filter_map(|entry| fs::metadata(entry.path()).ok());
    found.any(|meta| (meta.dev(), meta.ino()) == file)
}

/// Whether a process is in a user namespace or below it.
fn is_within(pid: i32, shared: Identity, own: Identity) -> bool {
    if namespaces::identity(&pid.to_string(), "user").is_ok_and(|id| id == shared) {
        return true;
    }
    let is_shared = |namespace: &OwnedFd| namespaces::identity_of(namespace).is_ok_and(|id| id == shared);
    find::chain(pid, own).is_some_and(|chain| chain.iter().any(is_shared))
}
