//! Connecting a container that runs, and taking it out of a network.
//!
//! Each is done by a process of its own, which ends afterwards: it goes into the container's network namespace. Whatever
//! is left of one that was killed, [`disconnect`] takes away, as often as need be.

use std::os::fd::{AsFd, OwnedFd};

use super::asked::Asked;
use super::attach::{connect as make_pair, outside, placing};
use super::error::{Error, Result};
use super::hub::{self, Hub};
use super::link::{self, Links};
use super::plan::{endpoint, leading};
use super::{etc, lease, store, way_out};
use crate::holder;
use crate::model::networking::{Endpoint, EndpointSettings};
use crate::state::container::ContainerRecord;
use crate::state::paths::Home;
use crate::sys::namespaces::{self, Kinds};

/// A running container's side of the network.
#[derive(Debug)]
pub struct Side<'a> {
    /// Its record.
    pub record: &'a ContainerRecord,
    /// The connections that it has, or shall keep.
    pub endpoints: &'a [Endpoint],
    /// Its network namespace.
    pub own: &'a OwnedFd,
    /// That of the bridges.
    pub hub: &'a OwnedFd,
}

/// A connection that was made.
#[derive(Debug)]
pub struct Connected {
    /// The connection.
    pub endpoint: Endpoint,
    /// Why there is no way out, if there should be one.
    pub stranded: Option<String>,
}

/// Connects a running container to a network; the connection has this id. To be called in the host's network namespace.
///
/// # Errors
/// The network is not there, or has no such address; the kernel refuses. What was made stays: see [`disconnect`].
pub fn connect(home: &Home, side: &Side<'_>, network: &str, asked: &EndpointSettings, id: String) -> Result<Connected> {
    let network = store::load(home, network)?;
    let started = match network.internal {
        true => Ok(()),
        // The holder may have been killed since the container's start.
        false => holder::network(home).map_err(Error::from).and_then(|_| way_out::start(home)),
    };
    let (mut own, mut hub) = enter(side)?;
    let awaited = way_out::Awaited::new(&mut hub.links)?;
    let more = Asked::of(asked)?;
    let interface = more.name.clone().map_or_else(|| free_name(&mut own), Ok)?;
    let endpoint = endpoint(home, &network, side.record, (asked, &more), interface, id)?;
    let mut made = || -> Result<()> {
        let bridge = hub.bridge(home, &network)?;
        make_pair(&mut hub, &network, &endpoint, bridge, 0, side.own.as_fd())?;
        // As attached: parameters are those of the namespace that this process is in.
        namespaces::join(side.own, Kinds::CLONE_NEWNET).map_err(Error::at("cannot enter the network namespace"))?;
        let failed = || Error::at("cannot configure the container's network");
        let (index, _) = own
            .find(&endpoint.interface)
            .map_err(failed())?
            .ok_or_else(|| failed()(std::io::ErrorKind::NotFound.into()))?;
        own.take(placing(&endpoint, index, &more)?).map_err(failed())?;
        lead(&mut own, side.endpoints.iter().chain([&endpoint])).map_err(failed())?;
        etc::connected(home, side.record, side.endpoints, &endpoint)
    };
    if let Err(err) = made() {
        super::release(home, &side.record.id, std::slice::from_ref(&endpoint));
        return Err(err);
    }
    let waited = started.and_then(|()| if network.internal { Ok(()) } else { awaited.wait(home, &mut hub.links) });
    Ok(Connected { endpoint, stranded: waited.err().map(|err| err.to_string()) })
}

/// Takes away what a running container has of a connection that is not among those it shall keep: as much as was made of
/// it. Its addresses stay taken: they are given back when that it is gone has been recorded.
///
/// # Errors
/// The kernel refuses.
pub fn disconnect(home: &Home, side: &Side<'_>, network: &str, id: &str) -> Result<()> {
    let (mut own, mut hub) = enter(side)?;
    let failed = || Error::at("cannot take the container out of the network");
    // First: the default route would vanish with the interface, and packets meanwhile with it.
    lead(&mut own, side.endpoints).map_err(failed())?;
    if let Some((index, _)) = hub.links.find(&outside(id)).map_err(failed())? {
        hub.links.take(vec![link::gone(index)]).map_err(failed())?;
    }
    etc::disconnected(home, side.record, &lease::held(home, network, &side.record.id))
}

/// Both sides of the container's network. This process is in that of the bridges then.
fn enter(side: &Side<'_>) -> Result<(Links, Hub)> {
    let cannot = |what: &str| Error::at(format!("cannot enter {what} network namespace"));
    namespaces::join(side.own, Kinds::CLONE_NEWNET).map_err(cannot("the container's"))?;
    let own = Links::here().map_err(Error::at("netlink"))?;
    let hub = side.hub.try_clone().map_err(cannot("the"))?;
    Ok((own, hub::enter(hub)?))
}

/// Has the default routes lead as these connections want it. Without any the old ones stay: they go with their interface.
fn lead<'a>(own: &mut Links, endpoints: impl IntoIterator<Item = &'a Endpoint> + Clone) -> std::io::Result<()> {
    for ipv6 in [false, true] {
        let Some(leading) = leading(endpoints.clone(), ipv6) else { continue };
        let Some(gateway) = leading.placed(ipv6).and_then(|placed| placed.gateway) else { continue };
        // The container may have taken it down, or renamed it, which is its own business.
        if let Some((index, true)) = own.find(&leading.interface)? {
            own.take(vec![link::default_route(index, gateway)])?;
        }
    }
    Ok(())
}

/// The first `eth` that the container does not have.
fn free_name(own: &mut Links) -> Result<String> {
    for n in 0..4096 {
        let name = format!("eth{n}");
        if own.find(&name).map_err(Error::at("cannot look for an interface"))?.is_none() {
            return Ok(name);
        }
    }
    Err(Error::Invalid("the container has too many interfaces".to_owned()))
}
