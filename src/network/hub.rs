//! The user's network namespace from the inside: its bridges and its rules.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use super::error::{Error, Result};
use super::link::{self, LOOPBACK, Links, Mac};
use super::record::Network;
use super::{firewall, lease, store, way_out};
use crate::holder;
use crate::state::paths::Home;
use crate::sys::namespaces::{self, Kinds};

/// The user's network namespace, with this process in it.
#[derive(Debug)]
pub struct Hub {
    /// The namespace.
    pub namespace: OwnedFd,
    /// Its kernel.
    pub links: Links,
}

/// Enters the user's network namespace. This process does not come back: it has to end afterwards.
///
/// # Errors
/// Those of the kernel.
pub fn enter(namespace: OwnedFd) -> Result<Hub> {
    namespaces::join(&namespace, Kinds::CLONE_NEWNET).map_err(Error::at("cannot enter the network namespace"))?;
    let links = Links::here().map_err(Error::at("netlink"))?;
    Ok(Hub { namespace, links })
}

impl Hub {
    /// The number of a network's bridge, which is made if it is missing. That it is up says that it is whole.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn bridge(&mut self, home: &Home, network: &Network) -> Result<u32> {
        let name = network.interface();
        let find = |links: &mut Links| links.find(&name).map_err(Error::at(format!("cannot look for {name}")));
        if let Some((index, true)) = find(&mut self.links)? {
            return Ok(index);
        }
        let _lock = lease::lock(home, &network.id)?;
        // Whose monitor was killed has nothing that keeps its network.
        if !store::is_there(home, &network.id) {
            lease::forget(home, &network.id);
            return Err(Error::NotFound(network.name.clone()));
        }
        match find(&mut self.links)? {
            Some((index, true)) => Ok(index),
            found => {
                let made = self.make(network, &name, found.map(|(index, _)| index));
                made.map_err(Error::at(format!("cannot make the bridge {name} of network {}", network.name)))
            }
        }
    }

    /// Makes a bridge, or what is missing of one. Idempotent up to its last step.
    fn make(&mut self, network: &Network, name: &str, found: Option<u32>) -> io::Result<u32> {
        self.prepare()?;
        let index = match found {
            Some(index) => index,
            None => {
                self.links.take(vec![link::bridge(name, mac_of_bridge(network), network.mtu())])?;
                self.links.find(name)?.ok_or(io::ErrorKind::NotFound)?.0
            }
        };
        if network.internal {
            for version in ["ipv4", "ipv6"] {
                sysctl(&format!("net/{version}/conf/{name}/forwarding"), "0")?;
            }
        }
        let pools = network.pools.iter().filter(|pool| network.has_gateway(pool.subnet.is_ipv6()));
        let addresses = pools.map(|pool| link::address(index, pool.gateway, pool.subnet.prefix()));
        let steps = addresses.chain([link::up(index)]).collect();
        self.links.take(steps)?;
        Ok(index)
    }

    /// What the namespace has beside bridges. At each new bridge, for nothing tells that it was done.
    fn prepare(&mut self) -> io::Result<()> {
        self.links.take(vec![link::up(LOOPBACK)])?;
        sysctl("net/ipv4/ip_forward", "1")?;
        let optional = [
            ("net/ipv6/conf/all/forwarding", "1"),
            // What has no part in IPv6 gives itself no address of it.
            ("net/ipv6/conf/default/addr_gen_mode", "1"),
            // What goes from port to port of a bridge is not forwarded, whatever else on the host wants to see it.
            ("net/bridge/bridge-nf-call-iptables", "0"),
            ("net/bridge/bridge-nf-call-ip6tables", "0"),
        ];
        for (name, value) in optional {
            match sysctl(name, value) {
                // The kernel does not have it, or not yet.
                Err(err) if err.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        firewall::set(way_out::INTERFACE)
    }
}

/// Takes a network's bridge away, which nobody uses.
pub fn clear(home: &Home, network: &Network) {
    if let Some(namespace) = holder::found_network(home) {
        let name = network.interface();
        let cleared = namespaces::in_network(&namespace, Links::here).and_then(|mut links| {
            links.find(&name)?.map_or(Ok(()), |(index, _)| links.take(vec![link::gone(index)]).map(drop))
        });
        if let Err(err) = cleared {
            tracing::warn!(network = %network.id, "cannot remove the bridge {name}: {err}");
        }
    }
}

/// Sets a parameter of the network namespace that this process is in.
pub fn sysctl(name: &str, value: &str) -> io::Result<()> {
    fs::write(format!("/proc/sys/{name}"), value)
}

/// A bridge's hardware address stays the same whatever ports it has.
fn mac_of_bridge(network: &Network) -> Mac {
    let gateway = network.pools.first().map(|pool| pool.gateway);
    gateway.map_or([2, 0x42, 0, 0, 0, 1], mac)
}

/// The hardware address that goes with an address, so that whoever has an address next has the same: nobody's memory of
/// it becomes wrong.
pub fn mac(address: IpAddr) -> Mac {
    let bytes = match address {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(address) => {
            let octets = address.octets();
            [octets[12] ^ octets[7], octets[13] ^ octets[6], octets[14], octets[15]]
        }
    };
    [2, 0x42, bytes[0], bytes[1], bytes[2], bytes[3]]
}
