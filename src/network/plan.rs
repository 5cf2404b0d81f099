//! Which networks a container joins, with which addresses: chosen before anything of the kernel's is made.

use std::cmp::Reverse;
use std::net::IpAddr;

use super::asked::Asked;
use super::error::{Error, Result};
use super::names::published;
use super::record::Network;
use super::{hub, lease, store};
use crate::model::ids::random_id;
use crate::model::links::{self, Link};
use crate::model::networking::{Endpoint, EndpointSettings, Placed};
use crate::state::container::ContainerRecord;
use crate::state::paths::Home;

/// A container's connections to be: their addresses are taken.
#[derive(Debug)]
pub struct Plan {
    /// In the order of their interfaces, each with its network.
    pub(super) connections: Vec<(Network, Endpoint)>,
    /// What is asked for beside their addresses.
    pub(super) asked: Vec<Asked>,
}

impl Plan {
    /// The connections as they will be.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        self.connections.iter().map(|(_, endpoint)| endpoint.clone()).collect()
    }

    /// The place of the connection whose gateway leads out, by version of IP.
    pub(super) fn leading(&self, ipv6: bool) -> Option<usize> {
        let leading = leading(self.connections.iter().map(|(_, endpoint)| endpoint), ipv6)?;
        self.connections.iter().position(|(_, endpoint)| endpoint.id == leading.id)
    }
}

/// Whether a network mode means a network: neither the host's, nor none, nor another container's.
pub fn is_network(mode: &str) -> bool {
    !matches!(mode, "none" | "host") && !mode.starts_with("container:")
}

/// Takes the addresses that a container needs; none for one that joins no network.
///
/// # Errors
/// A network is not there any more; an address is taken, or none is left. Then nothing is taken.
pub fn plan(home: &Home, record: &ContainerRecord) -> Result<Option<Plan>> {
    if !is_network(&record.host_config.network_mode) {
        return Ok(None);
    }
    let wanted = connections_of(record);
    let asked = wanted.iter().map(|(_, settings)| Asked::of(settings)).collect::<Result<Vec<_>>>()?;
    let is_free = |name: &String| !asked.iter().any(|asked| asked.name.as_ref() == Some(name));
    let mut names = (0..).map(|n| format!("eth{n}")).filter(is_free);
    let mut connections = Vec::new();
    for ((name, settings), own) in wanted.iter().zip(&asked) {
        let interface = own.name.clone().or_else(|| names.next()).unwrap_or_default();
        let made = store::find(home, id_or_name(name, settings)).and_then(|network| {
            let endpoint = endpoint(home, &network, record, (settings, own), interface, random_id())?;
            Ok((network, endpoint))
        });
        match made {
            Ok(made) => connections.push(made),
            Err(err) => {
                let taken: Vec<Endpoint> = connections.into_iter().map(|(_, endpoint)| endpoint).collect();
                release(home, &record.id, &taken);
                return Err(err);
            }
        }
    }
    Ok(Some(Plan { connections, asked }))
}

/// By which a record tells a network: the id of one that was there when it was connected.
fn id_or_name<'a>(name: &'a str, settings: &'a EndpointSettings) -> &'a str {
    if settings.network_id.is_empty() { name } else { &settings.network_id }
}

/// The connections that a record asks for, the one of its network mode first. None: it was taken out of all networks.
fn connections_of(record: &ContainerRecord) -> Vec<(String, EndpointSettings)> {
    let mode = record.host_config.network_mode.as_str();
    let asked = record.endpoints.iter().map(|(name, settings)| (name.clone(), settings.clone()));
    let mut asked: Vec<(String, EndpointSettings)> = asked.collect();
    asked.sort_by_key(|(name, settings)| !(name == mode || settings.network_id == mode));
    asked
}

/// A connection of this id with its addresses taken, and named.
pub(super) fn endpoint(
    home: &Home,
    network: &Network,
    record: &ContainerRecord,
    (asked, more): (&EndpointSettings, &Asked),
    interface: String,
    id: String,
) -> Result<Endpoint> {
    let owner = record.id.as_str();
    let ipam = asked.ipam_config.clone().unwrap_or_default();
    let mut made = Endpoint {
        network: network.name.clone(),
        network_id: network.id.clone(),
        id,
        interface,
        mac: String::new(),
        gw_priority: asked.gw_priority,
        v4: None,
        v6: None,
        links: links(record, network, asked),
    };
    let _lock = lease::lock(home, &network.id)?;
    // Its removal takes the same lock.
    if !store::is_there(home, &network.id) {
        return Err(Error::NotFound(network.name.clone()));
    }
    let wanted = |text: &str| text.parse::<IpAddr>().ok();
    let v4 = network.ipv4.then(|| place(home, network, owner, false, wanted(&ipam.ipv4_address))).transpose()?;
    made.v4 = v4;
    let v6 = (network.ipv6 && !more.is_without_ipv6())
        .then(|| place(home, network, owner, true, wanted(&ipam.ipv6_address)))
        .transpose();
    made.v6 = match v6 {
        Err(err) => {
            release(home, owner, &[made]);
            return Err(err);
        }
        Ok(v6) => v6,
    };
    made.mac = match asked.mac_address.as_str() {
        "" => mac_text(made.v4.or(made.v6).map_or([2, 0x42, 0, 0, 0, 2], |placed| hub::mac(placed.address))),
        asked => asked.to_owned(),
    };
    match publish(home, record, asked, &made) {
        Err(err) => {
            release(home, owner, &[made]);
            Err(err)
        }
        Ok(()) => Ok(made),
    }
}

/// Whom a connection is linked to. Links that are asked for with no network are those of the network mode.
fn links(record: &ContainerRecord, network: &Network, asked: &EndpointSettings) -> Vec<Link> {
    let mode = record.host_config.network_mode.as_str();
    let own = record.host_config.links.as_ref().filter(|_| [&network.name, &network.id].iter().any(|of| *of == mode));
    let all = asked.links.iter().chain(own).flatten();
    all.filter_map(|text| links::parse(text).ok()).collect()
}

/// Gives the addresses of a connection their names. The caller holds the network's lock.
fn publish(home: &Home, record: &ContainerRecord, asked: &EndpointSettings, endpoint: &Endpoint) -> Result<()> {
    let names = record.dns_names(asked);
    for placed in [endpoint.v4, endpoint.v6].into_iter().flatten() {
        published::publish(&lease::dir(home, &endpoint.network_id), placed.address, &record.id, &names)?;
    }
    Ok(())
}

/// A container that has these connections has got another name: it is found by that, and not by the one before.
///
/// # Errors
/// Those of the file system.
pub fn rename(home: &Home, record: &ContainerRecord, endpoints: &[Endpoint]) -> Result<()> {
    let nothing = EndpointSettings::default();
    for endpoint in endpoints {
        let _lock = lease::lock(home, &endpoint.network_id)?;
        let placed = [endpoint.v4, endpoint.v6].into_iter().flatten();
        // Else it has just ended, and what it had is another one's.
        if placed.clone().all(|placed| lease::is_of(home, &endpoint.network_id, placed.address, &record.id)) {
            let asked = record.endpoints.get(&endpoint.network).unwrap_or(&nothing);
            publish(home, record, asked, endpoint)?;
        }
    }
    Ok(())
}

/// Takes all names from these connections: nobody finds them any more.
pub fn withdraw(home: &Home, endpoints: &[Endpoint]) {
    for endpoint in endpoints {
        for placed in [endpoint.v4, endpoint.v6].into_iter().flatten() {
            published::withdraw(&lease::dir(home, &endpoint.network_id), placed.address);
        }
    }
}

fn place(home: &Home, network: &Network, owner: &str, ipv6: bool, wanted: Option<IpAddr>) -> Result<Placed> {
    let (address, subnet) = lease::take(home, network, owner, ipv6, wanted)?;
    let pool = network.pools_of(ipv6).find(|pool| pool.subnet == subnet);
    let gateway = pool.map(|pool| pool.gateway).filter(|_| !network.internal);
    Ok(Placed { address, prefix: subnet.prefix(), gateway })
}

/// Gives a container's addresses back, with their names.
pub fn release(home: &Home, owner: &str, endpoints: &[Endpoint]) {
    for endpoint in endpoints {
        for placed in [endpoint.v4, endpoint.v6].into_iter().flatten() {
            lease::give_back(home, &endpoint.network_id, placed.address, owner);
        }
    }
}

/// A hardware address as Docker writes it.
fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Reads a hardware address with colons, hyphens or points.
pub(super) fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let digits: String = text.chars().filter(|c| !matches!(c, ':' | '-' | '.')).collect();
    let bytes: Vec<u8> =
        (0..digits.len()).step_by(2).map_while(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()).collect();
    bytes.try_into().ok()
}

/// The connection whose gateway leads out, by version of IP: of those with the highest priority one that leads out by
/// both versions, and of those the first by name.
pub(super) fn leading<'a>(endpoints: impl IntoIterator<Item = &'a Endpoint>, ipv6: bool) -> Option<&'a Endpoint> {
    let leads = |endpoint: &Endpoint, ipv6| endpoint.placed(ipv6).is_some_and(|placed| placed.gateway.is_some());
    let lone = |endpoint: &Endpoint| leads(endpoint, false) != leads(endpoint, true);
    let leading = endpoints.into_iter().filter(|endpoint| leads(endpoint, ipv6));
    leading.min_by_key(|endpoint| (Reverse(endpoint.gw_priority), lone(endpoint), &endpoint.network))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses_are_read() {
        let mac = [2, 0x42, 0xac, 0x11, 0, 2];
        for text in ["02:42:ac:11:00:02", "02-42-AC-11-00-02", "0242.ac11.0002"] {
            assert_eq!(parse_mac(text), Some(mac), "{text}");
        }
        assert_eq!(mac_text(mac), "02:42:ac:11:00:02");
        for text in ["", "02:42:ac:11:00", "zz:42:ac:11:00:02", "é2:42:ac:11:00:02"] {
            assert_eq!(parse_mac(text), None, "{text}");
        }
    }

    #[test]
    fn the_mode_network_comes_first() {
        let mut record = ContainerRecord::default();
        assert!(connections_of(&record).is_empty());
        record.host_config.network_mode = "web".to_owned();
        for name in ["a", "web", "z"] {
            record.endpoints.insert(name.to_owned(), EndpointSettings::default());
        }
        let names: Vec<String> = connections_of(&record).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["web", "a", "z"]);
    }
}
