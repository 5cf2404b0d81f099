//! Connecting containers to networks, and taking them out.

use super::{Network, forbidden};
use crate::engine::containers::check_endpoint;
use crate::engine::{Engine, Error, Result};
use crate::model::networking::EndpointSettings;
use crate::monitor::client;
use crate::monitor::protocol::Failure;
use crate::network;
use crate::state::container::{ContainerRecord, Status};
use crate::state::lock::Lock;
use crate::state::store;

const SHARED: &str =
    "container sharing network namespace with another container or host cannot be connected to any other network";
const HOST: &str = "cannot connect container to host network - container must be created in host network mode";
const HOST_STAYS: &str = "cannot disconnect container from host network - container was created in host network mode";
const NONE_STAYS: &str = "a container without a network cannot be taken out of the network none: create it anew";
const PRIVATE: &str =
    "container cannot be connected to multiple networks with one of the networks in private (none) mode";

impl Engine {
    /// Connects a container to a network, whether it runs or not.
    ///
    /// # Errors
    /// Not found; what cannot be connected; forbidden: it is connected already, or an address is taken.
    pub fn connect(&self, network: &str, container: &str, settings: EndpointSettings) -> Result<()> {
        let refuse = |text: &str| Err(Error::InvalidParameter(text.to_owned()));
        self.change_connections(container, |record, running| {
            let mode = record.host_config.network_mode.as_str();
            if mode.starts_with("container:") {
                return refuse(SHARED);
            }
            let network = self.network(network)?;
            match (mode, network.driver.as_str()) {
                ("host", "host") | ("none", "null") => return Ok(()),
                (_, "host") => return refuse(HOST),
                ("host", _) => return refuse(SHARED),
                ("none", _) | (_, "null") => return refuse(PRIVATE),
                _ => {}
            }
            if record.endpoints.contains_key(&network.name) {
                let text = format!("endpoint with name {} already exists in network {}", record.name, network.name);
                return Err(forbidden(text));
            }
            check_endpoint(&network.name, &settings)?;
            if let Some(fault) = address_fault(&network, &settings) {
                return Err(Error::InvalidParameter(format!("invalid endpoint settings:\n{fault}")));
            }
            let settings = EndpointSettings { network_id: network.id, ..settings };
            if let Some(monitor) = running {
                monitor.connect(&settings.network_id, &settings)?;
            }
            let id = settings.network_id.clone();
            record.endpoints.insert(network.name, settings);
            store::save(&self.home, record).inspect_err(|_| {
                // It would be forgotten with the container's next end.
                let _ = running.map(|monitor| monitor.disconnect(&id));
            })?;
            Ok(())
        })
    }

    /// Takes a container out of a network, whether it runs or not. With `force` also out of one that is no more.
    ///
    /// # Errors
    /// Not found; it is not in it.
    pub fn disconnect(&self, network: &str, container: &str, force: bool) -> Result<()> {
        let found = self.network(network);
        self.change_connections(container, |record, running| {
            let network = match found {
                Ok(network) => Ok(network),
                // What is left of one that was removed.
                Err(_) if force => Err(network),
                Err(err) => return Err(err),
            };
            let name = network.as_ref().map_or_else(|name| *name, |network| network.name.as_str());
            let mode = record.host_config.network_mode.as_str();
            let own = mode == name && matches!(mode, "host" | "none");
            let connected = record.endpoints.contains_key(name);
            match (&network, running) {
                _ if own && mode == "host" => return Err(Error::InvalidParameter(HOST_STAYS.to_owned())),
                _ if own => return Err(Error::NotImplemented(NONE_STAYS.to_owned())),
                (Ok(network), Some(monitor)) => match monitor.disconnect(&network.id) {
                    // As the record has it, whatever the monitor knows of it.
                    Err(client::Error::Failed { failure: Failure::NotFound, .. }) if connected => {}
                    Err(client::Error::Failed { failure: Failure::NotFound, .. }) => {
                        let text = format!("container {} is not connected to network {name}", record.id);
                        return Err(Error::System(text));
                    }
                    other => other?,
                },
                _ if !connected => {
                    let text = format!("container {} is not connected to the network {name}", record.id);
                    return Err(Error::System(text));
                }
                _ => {}
            }
            record.endpoints.remove(name);
            Ok(store::save(&self.home, record)?)
        })
    }

    /// Changes the connections of a container, by its monitor if it runs.
    fn change_connections(
        &self,
        name: &str,
        change: impl FnOnce(&mut ContainerRecord, Option<&client::Connection>) -> Result<()>,
    ) -> Result<()> {
        let id = self.find(name)?;
        let _lock = Lock::exclusive(&self.home.container(&id).verb_lock()).map_err(Error::vanished(name))?;
        let view = self.view(&id).map_err(Error::vanished(name))?;
        if view.state.status == Status::Dead {
            let text =
                format!("Container {id} is marked for removal and cannot be connected or disconnected to the network");
            return Err(Error::System(text));
        }
        let monitor = match view.state.is_running() {
            true => client::connect(&self.home, &id)?.filter(client::Connection::is_running),
            false => None,
        };
        let mut record = (*view.record).clone();
        change(&mut record, monitor.as_ref())
    }

    /// The connections of a container to be made, by the names of networks that are there.
    ///
    /// # Errors
    /// A network is not there, or has no such address.
    pub(in crate::engine) fn resolve_networks(&self, record: &mut ContainerRecord) -> Result<()> {
        let mode = record.host_config.network_mode.clone();
        if !network::is_network(&mode) {
            let others = record.endpoints.keys().any(|name| *name != mode && name != "default");
            return match others {
                true => Err(Error::InvalidParameter(SHARED.to_owned())),
                false => Ok(()),
            };
        }
        whole_endpoints(self, record)
    }
}

/// Every connection under the name of its network, with that one's id; that of the network mode is among them.
fn whole_endpoints(engine: &Engine, record: &mut ContainerRecord) -> Result<()> {
    let mut asked = std::mem::take(&mut record.endpoints);
    let mode = record.host_config.network_mode.clone();
    let first = asked.remove("default").filter(|_| !asked.contains_key(&mode));
    let by_mode = engine.network(&mode)?;
    if let Some(first) = first {
        asked.insert(mode.clone(), first);
    }
    for (name, settings) in asked {
        let network = if settings.network_id.is_empty() {
            engine.network(&name)?
        } else {
            engine.network(&settings.network_id)?
        };
        check_addresses(&network, &settings)?;
        record.endpoints.insert(network.name.clone(), EndpointSettings { network_id: network.id, ..settings });
    }
    record
        .endpoints
        .entry(by_mode.name)
        .or_insert_with(|| EndpointSettings { network_id: by_mode.id, ..Default::default() });
    Ok(())
}

/// Addresses that are asked for are the network's to give.
fn check_addresses(network: &Network, settings: &EndpointSettings) -> Result<()> {
    match address_fault(network, settings) {
        None => Ok(()),
        Some(fault) => Err(Error::InvalidParameter(format!(
            "invalid config for network {}: invalid endpoint settings:\n{fault}",
            network.name
        ))),
    }
}

fn address_fault(network: &Network, settings: &EndpointSettings) -> Option<String> {
    let ipam = settings.ipam_config.clone().unwrap_or_default();
    [&ipam.ipv4_address, &ipam.ipv6_address].into_iter().find_map(|text| {
        let address = text.parse().ok()?;
        if network.pools.iter().all(|pool| !pool.given) {
            let text =
                "user specified IP address is supported only when connecting to networks with user configured subnets";
            return Some(text.to_owned());
        }
        let inside = network.pools.iter().any(|pool| pool.subnet.contains(address));
        (!inside).then(|| format!("no configured subnet or ip-range contain the IP address {address}"))
    })
}
