//! A container's networks as inspections and lists tell them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::engine::containers::View;
use crate::engine::networks::{BRIDGE_ID, HOST_ID, NONE_ID, is_predefined};
use crate::model::host_config::{PortBinding, PortMap};
use crate::model::networking::{EndpointSettings, Placed};

/// A container's networks.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkSettings {
    /// Always empty.
    pub bridge: String,
    /// Always empty: its network namespace is its process's.
    #[serde(rename = "SandboxID")]
    pub sandbox_id: String,
    /// Path of its network namespace; empty if it does not run.
    pub sandbox_key: String,
    /// Published ports.
    pub ports: PortMap,
    /// Connections, by network.
    pub networks: BTreeMap<String, EndpointSettings>,
    /// Before API 1.52: the addresses in the default network.
    #[serde(flatten)]
    pub flat: Option<FlatAddresses>,
}

/// The addresses in the default network, as `NetworkSettings` told them before there were several.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct FlatAddresses {
    /// Always false.
    pub hairpin_mode: bool,
    /// Always empty.
    #[serde(rename = "LinkLocalIPv6Address")]
    pub link_local_ipv6_address: String,
    /// Always 0.
    #[serde(rename = "LinkLocalIPv6PrefixLen")]
    pub link_local_ipv6_prefix_len: i64,
    /// Always null.
    #[serde(rename = "SecondaryIPAddresses")]
    pub secondary_ip_addresses: Option<Vec<String>>,
    /// Always null.
    #[serde(rename = "SecondaryIPv6Addresses")]
    pub secondary_ipv6_addresses: Option<Vec<String>>,
    /// The connection's id.
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    /// IPv4 gateway.
    pub gateway: String,
    /// IPv6 address.
    #[serde(rename = "GlobalIPv6Address")]
    pub global_ipv6_address: String,
    /// IPv6 prefix length in bits.
    #[serde(rename = "GlobalIPv6PrefixLen")]
    pub global_ipv6_prefix_len: i64,
    /// IPv4 address.
    #[serde(rename = "IPAddress")]
    pub ip_address: String,
    /// IPv4 prefix length in bits.
    #[serde(rename = "IPPrefixLen")]
    pub ip_prefix_len: i64,
    /// IPv6 gateway.
    #[serde(rename = "IPv6Gateway")]
    pub ipv6_gateway: String,
    /// Hardware address.
    pub mac_address: String,
}

impl From<&EndpointSettings> for FlatAddresses {
    fn from(endpoint: &EndpointSettings) -> Self {
        let endpoint = endpoint.clone();
        Self {
            endpoint_id: endpoint.endpoint_id,
            gateway: endpoint.gateway,
            global_ipv6_address: endpoint.global_ipv6_address,
            global_ipv6_prefix_len: endpoint.global_ipv6_prefix_len,
            ip_address: endpoint.ip_address,
            ip_prefix_len: endpoint.ip_prefix_len,
            ipv6_gateway: endpoint.ipv6_gateway,
            mac_address: endpoint.mac_address,
            ..Self::default()
        }
    }
}

impl NetworkSettings {
    /// Of a container's records.
    pub fn of(view: &View) -> Self {
        let networks = networks_of(view);
        let sandbox_key = match view.state.pid {
            0 => String::new(),
            pid => format!("/proc/{pid}/ns/net"),
        };
        let flat = Some(networks.get("bridge").map(FlatAddresses::from).unwrap_or_default());
        Self { sandbox_key, ports: ports_of(view), networks, flat, ..Self::default() }
    }
}

/// A container's ports: each with where on the host it is reached, null for one that is exposed only.
fn ports_of(view: &View) -> PortMap {
    let shown = view.ports().into_iter().map(|((port, protocol), bound)| {
        let bindings = bound
            .iter()
            .map(|bound| PortBinding { host_ip: bound.address.to_string(), host_port: bound.host_port.to_string() });
        let bindings: Vec<PortBinding> = bindings.collect();
        (format!("{port}/{}", protocol.as_str()), (!bindings.is_empty()).then_some(bindings))
    });
    shown.collect()
}

/// A container's connections: what it asked for and, if it runs, what it has.
fn networks_of(view: &View) -> BTreeMap<String, EndpointSettings> {
    let mode = &view.record.host_config.network_mode;
    let mut networks = view.record.endpoints.clone();
    networks.retain(|name, _| name != "default");
    if networks.is_empty() && matches!(mode.as_str(), "host" | "none") {
        networks.insert(mode.clone(), EndpointSettings::default());
    }
    for (name, id) in PREDEFINED {
        if let Some(settings) = networks.get_mut(name) {
            id.clone_into(&mut settings.network_id);
        }
    }
    for endpoint in &view.state.endpoints {
        let settings = networks.entry(endpoint.network.clone()).or_default();
        settings.network_id.clone_from(&endpoint.network_id);
        settings.endpoint_id.clone_from(&endpoint.id);
        settings.mac_address.clone_from(&endpoint.mac);
        let gateway = |placed: Placed| placed.gateway.map_or_else(String::new, |gateway| gateway.to_string());
        if let Some(placed) = endpoint.v4 {
            settings.ip_address = placed.address.to_string();
            settings.ip_prefix_len = placed.prefix.into();
            settings.gateway = gateway(placed);
        }
        if let Some(placed) = endpoint.v6 {
            settings.global_ipv6_address = placed.address.to_string();
            settings.global_ipv6_prefix_len = placed.prefix.into();
            settings.ipv6_gateway = gateway(placed);
        }
    }
    let record = &view.record;
    for (_, settings) in networks.iter_mut().filter(|(name, _)| !is_predefined(name)) {
        settings.dns_names = Some(record.dns_names(settings));
    }
    if view.state.started_at == 0 {
        // As dockerd has it: a container is connected by its first start.
        for settings in networks.values_mut() {
            settings.network_id.clear();
            settings.dns_names = None;
        }
    }
    networks
}

/// The networks that every user has, by name, with their ids.
const PREDEFINED: [(&str, &str); 3] = [("bridge", BRIDGE_ID), ("host", HOST_ID), ("none", NONE_ID)];

/// What a list tells of networks.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct SummaryNetworks {
    /// Connections, by network.
    pub networks: BTreeMap<String, EndpointSettings>,
}
