//! A network's record.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::model::log::go_bool;
use crate::model::subnet::Subnet;
use crate::model::time::Nanos;

/// The name of the default network.
pub const BRIDGE: &str = "bridge";
/// The id of the default network; the same for everybody, for there is one of it for each user.
pub const BRIDGE_ID: &str = "b71d6e0c53fa5c4e1e1c0d3f6a9b27841c5fd07e2a90b36c8f4d1e75a2c93f08";
/// The id of the network `host`.
pub const HOST_ID: &str = "40573e2d8c1b6fa97405dce8213f9ab650e7c41d92a38b6f0e5d7c1a84b29f63";
/// The id of the network `none`.
pub const NONE_ID: &str = "a0e5d7c38b1f4926c0d3e8a75f19b4627d0c8e3a51f96b24d7e0a3c85b1f9426";

/// The largest packets of a network that asks for no size: what the way out can take, so that what leaves by TCP goes
/// in large pieces.
pub const LARGEST: u32 = 65520;

/// The option that names the bridge's interface.
pub const BRIDGE_NAME: &str = "com.docker.network.bridge.name";
/// The option that says how large packets may be.
pub const MTU: &str = "com.docker.network.driver.mtu";
/// The option by which containers reach each other.
pub const ENABLE_ICC: &str = "com.docker.network.bridge.enable_icc";
/// The option by which the bridge has no IPv4 address.
pub const INHIBIT_IPV4: &str = "com.docker.network.bridge.inhibit_ipv4";
/// The options that say what a gateway does; `isolated`: the bridge has no address.
pub const GATEWAY_MODE_IPV4: &str = "com.docker.network.bridge.gateway_mode_ipv4";
/// The same for IPv6.
pub const GATEWAY_MODE_IPV6: &str = "com.docker.network.bridge.gateway_mode_ipv6";

/// A network: what was asked for, made whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Network {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created: Nanos,
    /// `bridge`, `host`, `null`.
    pub driver: String,
    /// Whether its containers get IPv4 addresses.
    pub ipv4: bool,
    /// Whether its containers get IPv6 addresses.
    pub ipv6: bool,
    /// Whether it leads nowhere else.
    pub internal: bool,
    /// Of a swarm's networks; recorded.
    pub attachable: bool,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Options of the address management; recorded.
    pub ipam_options: Option<BTreeMap<String, String>>,
    /// Where its addresses come from.
    pub pools: Vec<Pool>,
}

/// A subnet of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// The subnet.
    pub subnet: Subnet,
    /// Where in it containers' addresses are chosen; none: anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<Subnet>,
    /// The bridge's address.
    pub gateway: IpAddr,
    /// Whether it was asked for.
    #[serde(default)]
    pub given: bool,
    /// Addresses that others have, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub auxiliary: BTreeMap<String, IpAddr>,
}

impl Network {
    /// Whether it is one that every user has.
    pub fn is_predefined(&self) -> bool {
        [BRIDGE_ID, HOST_ID, NONE_ID].contains(&self.id.as_str())
    }

    /// The bridge's interface.
    pub fn interface(&self) -> String {
        let named = self.options.get(BRIDGE_NAME).filter(|name| !name.is_empty());
        named.cloned().unwrap_or_else(|| format!("br-{}", &self.id[..12]))
    }

    /// The largest packet, in bytes.
    pub fn mtu(&self) -> u32 {
        let asked = self.options.get(MTU).and_then(|mtu| mtu.parse().ok());
        asked.filter(|mtu| (68..=LARGEST).contains(mtu)).unwrap_or(LARGEST)
    }

    /// The address of the host at which its containers' ports are published where none is asked for.
    pub fn host_binding(&self) -> IpAddr {
        let asked = self.options.get("com.docker.network.bridge.host_binding_ipv4");
        asked.and_then(|address| address.parse().ok()).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    /// Whether its containers reach each other.
    pub fn icc(&self) -> bool {
        self.flag(ENABLE_ICC) != Some(false)
    }

    fn flag(&self, option: &str) -> Option<bool> {
        self.options.get(option).and_then(|value| go_bool(value))
    }

    /// Whether the bridge has the gateway's address of one version of IP.
    pub fn has_gateway(&self, ipv6: bool) -> bool {
        let mode = self.options.get(if ipv6 { GATEWAY_MODE_IPV6 } else { GATEWAY_MODE_IPV4 });
        let inhibited = !ipv6 && self.flag(INHIBIT_IPV4) == Some(true);
        !inhibited && mode.is_none_or(|mode| mode != "isolated")
    }

    /// Its pools of one version of IP.
    pub fn pools_of(&self, ipv6: bool) -> impl Iterator<Item = &Pool> {
        self.pools.iter().filter(move |pool| pool.subnet.is_ipv6() == ipv6)
    }
}
