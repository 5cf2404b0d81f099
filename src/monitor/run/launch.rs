//! What the monitor needs of an OCI runtime, and how it calls it: in a forked starter, so that nothing of what a start
//! needs stays in the monitor. The starter reports on a socket and ends; the process it made becomes the monitor's
//! child, for the monitor is a subreaper.

use std::cell::Cell;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use serde::{Deserialize, Serialize};

use crate::model::networking::Endpoint;
use crate::model::ports::Bound;
use crate::monitor::protocol::{self, Failure};
use crate::network::names::{Sockets, Terms};
use crate::network::ports::Listening;
pub use crate::runtime::{Started, Stdio};
use crate::state::exec::ExecRecord;
use crate::sys::{fdpass, poll, process, spawn};

/// Why a process does not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What sort of failure.
    pub failure: Failure,
    /// For a person.
    pub message: String,
}

impl Refusal {
    /// There was nobody left to say why.
    pub fn killed() -> Self {
        Self::system("the starter of the process was killed")
    }

    /// The host failed.
    pub fn system(message: impl ToString) -> Self {
        Self { failure: Failure::System, message: message.to_string() }
    }
}

/// What a starter has made.
#[derive(Debug)]
pub struct Launched {
    /// The process.
    pub started: Started,
    /// Its connections to networks.
    pub network: Network,
}

impl From<Started> for Launched {
    /// With no network of its own.
    fn from(started: Started) -> Self {
        Self { started, network: Network::default() }
    }
}

/// A container's connections to networks.
#[derive(Debug, Default)]
pub struct Network {
    /// What they are.
    pub endpoints: Vec<Endpoint>,
    /// The namespace with the bridges, which its monitor keeps.
    pub hub: Option<OwnedFd>,
    /// Its own network namespace, if it has one that is connected.
    pub own: Option<OwnedFd>,
    /// The host's sockets for its published ports.
    pub published: Vec<Listening>,
    /// What its resolver is made of.
    pub resolver: Option<Resolver>,
    /// What it should have and has not, for a person.
    pub troubles: Vec<String>,
}

/// What a container's resolver is made of.
#[derive(Debug)]
pub struct Resolver {
    /// Where it is asked.
    pub sockets: Sockets,
    /// What it knows of the container.
    pub terms: Terms,
}

/// An OCI runtime. All but [`Launcher::delete`] is called in a starter.
pub trait Launcher: std::fmt::Debug {
    /// Mounts the root file system, creates the container and starts its process.
    ///
    /// # Errors
    /// Why it does not run; nothing of it remains.
    fn start(&self, stdio: Stdio) -> Result<Launched, Refusal>;

    /// Starts another process in the running container, whose first one is `init`, as soon as it is wanted.
    ///
    /// # Errors
    /// As above.
    fn exec(
        &self,
        session: &ExecRecord,
        init: i32,
        stdio: Stdio,
        wanted: &dyn Fn() -> bool,
    ) -> Result<Started, Refusal>;

    /// Removes what the container has beside its files, ending whatever still runs in it.
    fn delete(&self);
}

/// What a starter that is held back waits for.
const GO: &[u8] = b"go";
/// What a starter waits for before it ends.
const NOTED: &[u8] = b"noted";
/// What a packet before the report begins with that brings sockets for published ports, and says what each is for.
const SOCKETS: &[u8] = b"sockets";
/// The largest report: a failure's text.
const REPORT: usize = 64 * 1024;

/// The descriptors that a report brings, in their order.
fn parts(launched: &Launched) -> [Option<BorrowedFd<'_>>; PARTS] {
    let (started, network) = (&launched.started, &launched.network);
    let own = [&started.terminal, &started.rootfs, &started.mounts, &network.hub, &network.own];
    let [terminal, rootfs, mounts, hub, own] = own.map(|fd| fd.as_ref().map(AsFd::as_fd));
    let sockets = network.resolver.as_ref().map(|resolver| &resolver.sockets);
    let [udp, tcp] = [sockets.map(|sockets| sockets.udp.as_fd()), sockets.map(|sockets| sockets.tcp.as_fd())];
    [terminal, rootfs, mounts, hub, own, udp, tcp]
}

/// How many there may be.
const PARTS: usize = 7;

/// A report: the process, which descriptors come with it, its connections, what its resolver knows, what is missing.
type Report = (i32, [bool; PARTS], Vec<Endpoint>, Option<Terms>, Vec<String>);

/// Hands over the sockets for published ports, of which there may be many.
fn pass(socket: &OwnedFd, published: &[Listening]) -> io::Result<()> {
    published.chunks(fdpass::MAX_FDS).try_for_each(|some| {
        let bound: Vec<(Bound, IpAddr)> = some.iter().map(|one| (one.bound, one.target)).collect();
        let fds: Vec<_> = some.iter().map(|one| one.socket.as_fd()).collect();
        fdpass::send(socket, &[SOCKETS, &protocol::encode(&bound)], &fds)
    })
}

/// A forked starter at work.
#[derive(Debug)]
pub struct Starter {
    /// Its process.
    pub pid: i32,
    /// Since when, in clock ticks since boot: no child of its is older.
    pub since: u64,
    socket: OwnedFd,
}

impl AsFd for Starter {
    /// Readable when it has reported, or was killed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Starter {
    /// Forks a starter that does `work`. If the monitor is killed before it has committed that the process runs,
    /// nobody would ever find that: then the starter ends it.
    ///
    /// `keep` are the descriptors that it needs of the monitor's. It has no others: it goes where a container's
    /// processes are.
    pub fn fork(keep: &[RawFd], work: impl FnOnce() -> Result<Launched, Refusal>) -> io::Result<Self> {
        Self::fork_with(keep, false, |_| work())
    }

    /// Forks a starter that does `work`, which prepares all and then waits by what it is given until the process is
    /// wanted: until it is [told to go](Starter::go). False: it never will be, for this was dropped before.
    pub fn fork_held(
        keep: &[RawFd],
        work: impl FnOnce(&dyn Fn() -> bool) -> Result<Launched, Refusal>,
    ) -> io::Result<Self> {
        Self::fork_with(keep, true, work)
    }

    fn fork_with(
        keep: &[RawFd],
        held: bool,
        work: impl FnOnce(&dyn Fn() -> bool) -> Result<Launched, Refusal>,
    ) -> io::Result<Self> {
        let (ours, theirs) = fdpass::pair()?;
        let keep = [keep, &[theirs.as_raw_fd()]].concat();
        let since = process::ticks();
        let pid = spawn::fork(|| {
            // Among them the child's copy of the monitor's end, or the monitor's death would go unnoticed.
            if spawn::close_all_but(&keep).is_err() {
                return 1;
            }
            spawn::ordinary_signals();
            let asked = Cell::new(!held);
            let wanted = || {
                asked.set(true);
                fdpass::recv(&theirs, &mut [0; 8]).is_ok_and(|got| got.len == GO.len())
            };
            let result = work(&wanted);
            // One that fails early is told to go all the same: what is sent to a socket that closes unread makes the
            // report unreadable.
            let _ = asked.get() || wanted();
            let message: Result<Report, _> = match &result {
                Ok(launched) => {
                    let (network, there) = (&launched.network, parts(launched).map(|fd| fd.is_some()));
                    let terms = network.resolver.as_ref().map(|resolver| resolver.terms.clone());
                    let (endpoints, troubles) = (network.endpoints.clone(), network.troubles.clone());
                    Ok((launched.started.pid, there, endpoints, terms, troubles))
                }
                Err(refusal) => Err(refusal.clone()),
            };
            let passed = result.iter().try_for_each(|launched| pass(&theirs, &launched.network.published));
            let fds: Vec<_> = result.iter().flat_map(parts).flatten().collect();
            let sent = passed.and_then(|()| fdpass::send(&theirs, &[&protocol::encode(&message)], &fds));
            if let Ok((pid, ..)) = message
                && !(sent.is_ok() && fdpass::recv(&theirs, &mut [0; 8]).is_ok_and(|got| got.len == NOTED.len()))
            {
                let _ = spawn::kill(pid, spawn::SIGKILL);
            }
            0
        })?;
        Ok(Self { pid, since, socket: ours })
    }

    /// Lets one that is held back begin.
    pub fn go(&self) {
        let _ = fdpass::send(&self.socket, &[GO], &[]);
    }

    /// Whether there is a report to take, or none to come.
    pub fn has_reported(&self) -> bool {
        poll::is_readable(&self.socket)
    }

    /// Takes the report; none if it was killed before it made one. `buf` is scratch space.
    pub fn report(&self, buf: &mut [u8]) -> Option<Result<Launched, Refusal>> {
        let mut published = Vec::new();
        let got = loop {
            let got = fdpass::recv(&self.socket, &mut buf[..REPORT]).ok().filter(|got| got.len > 0)?;
            let Some(some) = buf[..got.len].strip_prefix(SOCKETS) else { break got };
            let (some, _) = protocol::parse::<Vec<(Bound, IpAddr)>>(some).ok()?;
            let some = some.into_iter().zip(got.fds);
            published.extend(some.map(|((bound, target), socket)| Listening { bound, target, socket }));
        };
        let report = protocol::parse::<Result<Report, Refusal>>(&buf[..got.len]);
        let (pid, there, endpoints, terms, troubles) = match report {
            Ok((Ok(started), _)) => started,
            Ok((Err(refusal), _)) => return Some(Err(refusal)),
            Err(error) => return Some(Err(Refusal::system(error))),
        };
        let mut fds = got.fds.into_iter();
        let [terminal, rootfs, mounts, hub, own, udp, tcp] = there.map(|there| if there { fds.next() } else { None });
        let started = Started { pid, terminal, rootfs, mounts };
        let sockets = udp.zip(tcp).map(|(udp, tcp)| Sockets { udp, tcp });
        let resolver = sockets.zip(terms).map(|(sockets, terms)| Resolver { sockets, terms });
        Some(Ok(Launched { started, network: Network { endpoints, hub, own, published, resolver, troubles } }))
    }

    /// Tells it that what it started has been committed.
    pub fn acknowledge(&self) {
        let _ = fdpass::send(&self.socket, &[NOTED], &[]);
    }
}
