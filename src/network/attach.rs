//! A container's network namespace, made and connected before its program runs.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::asked::Asked;
use super::error::{Error, Result};
use super::hub::{self, Hub};
use super::link::{self, LOOPBACK, Links, Pair, Step};
use super::names::socket::{self, Sockets};
use super::plan::{Plan, parse_mac};
use super::ports;
use super::record::Network;
use super::way_out;
use crate::holder;
use crate::model::networking::Endpoint;
use crate::model::ports::Bound;
use crate::state::paths::Home;
use crate::sys::namespaces::{self, Kinds};

/// What a connected container has.
#[derive(Debug)]
pub struct Attached {
    /// Its network namespace.
    pub namespace: OwnedFd,
    /// The user's network namespace, which it is connected to; to be kept open as long as the container runs.
    pub hub: OwnedFd,
    /// Where the container's resolver is asked, if there can be one.
    pub resolver: Option<Sockets>,
    /// What there should be and is not: a way out, a resolver.
    pub troubles: Vec<String>,
}

/// Makes a network namespace for a container that has these ports of the host, and connects it, and waits until there is a
/// way out. This process is in that namespace from then on: it has to end afterwards.
///
/// # Errors
/// The kernel refuses. What was made of it goes with this process.
pub fn attach(home: &Home, plan: &Plan, ports: &[Bound]) -> Result<Attached> {
    let leads_out = plan.connections.iter().any(|(network, _)| !network.internal);
    let namespace = holder::network(home)?;
    // In the host's namespace; it takes its time, which the rest fills.
    let started = if leads_out { way_out::start(home) } else { Ok(()) };
    let mut hub = hub::enter(namespace)?;
    let awaited = way_out::Awaited::new(&mut hub.links)?;
    let mut bridges = Vec::with_capacity(plan.connections.len());
    for (network, _) in &plan.connections {
        bridges.push(hub.bridge(home, network)?);
    }
    namespaces::unshare(Kinds::CLONE_NEWNET).map_err(Error::at("cannot make a network namespace"))?;
    let namespace: OwnedFd =
        fs::File::open("/proc/thread-self/ns/net").map_err(Error::at("cannot open the network namespace"))?.into();
    let mut own = Links::here().map_err(Error::at("netlink"))?;
    let mut steps = vec![link::up(LOOPBACK)];
    for (n, ((network, endpoint), bridge)) in plan.connections.iter().zip(bridges).enumerate() {
        let index = index_of(n);
        connect(&mut hub, network, endpoint, bridge, index, namespace.as_fd())?;
        steps.extend(placing(endpoint, index, &plan.asked[n])?);
    }
    let leading = [false, true].map(|ipv6| {
        let at = plan.leading(ipv6)?;
        Some((index_of(at), plan.connections[at].1.placed(ipv6)?))
    });
    for (index, placed) in leading.iter().flatten() {
        steps.extend(placed.gateway.map(|gateway| link::default_route(*index, gateway)));
    }
    steps.extend(ports::routes(ports, leading.map(|leading| Some(leading?.1.address))));
    own.take(steps).map_err(Error::at("cannot configure the container's network"))?;
    let resolver = socket::open();
    let waited = started.and_then(|()| if leads_out { awaited.wait(home, &mut hub.links) } else { Ok(()) });
    let unserved = resolver.as_ref().err().map(|err| format!("names are not resolved at {}: {err}", socket::ADDRESS));
    let troubles = waited.err().map(|err| err.to_string()).into_iter().chain(unserved).collect();
    Ok(Attached { namespace, hub: hub.namespace, resolver: resolver.ok(), troubles })
}

/// The number of a connection's interface: behind the loopback interface, the only one of a new namespace.
fn index_of(connection: usize) -> u32 {
    LOOPBACK + 1 + u32::try_from(connection).unwrap_or_default()
}

/// Brings an interface of the network namespace that this process is in up, with its addresses: what is to be done for that.
///
/// # Errors
/// A parameter of it that is asked for cannot be.
pub(super) fn placing(endpoint: &Endpoint, index: u32, asked: &Asked) -> Result<Vec<Step>> {
    if endpoint.v6.is_none() {
        // Before it is up, or it would give itself an address. It is no error that a kernel does not have it at all.
        let _ = hub::sysctl(&format!("net/ipv6/conf/{}/disable_ipv6", endpoint.interface), "1");
    }
    asked.set_sysctls(&endpoint.interface)?;
    let placed = [endpoint.v4, endpoint.v6].into_iter().flatten();
    let addresses = placed.map(|placed| link::address(index, placed.address, placed.prefix));
    let local = asked.local.iter().map(|local| link::address(index, *local, if local.is_ipv6() { 64 } else { 16 }));
    Ok([link::up(index)].into_iter().chain(addresses).chain(local).collect())
}

/// The name of a connection's interface on the bridge.
pub(super) fn outside(endpoint: &str) -> String {
    format!("veth{}", &endpoint[..8])
}

/// Makes the pair of interfaces of a connection; `index` is the number in the container, 0 any.
pub(super) fn connect(
    hub: &mut Hub,
    network: &Network,
    endpoint: &Endpoint,
    bridge: u32,
    index: u32,
    namespace: BorrowedFd<'_>,
) -> Result<()> {
    let outside = outside(&endpoint.id);
    let mac =
        parse_mac(&endpoint.mac).ok_or_else(|| Error::Invalid(format!("invalid MAC address {}", endpoint.mac)))?;
    let inside = &endpoint.interface;
    let pair = Pair { bridge, outside: &outside, inside, index, namespace, mac, mtu: network.mtu() };
    let failed = || Error::at(format!("cannot connect to network {}", network.name));
    hub.links.take(vec![link::pair(&pair)]).map_err(failed())?;
    if !network.icc() {
        let port = hub.links.find(&outside).map_err(failed())?;
        let (port, _) = port.ok_or_else(|| failed()(std::io::ErrorKind::NotFound.into()))?;
        hub.links.take(vec![link::apart(port)]).map_err(failed())?;
    }
    Ok(())
}
