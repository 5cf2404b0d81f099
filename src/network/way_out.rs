//! The way out of the user's network namespace: `pasta`, which speaks with the host's sockets for all containers.
//!
//! There is one for all. It keeps a file locked for as long as it lives, and its interface goes with it: where the
//! interface has a route, it is there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::error::{Error, Result};
use super::link::Links;
use super::names::upstream;
use super::resolvers;
use crate::cgroup;
use crate::holder::{self, Found};
use crate::state;
use crate::state::lock::{self, Kind, Lock};
use crate::state::paths::Home;
use crate::sys::netlink::{Protocol, Socket};
use crate::sys::{poll, process, spawn};

/// Its interface in the namespace.
pub const INTERFACE: &str = "tap0";
/// Its address there.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 2, 1);
/// Where it is reached: packets to this address go to the host's own loopback.
pub const HOST: Ipv4Addr = Ipv4Addr::new(169, 254, 2, 2);
/// Where it forwards questions for names to the host's resolver, should that be on the host's loopback.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(169, 254, 2, 3);
/// An address that is reached by the default route only.
const ANYWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// Changes of routes of IPv4, as a multicast group of netlink.
const ROUTES: u32 = 0x40;
/// How long it may take until it serves.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts the way out if there is none. To be called in the host's network namespace. Does not wait until it serves.
///
/// # Errors
/// There is no `pasta`, or it cannot be started.
pub fn start(home: &Home) -> Result<()> {
    let path = home.way_out();
    if Lock::is_held(&path)? {
        return Ok(());
    }
    fs::create_dir_all(home.live_networks()).map_err(state::Error::at(&home.live_networks()))?;
    let open = |path: &PathBuf, truncate| {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(truncate).mode(0o600).open(path)
    };
    let file = open(&path, false).map_err(state::Error::at(&path))?;
    if !lock::try_acquire(&file, Kind::Exclusive).map_err(Error::at("the way out's lock"))? {
        return Ok(());
    }
    let log_path = log(home);
    let log = open(&log_path, true).map_err(state::Error::at(&log_path))?;
    let holder = holder::holder(home).ok_or_else(|| Error::System {
        what: "the holder of the namespaces".to_owned(),
        source: io::ErrorKind::NotFound.into(),
    })?;
    let program = find_program().ok_or_else(|| {
        Error::Invalid("pasta is not installed (package passt): containers have no way out of their network".to_owned())
    })?;
    let copy = holder::program::copy(home).map_err(Error::at("cannot copy this program to memory"))?;
    let users = holder::users(home)?;
    // Not in the group of the container that happens to be the first.
    let group = cgroup::beside(home);
    let child = || begin(&file, &log, &program, holder.pid, &users, copy);
    spawn::fork_beside(group.as_ref().map(AsFd::as_fd), child).map_err(Error::at("cannot fork"))?;
    Ok(())
}

/// In a forked child: makes the way out, and becomes the process that ends with it, or ends it (see [`keep`]).
fn begin(file: &File, log: &File, program: &Path, holder: i32, users: &File, copy: &OwnedFd) -> i32 {
    let keep = [file, log, users].map(AsRawFd::as_raw_fd);
    let keep = [&keep[..], &[copy.as_raw_fd()]].concat();
    let own = std::process::id().cast_signed();
    let made = || {
        spawn::close_all_but(&keep)?;
        rustix::process::setsid()?;
        spawn::ordinary_signals();
        spawn::fork(|| match spawn::end_with(own) {
            Ok(()) => become_way_out(file, log, program, holder),
            Err(_) => 1,
        })?;
        rustix::stdio::dup2_stdin(users)?;
        rustix::stdio::dup2_stderr(copy)?;
        std::env::set_current_dir("/")?;
        process::close_on_exec_from(3)
    };
    if made().is_err() {
        return 1;
    }
    let args = [holder::program::path().to_string_lossy().into_owned(), "way-out".to_owned()];
    process::execute(&holder::program::executable(copy), &args, &[]);
    1
}

/// The role `pierless way-out`, the parent of the way out; standard input is the users' lock, standard error the program.
/// The holder ends the way out when nobody uses the namespaces any more; this does where the holder was killed, and the
/// kernel does where this is.
pub fn keep() -> ExitCode {
    if !holder::program::is_sealed(rustix::stdio::stderr()) {
        eprintln!("pierless way-out: this is an internal command");
        return ExitCode::FAILURE;
    }
    process::set_name(c"pierless");
    spawn::end_with_children();
    let _ = lock::acquire(rustix::stdio::stdin(), Kind::Exclusive);
    for child in process::children() {
        let _ = spawn::kill(child, spawn::SIGKILL);
    }
    ExitCode::SUCCESS
}

/// In a forked child.
fn become_way_out(file: &File, log: &File, program: &Path, holder: i32) -> i32 {
    let written = || {
        spawn::close_all_but(&[file.as_raw_fd(), log.as_raw_fd()])?;
        let pid = std::process::id().cast_signed();
        file.set_len(0)?;
        file.write_all_at(format!("{pid} {}\n", process::start_time(pid)?).as_bytes(), 0)?;
        // The lock lives as long as the program has it open: as its standard input.
        rustix::stdio::dup2_stdin(file)?;
        rustix::stdio::dup2_stdout(log)?;
        rustix::stdio::dup2_stderr(log)?;
        std::env::set_current_dir("/")
    };
    if written().is_err() {
        return 1;
    }
    let namespace = format!("/proc/{holder}/ns/net");
    let (address, host, resolver) = (ADDRESS.to_string(), HOST.to_string(), RESOLVER.to_string());
    let mut args = vec![
        "pasta",
        "--foreground",
        "--quiet",
        "--config-net",
        "--netns-only",
        "--netns",
        &namespace,
        "--ns-ifname",
        INTERFACE,
        "--ipv4-only",
        "--address",
        &address,
        "--netmask",
        "255.255.255.0",
        "--gateway",
        &host,
        // Nothing of the host's ports is in the namespace, nor the other way round.
        "--tcp-ports",
        "none",
        "--udp-ports",
        "none",
        "--tcp-ns",
        "none",
        "--udp-ns",
        "none",
    ];
    // Only where it is needed: what a resolver answers to others then seems to come from this address, too.
    if resolvers::reachable(&upstream::host_text()).is_empty() {
        args.extend(["--dns-forward", &resolver]);
    }
    if !holder::is_rootless() {
        // It would become somebody else, who may not look into the namespace.
        args.extend(["--runas", "0:0"]);
    }
    let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
    let error = process::execute(program, &args, &[]);
    let _ = writeln!(&*log, "{}: {error}", program.display());
    1
}

/// Waits until the way out of a namespace serves.
#[derive(Debug)]
pub struct Awaited(Option<Socket>);

impl Awaited {
    /// Of the namespace that this process is in, and `links` of.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn new(links: &mut Links) -> Result<Self> {
        let changes = || route_changes().map_err(Error::at("netlink"));
        Ok(Self(if serves(links)? { None } else { Some(changes()?) }))
    }

    /// Returns when it serves. This process may be elsewhere by now.
    ///
    /// # Errors
    /// It has ended, or takes too long.
    pub fn wait(self, home: &Home, links: &mut Links) -> Result<()> {
        let Some(changes) = self.0 else { return Ok(()) };
        let since = Instant::now();
        while !serves(links)? {
            let keeper = find(home);
            if keeper.is_none() && !is_there(home) {
                return Err(Error::Invalid(format!("no way out of the containers' network: {}", last_words(home))));
            }
            let left = PATIENCE.saturating_sub(since.elapsed());
            if left.is_zero() {
                return Err(Error::Invalid("the way out of the containers' network does not serve".to_owned()));
            }
            // Who has just locked the file has not written down who it is.
            let left = if keeper.is_some() { left } else { Duration::from_millis(2) };
            let fds = [Some(changes.as_fd()), keeper.as_ref().map(|keeper| keeper.pidfd().as_fd())];
            poll::readable_within(fds.into_iter().flatten(), left).map_err(Error::at("poll"))?;
            changes.drain();
        }
        Ok(())
    }
}

/// Whether the way out has its route: it takes that with it.
fn serves(links: &mut Links) -> Result<bool> {
    links.reaches(ANYWHERE).map_err(Error::at("cannot look for a route"))
}

/// Brings back a way out that has ended, and the holder of the namespace, should that have. To be called in a forked
/// process in the host's network namespace.
///
/// # Errors
/// As [`start`].
pub fn revive(home: &Home) -> Result<()> {
    holder::network(home)?;
    start(home)
}

/// Whether there is one, or one begins of which nobody knows yet which process it is.
pub fn is_there(home: &Home) -> bool {
    Lock::is_held(&home.way_out()).unwrap_or(false)
}

/// Tells when the host's routes change: with the host's network the way out may come back.
///
/// # Errors
/// Those of the kernel.
pub fn route_changes() -> io::Result<Socket> {
    Socket::open(Protocol::Route, ROUTES)
}

/// The process that is the way out, if there is one.
pub fn find(home: &Home) -> Option<Found> {
    holder::keeper(&home.way_out())
}

fn log(home: &Home) -> PathBuf {
    home.live_networks().join("way-out.log")
}

/// What the last one complained of last.
fn last_words(home: &Home) -> String {
    let text = fs::read(log(home)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with("Failed to send "));
    lines.next_back().unwrap_or("it was killed").trim().to_owned()
}

fn find_program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/local/bin", "/usr/bin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(usual).map(|dir| dir.join("pasta")).find(|path| path.is_file())
}
