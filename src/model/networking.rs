//! How a container is connected to networks, as its creator asks and as it is reported.

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::config::or_default;
use super::links::Link;

/// The networks to connect a new container to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct NetworkingConfig {
    /// By network name or id.
    #[serde(deserialize_with = "or_default")]
    pub endpoints_config: BTreeMap<String, Option<EndpointSettings>>,
}

/// One connection to a network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct EndpointSettings {
    /// Addresses asked for.
    #[serde(rename = "IPAMConfig")]
    pub ipam_config: Option<EndpointIpam>,
    /// Legacy links.
    pub links: Option<Vec<String>>,
    /// Further names in this network.
    pub aliases: Option<Vec<String>>,
    /// Hardware address.
    #[serde(deserialize_with = "or_default")]
    pub mac_address: String,
    /// Options for the network's driver.
    pub driver_opts: Option<BTreeMap<String, String>>,
    /// Which network gives the default route: the highest.
    #[serde(deserialize_with = "or_default")]
    pub gw_priority: i64,
    /// The network's id.
    #[serde(rename = "NetworkID", deserialize_with = "or_default")]
    pub network_id: String,
    /// The connection's id.
    #[serde(rename = "EndpointID", deserialize_with = "or_default")]
    pub endpoint_id: String,
    /// IPv4 gateway.
    #[serde(deserialize_with = "or_default")]
    pub gateway: String,
    /// IPv4 address.
    #[serde(rename = "IPAddress", deserialize_with = "or_default")]
    pub ip_address: String,
    /// IPv4 prefix length in bits.
    #[serde(rename = "IPPrefixLen", deserialize_with = "or_default")]
    pub ip_prefix_len: i64,
    /// IPv6 gateway.
    #[serde(rename = "IPv6Gateway", deserialize_with = "or_default")]
    pub ipv6_gateway: String,
    /// IPv6 address.
    #[serde(rename = "GlobalIPv6Address", deserialize_with = "or_default")]
    pub global_ipv6_address: String,
    /// IPv6 prefix length in bits.
    #[serde(rename = "GlobalIPv6PrefixLen", deserialize_with = "or_default")]
    pub global_ipv6_prefix_len: i64,
    /// Every name that the network's resolver answers to.
    #[serde(rename = "DNSNames")]
    pub dns_names: Option<Vec<String>>,
}

/// Addresses that a connection asks for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct EndpointIpam {
    /// IPv4.
    #[serde(rename = "IPv4Address", deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub ipv4_address: String,
    /// IPv6.
    #[serde(rename = "IPv6Address", deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub ipv6_address: String,
    /// Link-local addresses.
    #[serde(rename = "LinkLocalIPs", skip_serializing_if = "Option::is_none")]
    pub link_local_ips: Option<Vec<String>>,
}

/// A connection that a running container has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The network's name.
    pub network: String,
    /// The network's id.
    pub network_id: String,
    /// The connection's own id.
    pub id: String,
    /// The interface in the container.
    pub interface: String,
    /// Its hardware address.
    pub mac: String,
    /// How it stands to others in giving the default route: the highest does.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gw_priority: i64,
    /// Its IPv4 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v4: Option<Placed>,
    /// Its IPv6 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v6: Option<Placed>,
    /// Others in the network, under names of this one's choosing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
}

impl Endpoint {
    /// Its address of one version of IP.
    pub fn placed(&self, ipv6: bool) -> Option<Placed> {
        if ipv6 { self.v6 } else { self.v4 }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks this way")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// An address on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// The address.
    pub address: IpAddr,
    /// How many bits its subnet's addresses have in common.
    pub prefix: u8,
    /// The network's gateway, if it leads anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
}

impl Placed {
    /// Whether its network leads anywhere else.
    pub fn leads_out(self) -> bool {
        self.gateway.is_some()
    }
}
