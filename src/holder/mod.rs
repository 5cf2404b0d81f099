//! The user's namespaces: joining them, making them, holding them.
//!
//! A user without privileges gets one *user namespace* for all of their containers, so that these can share network
//! namespaces, and so that files which belong to a container's users have the same owners for every process that
//! touches them. A namespace lives as long as a process is in it; the *holder* is that process, and keeps the copy of the
//! program that monitors run from (see [`program`]). It decides nothing: it keeps `run/holder/lock` locked (with its
//! process id written in it) and waits until it gets `run/holder/users`, which every other pierless process has locked in
//! shared mode. Killed, it is replaced by the next process that looks: in the same namespace, if anybody lives there, be
//! it a monitor or only a container's first process. Root has a holder, too, and no user namespace.
//!
//! The holder is also the one process that is in the user's *network namespace*, where the bridges of all networks are
//! (see the room `network`, which it does not know). Monitors of containers with a network have it open: so a holder
//! that replaces a killed one finds it. At its end the holder ends the process that is the way out of it.
//!
//! Every process then has a *mount namespace* of its own, so whatever it mounts vanishes with it.

mod alone;
mod create;
mod error;
mod find;
mod idmap;
pub mod program;
mod way_out;

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;

pub use alone::enter_alone;
use create::Place;
pub use error::Error;
pub use find::{Found, holder, keeper};
pub use idmap::host_uid;

use crate::state::lock::{self, Lock};
use crate::state::paths::{self, Home};
use crate::sys::namespaces::{self, Kinds};
use crate::sys::{mounts, process};

/// Where this process is, and what it has there. While it exists, the namespaces stay.
#[derive(Debug)]
pub struct Entered {
    /// Whether it is in a user namespace: it is root there and nowhere else.
    pub rootless: bool,
    /// Whether only one user id exists there, for want of a range in /etc/subuid or of `newuidmap`.
    pub single_id: bool,
    _users: Lock,
}

/// Whether this process is in a user namespace: it is root there and nowhere else.
pub fn is_rootless() -> bool {
    idmap::read("uid_map").is_ok_and(|map| !idmap::is_initial(&map))
}

/// Names the id maps of this process: what one and the same name gives belongs to the same users, on disk and in
/// containers. Each range as `inside:outside:count`, user ids first.
///
/// # Errors
/// /proc is not there.
pub fn map_id() -> io::Result<String> {
    Ok(format!("u{} g{}", idmap::name(&idmap::read("uid_map")?), idmap::name(&idmap::read("gid_map")?)))
}

/// Whether only one user id exists here.
pub fn is_single_id() -> bool {
    idmap::read("uid_map").is_ok_and(|map| map.iter().map(|range| u64::from(range.count)).sum::<u64>() <= 1)
}

/// The highest group id that exists here.
pub fn last_gid() -> u32 {
    let last = |range: &idmap::Range| range.inside.saturating_add(range.count - 1);
    idmap::read("gid_map").ok().and_then(|map| map.iter().filter(|range| range.count > 0).map(last).max()).unwrap_or(0)
}

/// Enters the user's namespaces, making them if need be, and a mount namespace of this process's own.
///
/// To be called first thing in `main`: a process with threads cannot do it. Root, and a child of a process that is inside
/// already, stay in the user namespace that they are in.
///
/// # Errors
/// The run directory cannot be written, or the kernel forbids user namespaces.
pub fn enter(home: &Home) -> Result<Entered, Error> {
    home.make()?;
    let dir = home.holder();
    paths::private_dir(&dir)?;
    // Before anything is looked at: from here on no holder ends.
    enter_as(home, Lock::shared(&dir.join("users"))?)
}

/// Enters as a user of the namespaces that has this lock.
fn enter_as(home: &Home, users: Lock) -> Result<Entered, Error> {
    join(home, &users)?;
    namespaces::unshare(Kinds::CLONE_NEWNS).map_err(Error::at("cannot make a mount namespace"))?;
    mounts::make_all_slave().map_err(Error::at("cannot make mounts private"))?;
    Ok(Entered { rootless: is_rootless(), single_id: is_single_id(), _users: users })
}

fn join(home: &Home, users: &Lock) -> Result<(), Error> {
    if join_holder(home)? {
        return Ok(());
    }
    // Only one makes a holder; who waited here finds it made.
    let _making = Lock::exclusive(&home.holder().join("making"))?;
    if join_holder(home)? {
        return Ok(());
    }
    let place = match rustix::process::geteuid().is_root() {
        true => Place::Here,
        false => find::namespace(home, users).map_or(Place::New, Place::In),
    };
    create::holder(home, &place)
}

/// The network namespace in which the user's bridges are; a holder that was killed is replaced. This process must have
/// entered, and be single-threaded.
///
/// # Errors
/// The kernel gives no network namespaces; the holder cannot be replaced.
pub fn network(home: &Home) -> Result<OwnedFd, Error> {
    let opened = || network_of_holder(home);
    let found = opened().map_or_else(
        || {
            let _making = Lock::exclusive(&home.holder().join("making"))?;
            if find::holder(home).is_none() {
                create::holder(home, &Place::Here)?;
            }
            opened().ok_or_else(|| Error::Refused("the holder of the namespaces does not stay".to_owned()))
        },
        Ok,
    )?;
    let identity = |namespace| namespaces::identity_of(namespace).map_err(Error::at("the network namespace"));
    let own = namespaces::identity("self", "net").map_err(Error::at("/proc/self/ns"))?;
    match identity(&found)? == own {
        true => Err(Error::Refused(
            "the kernel gives no network namespace for the containers' networks; `sysctl user.max_net_namespaces` may \
             decide it"
                .to_owned(),
        )),
        false => Ok(found),
    }
}

/// The file that every process has locked which uses the namespaces: who locks it alone is told when nobody does.
///
/// # Errors
/// It cannot be opened.
pub fn users(home: &Home) -> Result<std::fs::File, Error> {
    let path = home.holder().join("users");
    let open = std::fs::OpenOptions::new().read(true).write(true).open(path);
    open.map_err(Error::at("cannot open the users' lock"))
}

/// The same, if there is a holder.
fn network_of_holder(home: &Home) -> Option<OwnedFd> {
    let holder = find::holder(home)?;
    namespaces::open(holder.pid, "net").ok().filter(|_| holder.is_alive())
}

/// The same, if it is there: the holder may have been killed. This process may have threads.
pub fn found_network(home: &Home) -> Option<OwnedFd> {
    network_of_holder(home).or_else(|| find::network(home))
}

/// Joins the holder's user namespace, if there is a holder.
fn join_holder(home: &Home) -> Result<bool, Error> {
    let Some(holder) = find::holder(home) else { return Ok(false) };
    if rustix::process::geteuid().is_root() {
        return Ok(true);
    }
    match namespaces::join(holder.pidfd(), Kinds::CLONE_NEWUSER) {
        Ok(()) => Ok(true),
        // It was killed just now.
        Err(err) if err.raw_os_error() == Some(nix::libc::ESRCH) => Ok(false),
        Err(err) => Err(Error::System { what: "cannot join the user namespace", source: err }),
    }
}

/// The role `pierless holder`: standard input is the lock that says so, standard output the users' lock, standard error
/// the program; the word behind it is the file that the way out has locked. Returns when no process uses the namespaces
/// any more.
pub fn main(mut words: impl Iterator<Item = String>) -> ExitCode {
    if !program::is_sealed(rustix::stdio::stderr()) {
        eprintln!("pierless holder: this is an internal command");
        return ExitCode::FAILURE;
    }
    process::set_name(c"pierless");
    if lock::acquire(rustix::stdio::stdout(), lock::Kind::Exclusive).is_err() {
        return ExitCode::FAILURE;
    }
    if let Some(path) = words.next() {
        way_out::end(Path::new(&path));
    }
    // Before the users' lock becomes free: nobody may find a holder that is about to end.
    let _ = lock::release(rustix::stdio::stdin());
    ExitCode::SUCCESS
}
