//! Connecting containers to networks, and taking them out.

use super::{Network, forbidden};
use crate::engine::{Engine, Error, Result};
use crate::model::networking::EndpointSettings;
use crate::network;
use crate::state::container::ContainerRecord;
use crate::state::lock::Lock;
use crate::state::store;

const SHARED: &str =
    "container sharing network namespace with another container or host cannot be connected to any other network";

impl Engine {
    /// Connects a container to a network.
    ///
    /// # Errors
    /// Not found; what cannot be connected; not implemented if it runs.
    pub fn connect(&self, network: &str, container: &str, settings: EndpointSettings) -> Result<()> {
        let network = self.network(network)?;
        if network.driver != "bridge" {
            return Err(Error::InvalidParameter(
                "cannot connect container to host network - container must be created in host network mode".to_owned(),
            ));
        }
        self.change_connections(container, |record| {
            if !network::is_network(&record.host_config.network_mode) {
                return Err(Error::InvalidParameter(SHARED.to_owned()));
            }
            whole_endpoints(self, record)?;
            if record.endpoints.contains_key(&network.name) {
                let text = format!("endpoint with name {} already exists in network {}", record.name, network.name);
                return Err(forbidden(text));
            }
            check_addresses(&network, &settings)?;
            let settings = EndpointSettings { network_id: network.id, ..settings };
            record.endpoints.insert(network.name, settings);
            Ok(())
        })
    }

    /// Takes a container out of a network.
    ///
    /// # Errors
    /// Not found; it is not in it; not implemented if it runs.
    pub fn disconnect(&self, network: &str, container: &str) -> Result<()> {
        let network = self.network(network)?;
        self.change_connections(container, |record| {
            whole_endpoints(self, record)?;
            match record.endpoints.remove(&network.name) {
                Some(_) => Ok(()),
                None => Err(Error::System(format!(
                    "container {} is not connected to the network {}",
                    record.id, network.name
                ))),
            }
        })
    }

    /// Changes the connections of a container that does not run.
    fn change_connections(&self, name: &str, change: impl FnOnce(&mut ContainerRecord) -> Result<()>) -> Result<()> {
        let id = self.find(name)?;
        let _lock = Lock::exclusive(&self.home.container(&id).verb_lock()).map_err(Error::vanished(name))?;
        let view = self.view(&id).map_err(Error::vanished(name))?;
        let mut record = (*view.record).clone();
        change(&mut record)?;
        if view.state.is_running() {
            return Err(Error::NotImplemented(
                "connecting a container that runs, or taking it out of a network, is not supported yet: stop it before"
                    .to_owned(),
            ));
        }
        Ok(store::save(&self.home, &record)?)
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
    let ipam = settings.ipam_config.clone().unwrap_or_default();
    for text in [&ipam.ipv4_address, &ipam.ipv6_address] {
        let Ok(address) = text.parse() else { continue };
        let pool = network.pools.iter().find(|pool| pool.subnet.contains(address));
        let fault = match pool {
            _ if network.pools.iter().all(|pool| !pool.given) => {
                "user specified IP address is supported only when connecting to networks with user configured subnets"
                    .to_owned()
            }
            None => format!("no configured subnet or ip-range contain the IP address {address}"),
            Some(_) => continue,
        };
        return Err(Error::InvalidParameter(format!(
            "invalid config for network {}: invalid endpoint settings:\n{fault}",
            network.name
        )));
    }
    Ok(())
}
