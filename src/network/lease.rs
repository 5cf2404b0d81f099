//! Leases: which container has which address.
//!
//! A lease is a link that is named by the address and leads to its owner's id. It is taken under the network's lock, and
//! it is only as good as its owner: nobody who is killed leaves an address taken.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::error::{Error, Result};
use super::names::published;
use super::record::{Network, Pool};
use crate::model::ids::is_full_id;
use crate::model::subnet::Subnet;
use crate::state;
use crate::state::claim::{Claim, Process};
use crate::state::lock::Lock;
use crate::state::paths::Home;
use crate::sys::tree;

/// The directory of what a network has until the next reboot.
pub fn dir(home: &Home, network: &str) -> PathBuf {
    home.live_networks().join(network)
}

/// Removes what a network that is no more had until the next reboot. Who waits for its lock finds it gone.
pub fn forget(home: &Home, network: &str) {
    let _ = tree::remove(&dir(home, network));
}

/// A network's lock: held while an address is chosen, or its bridge is made.
///
/// # Errors
/// Those of the file system.
pub fn lock(home: &Home, network: &str) -> Result<Lock> {
    let dir = dir(home, network);
    fs::create_dir_all(&dir).map_err(state::Error::at(&dir))?;
    Ok(Lock::exclusive(&dir.join("lock"))?)
}

/// Takes an address of one version of IP for a container: the one that it wants, or the first that is free. Gives the
/// address and its subnet. The caller holds the network's [`lock`].
///
/// # Errors
/// It is taken, or in no subnet; there is none left.
pub fn take(
    home: &Home,
    network: &Network,
    owner: &str,
    ipv6: bool,
    wanted: Option<IpAddr>,
) -> Result<(IpAddr, Subnet)> {
    let dir = dir(home, &network.id);
    let free = |address: IpAddr| claim(home, &dir, address, owner);
    if let Some(address) = wanted {
        let pool = network.pools_of(ipv6).find(|pool| pool.subnet.contains(address));
        let pool = pool.ok_or_else(|| {
            let of = if ipv6 { "IPv6" } else { "IPv4" };
            Error::Invalid(format!("no configured subnet or ip-range contain the {of} address {address}"))
        })?;
        return match !is_kept(pool, address) && free(address)? {
            true => Ok((address, pool.subnet)),
            false => Err(Error::Forbidden("Address already in use".to_owned())),
        };
    }
    for pool in network.pools_of(ipv6) {
        let range = pool.range.unwrap_or(pool.subnet);
        for n in 0..=range.last() {
            let Some(address) = range.nth(n) else { break };
            if !is_kept(pool, address) && free(address)? {
                return Ok((address, pool.subnet));
            }
        }
    }
    let version = if ipv6 { "IPv6" } else { "IPv4" };
    Err(Error::Forbidden(format!(
        "no available {version} addresses on this network's address pools: {} ({})",
        network.name, network.id
    )))
}

/// Whether no container may have an address: the subnet's own, its last one of IPv4, the gateway's, an auxiliary one.
fn is_kept(pool: &Pool, address: IpAddr) -> bool {
    let subnet = pool.subnet;
    let ends = subnet.last() > 1;
    (ends && address == subnet.address())
        || (ends && !subnet.is_ipv6() && subnet.nth(subnet.last()) == Some(address))
        || address == pool.gateway
        || pool.auxiliary.values().any(|kept| *kept == address)
}

/// Takes an address if nobody who lives has it.
fn claim(home: &Home, dir: &Path, address: IpAddr, owner: &str) -> Result<bool> {
    let link = dir.join(address.to_string());
    loop {
        match symlink(owner, &link) {
            Ok(()) => return Ok(true),
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
            Err(err) => return Err(state::Error::at(&link)(err).into()),
        }
        match fs::read_link(&link) {
            Ok(other) if other == Path::new(owner) => return Ok(true),
            Ok(other) if other.to_str().is_some_and(|other| lives(home, other)) => return Ok(false),
            // Its owner is gone, or has just given it up.
            _ => drop(fs::remove_file(&link)),
        }
    }
}

/// Whether a container's monitor lives or, where it was killed, the container still has what it had.
fn lives(home: &Home, id: &str) -> bool {
    let paths = home.container(id);
    is_full_id(id)
        && (Lock::is_held(&paths.monitor_lock()).unwrap_or(false)
            || Claim::read(&paths).init.is_some_and(Process::lives))
}

/// The containers that have an address of a network, running or about to run. The caller holds the network's [`lock`].
pub fn owners(home: &Home, network: &str) -> Vec<String> {
    let entries = fs::read_dir(dir(home, network)).into_iter().flatten().flatten();
    let owners = entries.filter_map(|entry| fs::read_link(entry.path()).ok()?.into_os_string().into_string().ok());
    let mut owners: Vec<String> = owners.filter(|owner| lives(home, owner)).collect();
    owners.sort();
    owners.dedup();
    owners
}

/// Gives back an address that a container has.
pub fn give_back(home: &Home, network: &str, address: IpAddr, owner: &str) {
    // Nobody else can have it while its owner lives.
    if is_of(home, network, address, owner) {
        let dir = dir(home, network);
        published::withdraw(&dir, address);
        let _ = fs::remove_file(dir.join(address.to_string()));
    }
}

/// The addresses of a network that a container has.
pub fn held(home: &Home, network: &str, owner: &str) -> Vec<IpAddr> {
    let entries = fs::read_dir(dir(home, network)).into_iter().flatten().flatten();
    let own = entries.filter(|entry| fs::read_link(entry.path()).is_ok_and(|has| has == Path::new(owner)));
    own.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Gives back every address of a network that a container has.
pub fn give_back_all(home: &Home, network: &str, owner: &str) {
    held(home, network, owner).into_iter().for_each(|address| give_back(home, network, address, owner));
}

/// Gives back every address that a container has in any network.
pub fn give_back_everywhere(home: &Home, owner: &str) {
    let entries = fs::read_dir(home.live_networks()).into_iter().flatten().flatten();
    let networks = entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| is_full_id(name));
    networks.for_each(|network| give_back_all(home, &network, owner));
}

/// Whether a container has an address.
pub fn is_of(home: &Home, network: &str, address: IpAddr, owner: &str) -> bool {
    fs::read_link(dir(home, network).join(address.to_string())).is_ok_and(|has| has == Path::new(owner))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::random_id;

    #[test]
    fn the_first_address_whose_owner_is_gone() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let home = Home { data: dir.path().join("data"), run: dir.path().join("run") };
        let subnet: Subnet = "10.0.0.0/29".parse().expect("subnet");
        let (gateway, kept) = (subnet.nth(1).expect("first"), subnet.nth(3).expect("third"));
        let auxiliary = [("printer".to_owned(), kept)].into();
        let pools = vec![Pool { subnet, range: None, gateway, given: false, auxiliary }];
        let network = Network { id: random_id(), name: "n".into(), pools, ..Network::default() };
        let _lock = lock(&home, &network.id).expect("lock");
        let owner = || {
            let id = random_id();
            let paths = home.container(&id);
            fs::create_dir_all(&paths.run).expect("directory");
            (Lock::exclusive(&paths.monitor_lock()).expect("lock"), id)
        };
        let take = |id: &str, wanted: Option<&str>| {
            let wanted = wanted.map(|text| text.parse().expect("address"));
            take(&home, &network, id, false, wanted).map(|(address, _)| address.to_string())
        };
        let ((first_lock, first), (_second_lock, second)) = (owner(), owner());
        assert_eq!(take(&first, None).expect("free"), "10.0.0.2");
        assert_eq!(take(&second, None).expect("free"), "10.0.0.4");
        assert_eq!(take(&second, Some("10.0.0.2")).expect_err("refused").to_string(), "Address already in use");
        assert_eq!(take(&second, Some("10.0.0.3")).expect_err("refused").to_string(), "Address already in use");
        assert!(take(&second, Some("10.0.1.3")).is_err());
        assert_eq!(take(&second, Some("10.0.0.6")).expect("free"), "10.0.0.6");
        // Its monitor was killed.
        drop(first_lock);
        let (_third_lock, third) = owner();
        assert_eq!(take(&third, None).expect("free"), "10.0.0.2");
        let (_fourth_lock, fourth) = owner();
        assert_eq!(owners(&home, &network.id).len(), 2);
        assert_eq!(take(&fourth, None).expect("free"), "10.0.0.5");
        assert!(take(&random_id(), None).expect_err("refused").to_string().contains("no available IPv4 addresses"));
        give_back(&home, &network.id, "10.0.0.4".parse().expect("address"), &third);
        give_back(&home, &network.id, "10.0.0.5".parse().expect("address"), &fourth);
        assert_eq!(take(&fourth, None).expect("free"), "10.0.0.5");
    }
}
