//! Networks on the wire.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::engine::containers::View;
use crate::engine::networks::{self, NewNetwork, NewPool, Pool};
use crate::model::config::or_default;
use crate::model::networking::{EndpointSettings, Placed};
use crate::model::time::{Nanos, rfc3339};

/// A network.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Network {
    /// Its name.
    pub name: String,
    /// 64 hexadecimal digits.
    pub id: String,
    /// When it was created, RFC 3339.
    pub created: String,
    /// Always `local`.
    pub scope: String,
    /// `bridge`, `host`, `null`.
    pub driver: String,
    /// Whether its containers get IPv4 addresses.
    #[serde(rename = "EnableIPv4")]
    pub enable_ipv4: bool,
    /// Whether its containers get IPv6 addresses.
    #[serde(rename = "EnableIPv6")]
    pub enable_ipv6: bool,
    /// Where its addresses come from.
    #[serde(rename = "IPAM")]
    pub ipam: Ipam,
    /// Whether it leads nowhere else.
    pub internal: bool,
    /// Of a swarm's networks.
    pub attachable: bool,
    /// Of a swarm's networks.
    pub ingress: bool,
    /// The network that its configuration is of.
    pub config_from: ConfigFrom,
    /// Whether it is a configuration only.
    pub config_only: bool,
    /// Its running containers, by id; only in an inspection.
    pub containers: BTreeMap<String, NetworkContainer>,
    /// Options of its driver.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// Where a network's addresses come from.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct Ipam {
    /// `default`.
    #[serde(deserialize_with = "or_default")]
    pub driver: String,
    /// Its options; recorded.
    pub options: Option<BTreeMap<String, String>>,
    /// Its subnets.
    pub config: Option<Vec<IpamConfig>>,
}

/// A subnet of a network.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct IpamConfig {
    /// The subnet, as `10.0.0.0/8`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub subnet: String,
    /// The part of it out of which addresses are chosen.
    #[serde(rename = "IPRange", deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub ip_range: String,
    /// The bridge's address.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub gateway: String,
    /// Addresses that others have, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auxiliary_addresses: Option<BTreeMap<String, String>>,
}

impl From<&Pool> for IpamConfig {
    fn from(pool: &Pool) -> Self {
        let auxiliary: BTreeMap<String, String> =
            pool.auxiliary.iter().map(|(name, address)| (name.clone(), address.to_string())).collect();
        Self {
            subnet: pool.subnet.to_string(),
            ip_range: pool.range.map(|range| range.to_string()).unwrap_or_default(),
            gateway: pool.gateway.to_string(),
            auxiliary_addresses: (!auxiliary.is_empty()).then_some(auxiliary),
        }
    }
}

/// The network that a network's configuration is of.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct ConfigFrom {
    /// Empty: there are none.
    #[serde(deserialize_with = "or_default")]
    pub network: String,
}

/// A container in a network.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkContainer {
    /// Its name.
    pub name: String,
    /// The connection's id.
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    /// Hardware address.
    pub mac_address: String,
    /// IPv4 address and prefix length.
    #[serde(rename = "IPv4Address")]
    pub ipv4_address: String,
    /// IPv6 address and prefix length.
    #[serde(rename = "IPv6Address")]
    pub ipv6_address: String,
}

impl Network {
    /// Of a network and those of its containers that are to be told. `since` is when those came to be that were never
    /// created.
    pub fn of(network: &networks::Network, since: Nanos, views: &[View]) -> Self {
        let created = if network.created == 0 { since } else { network.created };
        let pools: Vec<IpamConfig> = network.pools.iter().map(IpamConfig::from).collect();
        Self {
            name: network.name.clone(),
            id: network.id.clone(),
            created: rfc3339(created),
            scope: "local".to_owned(),
            driver: network.driver.clone(),
            enable_ipv4: network.ipv4,
            enable_ipv6: network.ipv6,
            ipam: Ipam {
                driver: "default".to_owned(),
                options: network.ipam_options.clone(),
                config: (!pools.is_empty()).then_some(pools),
            },
            internal: network.internal,
            attachable: network.attachable,
            ingress: false,
            config_from: ConfigFrom::default(),
            config_only: false,
            containers: views.iter().map(|view| (view.record.id.clone(), container(view, network))).collect(),
            options: network.options.clone(),
            labels: network.labels.clone(),
        }
    }
}

fn container(view: &View, network: &networks::Network) -> NetworkContainer {
    let name = view.record.name.clone();
    let endpoint = view.state.endpoints.iter().find(|endpoint| endpoint.network_id == network.id);
    let Some(endpoint) = endpoint else { return NetworkContainer { name, ..NetworkContainer::default() } };
    let text = |placed: Option<Placed>| {
        placed.map_or_else(String::new, |placed| format!("{}/{}", placed.address, placed.prefix))
    };
    NetworkContainer {
        name,
        endpoint_id: endpoint.id.clone(),
        mac_address: endpoint.mac.clone(),
        ipv4_address: text(endpoint.v4),
        ipv6_address: text(endpoint.v6),
    }
}

/// Body of `POST /networks/create`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct CreateNetwork {
    /// Its name.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// `bridge`.
    #[serde(deserialize_with = "or_default")]
    pub driver: String,
    /// `local`.
    #[serde(deserialize_with = "or_default")]
    pub scope: String,
    /// Whether containers get IPv4 addresses; from API 1.48 on.
    #[serde(rename = "EnableIPv4")]
    pub enable_ipv4: Option<bool>,
    /// Whether containers get IPv6 addresses.
    #[serde(rename = "EnableIPv6")]
    pub enable_ipv6: Option<bool>,
    /// Where its addresses come from.
    #[serde(rename = "IPAM")]
    pub ipam: Option<Ipam>,
    /// Whether it leads nowhere else.
    #[serde(deserialize_with = "or_default")]
    pub internal: bool,
    /// Of a swarm's networks; recorded.
    #[serde(deserialize_with = "or_default")]
    pub attachable: bool,
    /// Of a swarm's networks.
    #[serde(deserialize_with = "or_default")]
    pub ingress: bool,
    /// Whether it is a configuration only.
    #[serde(deserialize_with = "or_default")]
    pub config_only: bool,
    /// The network whose configuration it has.
    pub config_from: Option<ConfigFrom>,
    /// Options of its driver.
    pub options: Option<BTreeMap<String, String>>,
    /// Labels.
    pub labels: Option<BTreeMap<String, String>>,
}

impl From<CreateNetwork> for NewNetwork {
    fn from(body: CreateNetwork) -> Self {
        let ipam = body.ipam.unwrap_or_default();
        let pool = |config: IpamConfig| NewPool {
            subnet: config.subnet,
            range: config.ip_range,
            gateway: config.gateway,
            auxiliary: config.auxiliary_addresses.unwrap_or_default(),
        };
        Self {
            name: body.name,
            driver: body.driver,
            ipv4: body.enable_ipv4,
            ipv6: body.enable_ipv6,
            internal: body.internal,
            attachable: body.attachable,
            options: body.options.unwrap_or_default(),
            labels: body.labels.unwrap_or_default(),
            ipam_driver: ipam.driver,
            ipam_options: ipam.options,
            pools: ipam.config.unwrap_or_default().into_iter().map(pool).collect(),
        }
    }
}

/// Answer of `POST /networks/create`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct CreatedNetwork {
    /// The network's id.
    pub id: String,
    /// What was asked for and will not be done.
    pub warning: String,
}

/// Body of `POST /networks/{id}/connect`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct Connect {
    /// The container's name or id.
    #[serde(deserialize_with = "or_default")]
    pub container: String,
    /// How.
    pub endpoint_config: Option<EndpointSettings>,
}

/// Body of `POST /networks/{id}/disconnect`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct Disconnect {
    /// The container's name or id.
    #[serde(deserialize_with = "or_default")]
    pub container: String,
    /// Also where the network is gone.
    #[serde(deserialize_with = "or_default")]
    pub force: bool,
}

/// Answer of `POST /networks/prune`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct PrunedNetworks {
    /// Names of what was removed; null if nothing was.
    pub networks_deleted: Option<Vec<String>>,
}

/// Answer of `GET /volumes`.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct VolumeList {
    /// Volumes: there are none.
    pub volumes: Vec<BTreeMap<String, String>>,
    /// Always null.
    pub warnings: Option<Vec<String>>,
}
