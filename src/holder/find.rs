//! Who of a user's processes lives, and ways back into their namespaces when the holder is gone.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::state::lock::{self, Lock};
use crate::state::paths::{Home, entry_id};
use crate::state::store;
use crate::sys::namespaces::{self, Identity};
use crate::sys::{fdpass, pidfd, process};

/// A process that holds a lock, by which it is known to live.
#[derive(Debug)]
pub struct Found {
    /// Its process id.
    pub pid: i32,
    pidfd: OwnedFd,
}

impl Found {
    /// The process that has this id now.
    pub fn new(pid: i32) -> Option<Self> {
        Some(Self { pid, pidfd: pidfd::open(pid).ok()? })
    }

    /// Its user namespace can be joined by this.
    pub fn pidfd(&self) -> &OwnedFd {
        &self.pidfd
    }

    /// Whether it has not ended.
    pub fn is_alive(&self) -> bool {
        pidfd::is_alive(&self.pidfd)
    }
}

/// The holder.
pub fn holder(home: &Home) -> Option<Found> {
    keeper(&home.holder().join("lock"))
}

/// The process that has a file locked, by what it wrote into that.
pub fn keeper(path: &Path) -> Option<Found> {
    let file = File::open(path).ok()?;
    let (pid, start) = locked_by(&file)?;
    let found = Found::new(pid)?;
    // The descriptor was opened while the lock was held by its process, if it is still held now.
    let same = process::start_time(pid).ok()? == start && locked_by(&file) == Some((pid, start));
    same.then_some(found)
}

/// The network namespace of the user's containers by who else has it open: the way out, or a monitor.
pub fn network(home: &Home) -> Option<OwnedFd> {
    let wanted = recorded(home, NETWORK)?;
    let mut others = keeper(&home.way_out()).into_iter().chain(monitors(home));
    others.find_map(|other| opened_network(other.pid, wanted).filter(|_| other.is_alive()))
}

/// That network namespace, if a process has it open; it may have its container's open, too.
fn opened_network(pid: i32, wanted: Identity) -> Option<OwnedFd> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    let is_network = |path: &Path| fs::read_link(path).is_ok_and(|to| to.to_string_lossy().starts_with("net:["));
    let open = |path: PathBuf| -> Option<OwnedFd> { Some(File::open(path).ok()?.into()) };
    let mut opened = entries.map(|entry| entry.path()).filter(|path| is_network(path)).filter_map(open);
    opened.find(|namespace| namespaces::identity_of(namespace).ok() == Some(wanted))
}

/// Process id and start time in a file that is locked by that process.
fn locked_by(file: &File) -> Option<(i32, u64)> {
    if !lock::is_locked(file).unwrap_or(false) {
        return None;
    }
    let mut buf = [0; 64];
    let len = file.read_at(&mut buf, 0).ok()?;
    let mut words = std::str::from_utf8(buf.get(..len)?).ok()?.split_ascii_whitespace();
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

/// The monitors that live, one after the other as they are asked for.
pub fn monitors(home: &Home) -> impl Iterator<Item = Found> {
    let entries = fs::read_dir(home.running()).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let lock = entry.path().join("lock");
        if !Lock::is_held(&lock).unwrap_or(false) {
            return None;
        }
        // Who listens on its socket is the monitor; the kernel knows who that is.
        let socket = fdpass::connect(&entry.path().join("monitor.sock")).ok()?;
        let peer = rustix::net::sockopt::socket_peercred(socket.as_fd()).ok()?;
        let found = Found::new(peer.pid.as_raw_nonzero().get())?;
        Lock::is_held(&lock).unwrap_or(false).then_some(found)
    })
}

/// The user namespace that the user's containers are in, if any process of it lives that can be found: the one that was
/// recorded, or else, for its record may have gone, the one above a container's first process and next below this one.
/// `users` is this process's own lock.
pub fn namespace(home: &Home, users: &Lock) -> Option<OwnedFd> {
    let recorded = recorded(home, USERS);
    if let Some(wanted) = recorded
        && lock::is_used(users.file()).unwrap_or(true)
        && let Some(namespace) = somebody_in(wanted)
    {
        return Some(namespace);
    }
    let own = namespaces::identity("self", "user").ok()?;
    let mut next_below = None;
    for pid in inits(home, recorded.is_some()) {
        let Some(mut chain) = chain(pid, own) else { continue };
        let is_recorded = |namespace: &OwnedFd| namespaces::identity_of(namespace).ok() == recorded;
        if recorded.is_some()
            && let Some(place) = chain.iter().position(is_recorded)
        {
            return Some(chain.swap_remove(place));
        }
        next_below = next_below.or_else(|| chain.pop());
    }
    next_below
}

/// Where the user namespace that was made last is recorded.
pub const USERS: &str = "namespace";
/// Where the network namespace with the bridges is recorded.
pub const NETWORK: &str = "network";

/// Device and inode of a namespace that was recorded.
pub fn recorded(home: &Home, name: &str) -> Option<Identity> {
    let text = fs::read_to_string(home.holder().join(name)).ok()?;
    let mut words = text.split_ascii_whitespace().map(str::parse);
    Some((words.next()?.ok()?, words.next()?.ok()?))
}

/// Records a namespace, so that a process of it can be told.
///
/// # Errors
/// Those of the file system.
pub fn record(home: &Home, name: &str, (device, inode): Identity) -> crate::state::Result<()> {
    use crate::state::atomic::{self, Durability};
    let path = home.holder().join(name);
    atomic::write(&path, format!("{device} {inode}\n").as_bytes(), Durability::Process)
}

/// A namespace by any process that is in it.
fn somebody_in(wanted: Identity) -> Option<OwnedFd> {
    process::all().find_map(|pid| {
        let namespace = namespaces::open(pid, "user").ok()?;
        (namespaces::identity_of(&namespace).ok()? == wanted).then_some(namespace)
    })
}

/// The first processes of containers that run by their records. Where the run directory is whole, it lists those that
/// were started since the last boot.
pub fn inits(home: &Home, whole: bool) -> impl Iterator<Item = i32> {
    let ids = match whole {
        true => {
            let entries = fs::read_dir(home.running()).into_iter().flatten().flatten();
            entries.filter_map(|entry| entry_id(&entry.path()).map(str::to_owned)).collect()
        }
        false => store::ids(home).unwrap_or_default(),
    };
    let boot = process::boot_id().unwrap_or_default();
    ids.into_iter().filter_map(move |id| {
        let state = store::load_state(home, &id).ok().filter(|state| state.is_running() && state.boot_id == boot)?;
        process::start_time(state.pid).is_ok_and(|start| start == state.pid_start).then_some(state.pid)
    })
}

/// The user namespaces from a process's up to the one below `own`: the process may have made some itself.
pub fn chain(pid: i32, own: Identity) -> Option<Vec<OwnedFd>> {
    let mut chain = vec![namespaces::open(pid, "user").ok()?];
    if namespaces::identity_of(&chain[0]).ok()? == own {
        return None;
    }
    loop {
        // Where this process may not look any further up, it is not below its own.
        let parent = namespaces::parent(chain.last()?).ok()?;
        if namespaces::identity_of(&parent).ok()? == own {
            return Some(chain);
        }
        chain.push(parent);
    }
}
