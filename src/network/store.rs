//! The networks on disk.

use std::fs;
use std::path::PathBuf;

use super::error::{Error, Result};
use super::pool;
use super::record::{BRIDGE, BRIDGE_ID, HOST_ID, NONE_ID, Network, Pool};
use crate::model::ids::is_full_id;
use crate::model::subnet::Subnet;
use crate::model::time;
use crate::state;
use crate::state::atomic::{self, Durability};
use crate::state::lock::Lock;
use crate::state::paths::Home;

/// A network's file.
fn path(home: &Home, id: &str) -> PathBuf {
    home.networks().join(format!("{id}.json"))
}

/// The lock under which networks are made and unmade: subnets must not overlap, nor two have one name.
///
/// # Errors
/// Those of the file system.
pub fn changing(home: &Home) -> Result<Lock> {
    // Who has the lock finds it made: to make it takes the lock.
    default_bridge(home)?;
    lock(home)
}

fn lock(home: &Home) -> Result<Lock> {
    fs::create_dir_all(home.networks()).map_err(state::Error::at(&home.networks()))?;
    Ok(Lock::exclusive(&home.networks().join("lock"))?)
}

/// A network by its id.
///
/// # Errors
/// Not found; its record cannot be read.
pub fn load(home: &Home, id: &str) -> Result<Network> {
    match id {
        BRIDGE_ID => default_bridge(home),
        HOST_ID => Ok(without_addresses("host", HOST_ID, "host")),
        NONE_ID => Ok(without_addresses("none", NONE_ID, "null")),
        id => match atomic::read_json(&path(home, id)) {
            Err(state::Error::Missing(_)) => Err(Error::NotFound(id.to_owned())),
            other => Ok(other?),
        },
    }
}

/// Writes a network's record. The caller holds the lock of [`changing`].
///
/// # Errors
/// Those of the file system.
pub fn save(home: &Home, network: &Network) -> Result<()> {
    Ok(atomic::write_json(&path(home, &network.id), network, Durability::Disk)?)
}

/// Takes a network's record away. The caller holds the lock of [`changing`], and that of its leases.
///
/// # Errors
/// Not found; those of the file system.
pub fn remove(home: &Home, id: &str) -> Result<()> {
    match fs::remove_file(path(home, id)) {
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => Err(Error::NotFound(id.to_owned())),
        other => {
            other.map_err(state::Error::at(&path(home, id)))?;
            Ok(atomic::sync(&[&home.networks()])?)
        }
    }
}

/// Whether a network is there still. The default one always is.
pub fn is_there(home: &Home, id: &str) -> bool {
    id == BRIDGE_ID || path(home, id).exists()
}

/// Every network, the predefined ones among them, in no order. One whose record cannot be read is left out.
pub fn all(home: &Home) -> Vec<Network> {
    let entries = fs::read_dir(home.networks()).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let ids = names.filter_map(|name| name.strip_suffix(".json").filter(|id| is_full_id(id)).map(str::to_owned));
    let own = ids.filter(|id| id != BRIDGE_ID);
    let ids = [BRIDGE_ID, HOST_ID, NONE_ID].map(str::to_owned).into_iter().chain(own);
    ids.filter_map(|id| match load(home, &id) {
        Ok(network) => Some(network),
        // It has just gone.
        Err(Error::NotFound(_)) => None,
        Err(err) => {
            tracing::warn!(network = %id, "left out: {err}");
            None
        }
    })
    .collect()
}

/// The network that a text means: its name, its id, or the beginning of that which only one has.
///
/// # Errors
/// Not found; several.
pub fn find(home: &Home, text: &str) -> Result<Network> {
    if text == BRIDGE {
        return default_bridge(home);
    }
    let mut all = all(home);
    let exact = |network: &Network| network.id == text;
    let named = |network: &Network| network.name == text;
    if let Some(at) = all.iter().position(exact).or_else(|| all.iter().position(named)) {
        return Ok(all.swap_remove(at));
    }
    all.retain(|network| !text.is_empty() && network.id.starts_with(text));
    match all.len() {
        0 => Err(Error::NotFound(text.to_owned())),
        1 => Ok(all.remove(0)),
        count => Err(Error::Invalid(format!("network {text} is ambiguous ({count} matches found based on ID prefix)"))),
    }
}

/// The default network. Its subnet is chosen when it is first asked for, and stays.
fn default_bridge(home: &Home) -> Result<Network> {
    let file = path(home, BRIDGE_ID);
    match atomic::read_json(&file) {
        Err(state::Error::Missing(_)) => {}
        other => return Ok(other?),
    }
    let _lock = lock(home)?;
    match atomic::read_json(&file) {
        Err(state::Error::Missing(_)) => {}
        other => return Ok(other?),
    }
    let subnet = pool::choose_ipv4(&subnets(home))?;
    let gateway = subnet.nth(1).unwrap_or(subnet.address());
    let mut network = without_addresses(BRIDGE, BRIDGE_ID, "bridge");
    network.created = time::now();
    network.pools = vec![Pool { subnet, range: None, gateway, given: false, auxiliary: Default::default() }];
    let options = [
        ("com.docker.network.bridge.default_bridge", "true"),
        ("com.docker.network.bridge.enable_icc", "true"),
        ("com.docker.network.bridge.enable_ip_masquerade", "true"),
        ("com.docker.network.bridge.host_binding_ipv4", "0.0.0.0"),
        ("com.docker.network.bridge.name", "docker0"),
        ("com.docker.network.driver.mtu", "65520"),
    ];
    network.options = options.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    save(home, &network)?;
    Ok(network)
}

fn without_addresses(name: &str, id: &str, driver: &str) -> Network {
    Network { id: id.to_owned(), name: name.to_owned(), driver: driver.to_owned(), ipv4: true, ..Network::default() }
}

/// The subnets of all networks that have a record.
pub fn subnets(home: &Home) -> Vec<Subnet> {
    let entries = fs::read_dir(home.networks()).into_iter().flatten().flatten();
    let records = entries.filter_map(|entry| atomic::read_json::<Network>(&entry.path()).ok());
    records.flat_map(|network| network.pools.into_iter().map(|pool| pool.subnet)).collect()
}
