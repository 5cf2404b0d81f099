//! Creating a network.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{forbidden, is_predefined};
use crate::engine::{Engine, Error, Result};
use crate::model::ids::random_id;
use crate::model::log::go_bool;
use crate::model::subnet::Subnet;
use crate::model::time;
use crate::network::record::{
    BRIDGE_NAME, ENABLE_ICC, GATEWAY_MODE_IPV4, GATEWAY_MODE_IPV6, INHIBIT_IPV4, LARGEST, MTU, Network, Pool,
};
use crate::network::{pool, store};

/// What a client asks for.
#[derive(Debug, Clone, Default)]
pub struct NewNetwork {
    /// Its name.
    pub name: String,
    /// `bridge` or empty; what else there is is refused.
    pub driver: String,
    /// Whether containers get IPv4 addresses; none: they do.
    pub ipv4: Option<bool>,
    /// Whether containers get IPv6 addresses; none: they do not.
    pub ipv6: Option<bool>,
    /// Whether it leads nowhere else.
    pub internal: bool,
    /// Of a swarm's networks; recorded.
    pub attachable: bool,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The address management; `default` or empty.
    pub ipam_driver: String,
    /// Its options; recorded.
    pub ipam_options: Option<BTreeMap<String, String>>,
    /// Subnets.
    pub pools: Vec<NewPool>,
}

/// A subnet that a client asks for; what is empty is chosen.
#[derive(Debug, Clone, Default)]
pub struct NewPool {
    /// The subnet.
    pub subnet: String,
    /// Where in it containers' addresses are chosen.
    pub range: String,
    /// The bridge's address.
    pub gateway: String,
    /// Addresses that others have, by name.
    pub auxiliary: BTreeMap<String, String>,
}

impl Engine {
    /// Creates a network. Gives its id, and a sentence for each option that will not be done.
    ///
    /// # Errors
    /// Forbidden: a predefined name, no subnet left, one that overlaps. Conflict: the name is taken. Invalid parameter:
    /// what cannot be.
    pub fn create_network(&self, new: NewNetwork) -> Result<(String, Vec<String>)> {
        refuse(&new)?;
        let flag = |asked: Option<bool>, option: &str, default: bool| match (asked, new.options.get(option)) {
            (Some(flag), _) => Ok(flag),
            (None, None) => Ok(default),
            (None, Some(text)) => go_bool(text)
                .ok_or_else(|| Error::InvalidParameter(format!("driver-opt \"{option}\" is not a valid bool"))),
        };
        let ipv4 = flag(new.ipv4, "com.docker.network.enable_ipv4", true)?;
        let ipv6 = flag(new.ipv6, "com.docker.network.enable_ipv6", false)?;
        if !ipv4 && !ipv6 {
            return Err(Error::InvalidParameter("IPv4 or IPv6 must be enabled".to_owned()));
        }
        let asked = read_pools(&new.pools)?;
        let warnings = options(&new)?;
        let _changing = store::changing(&self.home)?;
        let others = store::all(&self.home);
        if others.iter().any(|network| network.name == new.name) {
            return Err(Error::Conflict(format!("network with name {} already exists", new.name)));
        }
        let id = random_id();
        let network = Network {
            pools: whole(asked, ipv4, ipv6, &id, &store::subnets(&self.home))?,
            id: id.clone(),
            name: new.name,
            created: time::now(),
            driver: "bridge".to_owned(),
            ipv4,
            ipv6,
            internal: new.internal,
            attachable: new.attachable,
            options: new.options,
            labels: new.labels,
            ipam_options: new.ipam_options,
        };
        if let Some(other) = others.iter().find(|other| other.interface() == network.interface()) {
            return Err(forbidden(format!(
                "cannot create network {id} ({0}): conflicts with network {1} ({0}): networks have same bridge name",
                network.interface(),
                other.id
            )));
        }
        store::save(&self.home, &network)?;
        self.emit_network(&network, "create", &[]);
        Ok((id, warnings))
    }
}

/// What can never be a network of the user's own.
fn refuse(new: &NewNetwork) -> Result<()> {
    if is_predefined(&new.name) || new.name == "default" {
        return Err(forbidden(format!("operation is not permitted on predefined {} network ", new.name)));
    }
    if new.name.trim().is_empty() {
        return Err(Error::InvalidParameter("invalid network name: name is empty".to_owned()));
    }
    match new.driver.as_str() {
        "" | "bridge" | "default" => {}
        "host" | "null" => {
            return Err(forbidden(format!("only one instance of \"{}\" network is allowed", new.driver)));
        }
        "macvlan" | "ipvlan" => {
            return Err(Error::InvalidParameter(format!(
                "the network driver {} is not available: only the host's root may give containers a part of the \
                     host's interfaces",
                new.driver
            )));
        }
        "overlay" => return Err(forbidden("This node is not a swarm manager.".to_owned())),
        driver => return Err(Error::NotFound(format!("plugin \"{driver}\" not found"))),
    }
    if !matches!(new.ipam_driver.as_str(), "" | "default") {
        return Err(Error::NotFound(format!("plugin \"{}\" not found", new.ipam_driver)));
    }
    Ok(())
}

/// Options that have an effect, or whose default is what is done.
const OPTIONS: [&str; 11] = [
    BRIDGE_NAME,
    MTU,
    ENABLE_ICC,
    HOST_BINDING,
    "com.docker.network.bridge.default_bridge",
    "com.docker.network.enable_ipv4",
    "com.docker.network.enable_ipv6",
    MASQUERADE,
    INHIBIT_IPV4,
    GATEWAY_MODE_IPV4,
    GATEWAY_MODE_IPV6,
];
const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
const HOST_BINDING: &str = "com.docker.network.bridge.host_binding_ipv4";

/// Checks the options; a sentence for each that has no effect.
fn options(new: &NewNetwork) -> Result<Vec<String>> {
    if let Some(name) = new.options.get(BRIDGE_NAME).filter(|name| !name.is_empty()) {
        let fits = name.len() < 16 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        let ours = ["lo", "tap0", "all", "default"].contains(&name.as_str()) || name.starts_with("veth");
        if !fits || ours {
            return Err(Error::InvalidParameter(format!("invalid bridge name: {name}")));
        }
    }
    let asked = |name: &str| new.options.get(name).filter(|value| !value.is_empty());
    let wrong = |name: &str, value: &str, why: &str| {
        Err(Error::InvalidParameter(format!("failed to parse {name} value: {value} ({why})")))
    };
    for name in [ENABLE_ICC, MASQUERADE, INHIBIT_IPV4] {
        if let Some(value) = asked(name).filter(|value| go_bool(value).is_none()) {
            return wrong(name, value, &format!("strconv.ParseBool: parsing {value:?}: invalid syntax"));
        }
    }
    if let Some(value) = asked(HOST_BINDING).filter(|value| value.parse::<IpAddr>().is_err()) {
        return wrong(HOST_BINDING, value, "nil ip");
    }
    let mut warnings = Vec::new();
    for name in [GATEWAY_MODE_IPV4, GATEWAY_MODE_IPV6] {
        match asked(name).map(String::as_str) {
            None | Some("nat") => {}
            Some("isolated") if new.internal => {}
            Some("isolated") => {
                let text = "gateway mode 'isolated' can only be used for an internal network";
                return Err(Error::InvalidParameter(text.to_owned()));
            }
            // Nothing of the host reaches containers past their published ports.
            Some("nat-unprotected") => {
                warnings.push(format!("option {name}: containers are as with nat, for the host does not reach them"));
            }
            Some("routed") => {
                let text = format!("option {name}: routed is not supported: the host has no route to containers");
                return Err(Error::NotImplemented(text));
            }
            Some(mode) => return wrong(name, mode, &format!("unknown gateway mode {mode}")),
        }
    }
    if let Some(mtu) = new.options.get(MTU) {
        match mtu.parse::<u32>() {
            Ok(bytes) if bytes < 68 => return Err(Error::InvalidParameter(format!("invalid MTU: {mtu}"))),
            Ok(bytes) if bytes > LARGEST => {
                warnings.push(format!("option {MTU}: it is {LARGEST}, the largest there is"))
            }
            Ok(_) => {}
            Err(_) => return Err(Error::InvalidParameter(format!("parse error: invalid value for {MTU}: {mtu}"))),
        }
    }
    let ignored = |(name, value): &(&String, &String)| {
        !OPTIONS.contains(&name.as_str()) || (name.as_str() == MASQUERADE && go_bool(value) == Some(false))
    };
    let options = new.options.iter().filter(ignored).map(|(name, _)| name);
    let of_ipam = new.ipam_options.iter().flatten().map(|(name, _)| name);
    let without_effect = |name| format!("option {name} is not implemented and has no effect");
    warnings.extend(options.chain(of_ipam).map(without_effect));
    Ok(warnings)
}

/// Subnets as they were asked for: one may have no subnet yet, and so no gateway.
struct Asked {
    subnet: Option<Subnet>,
    range: Option<Subnet>,
    gateway: Option<IpAddr>,
    auxiliary: BTreeMap<String, IpAddr>,
}

/// Reads and checks subnets, each fault a line, as dockerd does.
fn read_pools(pools: &[NewPool]) -> Result<Vec<Asked>> {
    let mut faults = Vec::new();
    let mut read = Vec::new();
    for pool in pools {
        match read_pool(pool, &mut faults) {
            Some(asked) => read.push(asked),
            None if faults.is_empty() => faults.push("invalid subnet".to_owned()),
            None => {}
        }
    }
    match faults.is_empty() {
        true => Ok(read),
        false => Err(Error::InvalidParameter(format!("invalid network config:\n{}", faults.join("\n")))),
    }
}

fn read_pool(pool: &NewPool, faults: &mut Vec<String>) -> Option<Asked> {
    let none = String::is_empty;
    if none(&pool.subnet) && none(&pool.range) && none(&pool.gateway) && pool.auxiliary.is_empty() {
        return Some(Asked { subnet: None, range: None, gateway: None, auxiliary: BTreeMap::new() });
    }
    let subnet = read_subnet("subnet", &pool.subnet, faults)?;
    let family = if subnet.is_ipv6() { 6 } else { 4 };
    let range = match pool.range.as_str() {
        "" => None,
        text => {
            let range = read_subnet("ip-range", text, faults)?;
            if range.is_ipv6() != subnet.is_ipv6() {
                faults.push(format!("invalid ip-range {text}: parent subnet is an IPv{family} block"));
            } else if range.prefix() < subnet.prefix() {
                faults.push(format!("invalid ip-range {text}: CIDR block is bigger than its parent subnet {subnet}"));
            } else if !subnet.contains(range.address()) {
                faults.push(format!("invalid ip-range {text}: parent subnet {subnet} doesn't contain ip-range"));
            }
            Some(range)
        }
    };
    let mut inside = |what: &str, text: &str| -> Option<IpAddr> {
        let Ok(address) = text.parse::<IpAddr>() else {
            faults.push(format!("invalid {what}: invalid address"));
            return None;
        };
        if address.is_ipv6() != subnet.is_ipv6() {
            faults.push(format!("invalid {what}: parent subnet is an IPv{family} block"));
        } else if !subnet.contains(address) {
            faults.push(format!("invalid {what}: parent subnet {subnet} doesn't contain this address"));
        }
        Some(address)
    };
    let gateway = match pool.gateway.as_str() {
        "" => None,
        text => inside(&format!("gateway {text}"), text),
    };
    let auxiliary = pool.auxiliary.iter();
    let auxiliary = auxiliary
        .filter_map(|(name, text)| Some((name.clone(), inside(&format!("auxiliary address {name}"), text)?)))
        .collect();
    Some(Asked { subnet: Some(subnet), range, gateway, auxiliary })
}

fn read_subnet(what: &str, text: &str, faults: &mut Vec<String>) -> Option<Subnet> {
    match text.parse::<Subnet>() {
        Ok(subnet) if subnet.to_string() != text && text.parse::<std::net::IpAddr>().is_err() => {
            let given = text.split_once('/').and_then(|(address, _)| address.parse::<IpAddr>().ok());
            if given != Some(subnet.address()) {
                faults.push(format!("invalid {what} {text}: it should be {subnet}"));
            }
            Some(subnet)
        }
        Ok(subnet) => Some(subnet),
        Err(err) => {
            faults.push(format!("invalid {what} {text}: {err}"));
            None
        }
    }
}

/// The pools of a new network: what is not asked for is chosen so that it overlaps with nothing.
fn whole(asked: Vec<Asked>, ipv4: bool, ipv6: bool, id: &str, taken: &[Subnet]) -> Result<Vec<Pool>> {
    let mut taken = taken.to_vec();
    let mut pools = Vec::new();
    let wanted = |asked: &Asked| asked.subnet.is_none_or(|subnet| if subnet.is_ipv6() { ipv6 } else { ipv4 });
    let mut asked: Vec<Asked> = asked.into_iter().filter(wanted).collect();
    for (version6, enabled) in [(false, ipv4), (true, ipv6)] {
        let has = asked.iter().any(|asked| asked.subnet.is_some_and(|subnet| subnet.is_ipv6() == version6));
        if enabled && !has {
            asked.retain(|asked| asked.subnet.is_some());
            let subnet = match version6 {
                false => pool::choose_ipv4(&taken)?,
                true => choose_ipv6(id, &taken)?,
            };
            pools.push(pool_of(subnet, None, None, BTreeMap::new(), false));
            taken.push(subnet);
        }
    }
    for Asked { subnet, range, gateway, auxiliary } in asked {
        let Some(subnet) = subnet else { continue };
        if taken.iter().any(|other| other.overlaps(subnet)) {
            let text = "invalid pool request: Pool overlaps with other one on this address space";
            return Err(forbidden(text.to_owned()));
        }
        taken.push(subnet);
        pools.push(pool_of(subnet, range, gateway, auxiliary, true));
    }
    pools.sort_by_key(|pool| pool.subnet.is_ipv6());
    Ok(pools)
}

fn choose_ipv6(id: &str, taken: &[Subnet]) -> Result<Subnet> {
    let byte = |at: usize| id.get(at..at + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
    let random: Vec<u8> = (0..14).step_by(2).filter_map(byte).collect();
    let none = || forbidden("all predefined address pools have been fully subnetted".to_owned());
    pool::choose_ipv6(taken, &random).ok_or_else(none)
}

fn pool_of(
    subnet: Subnet,
    range: Option<Subnet>,
    gateway: Option<IpAddr>,
    auxiliary: BTreeMap<String, IpAddr>,
    given: bool,
) -> Pool {
    let first = || {
        // The first address of the range that nobody else has; a subnet's own is nobody's.
        let range = range.unwrap_or(subnet);
        let free = |address: &IpAddr| {
            (*address != subnet.address() || subnet.last() <= 1) && !auxiliary.values().any(|other| other == address)
        };
        (0..=range.last()).map_while(|n| range.nth(n)).find(free).unwrap_or(subnet.address())
    };
    let gateway = gateway.unwrap_or_else(first);
    Pool { subnet, range, gateway, given, auxiliary }
}
