//! What a container's resolver knows itself: names and addresses of its networks, and of its host.

use std::fs;
use std::net::IpAddr;

use super::message::{A, AAAA, Question, Record};
use super::published;
use crate::model::ids::{SHORT_LEN, is_full_id};
use crate::model::networking::Endpoint;
use crate::network::record::BRIDGE_ID;
use crate::network::{lease, way_out};
use crate::state::claim::Claim;
use crate::state::lock::Lock;
use crate::state::paths::Home;

/// Names by which programs reach the host, as Docker's desktop edition has them.
const HOST_NAMES: [&str; 2] = ["host.docker.internal", "gateway.docker.internal"];

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// Where all state is.
    pub home: &'a Home,
    /// The container.
    pub id: &'a str,
    /// Its connections.
    pub endpoints: &'a [Endpoint],
    /// Further names of its host.
    pub hosts: &'a [String],
}

impl Asker<'_> {
    /// What is known of what a question asks; none: nothing, others may know. A name that exists has no records of types
    /// that it does not have: that is known, too.
    pub fn resolve(&self, question: &Question) -> Option<Vec<Record>> {
        let name = question.name.as_deref().filter(|_| question.internet)?;
        if let Some(address) = question.reverse() {
            return self.name_of(address).map(|name| vec![Record::Name(name)]);
        }
        let mut addresses = self.addresses(name)?;
        addresses.retain(|address| question.kind == if address.is_ipv6() { AAAA } else { A });
        shuffle(&mut addresses);
        Some(addresses.into_iter().map(Record::Address).collect())
    }

    /// The addresses of a name: itself, in every network, then without its last labels in the network that they name.
    fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        if HOST_NAMES.contains(&name) || self.hosts.iter().any(|host| host.eq_ignore_ascii_case(name)) {
            return self.leads_out().then(|| vec![way_out::HOST.into()]);
        }
        let dots = name.rmatch_indices('.').map(|(at, _)| (&name[..at], Some(&name[at + 1..])));
        [(name, None)].into_iter().chain(dots).find_map(|(name, network)| {
            let fits =
                |endpoint: &&Endpoint| network.is_none_or(|network| endpoint.network.eq_ignore_ascii_case(network));
            self.endpoints.iter().filter(fits).find_map(|endpoint| self.addresses_in(endpoint, name))
        })
    }

    fn addresses_in(&self, endpoint: &Endpoint, name: &str) -> Option<Vec<IpAddr>> {
        let network = lease::dir(self.home, &endpoint.network_id);
        let find = |name: &str| published::find(&network, name, |owner| self.lives(owner));
        let linked = |target: &str| find(if is_full_id(target) { &target[..SHORT_LEN] } else { target });
        let link = endpoint.links.iter().find(|link| link.alias.eq_ignore_ascii_case(name));
        let mut found = match link {
            Some(link) => linked(&link.container),
            None => find(name),
        };
        // There, containers know themselves only, and those that they are linked to.
        if link.is_none() && endpoint.network_id == BRIDGE_ID {
            let mut known: Vec<String> = Vec::new();
            if found.iter().any(|(_, owner)| owner != self.id) {
                known.extend(endpoint.links.iter().flat_map(|link| linked(&link.container)).map(|(_, owner)| owner));
            }
            found.retain(|(_, owner)| owner == self.id || known.contains(owner));
        }
        (!found.is_empty()).then(|| found.into_iter().map(|(address, _)| address).collect())
    }

    /// The first name of the container that has an address, with that of the network in which it has it.
    fn name_of(&self, address: IpAddr) -> Option<String> {
        self.endpoints.iter().find_map(|endpoint| {
            let network = lease::dir(self.home, &endpoint.network_id);
            let owner = fs::read_link(network.join(address.to_string())).ok()?;
            let owner = owner.to_str().filter(|owner| self.lives(owner))?;
            if endpoint.network_id == BRIDGE_ID && owner != self.id {
                return None;
            }
            let name = published::read_list(&network, address).into_iter().next()?;
            Some(format!("{name}.{}", endpoint.network))
        })
    }

    /// Whether what it does not know may be asked of servers of the host: not from networks that lead nowhere.
    pub fn leads_out(&self) -> bool {
        let placed = self.endpoints.iter().flat_map(|endpoint| [endpoint.v4, endpoint.v6]).flatten();
        placed.filter_map(|placed| placed.gateway).next().is_some()
    }

    /// Whether a container's monitor lives, not only somebody who has its lock for a moment.
    fn lives(&self, id: &str) -> bool {
        let paths = self.home.container(id);
        id == self.id
            || is_full_id(id)
                && Lock::is_held(&paths.monitor_lock()).unwrap_or(false)
                && Claim::read(&paths).is_supervised()
    }
}

/// Puts equal ones in an order of chance, so that not all go to the same.
fn shuffle(addresses: &mut [IpAddr]) {
    if addresses.len() > 1 {
        let mut seed = [0; 8];
        let _ = rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty());
        let mut random = u64::from_ne_bytes(seed) | 1;
        for end in (1..addresses.len()).rev() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            addresses.swap(end, usize::try_from((random >> 33) % (end as u64 + 1)).unwrap_or_default());
        }
    }
}
