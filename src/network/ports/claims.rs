//! Which ports of the host other containers have: told by what lies beside their locks.

use std::fs;
use std::net::IpAddr;

use super::super::error::Result;
use crate::model::ids::is_full_id;
use crate::model::ports::{Bound, Protocol};
use crate::state::atomic::{self, Durability};
use crate::state::lock::Lock;
use crate::state::paths::Home;

/// Writes what a container has got. The caller holds the ports' lock.
///
/// # Errors
/// Those of the file system.
pub fn write(home: &Home, id: &str, bound: &[Bound]) -> Result<()> {
    Ok(atomic::write_json(&home.container(id).ports(), &bound, Durability::Process)?)
}

/// A container has none any more.
pub fn give_back(home: &Home, id: &str) {
    let _ = fs::remove_file(home.container(id).ports());
}

/// The other containers' ports, looked up when somebody is in the way.
#[derive(Debug)]
pub struct Others<'a> {
    home: &'a Home,
    id: &'a str,
}

impl<'a> Others<'a> {
    /// Those of all but this one.
    pub fn new(home: &'a Home, id: &'a str) -> Self {
        Self { home, id }
    }

    /// Whether one that lives has a port that leaves no room for this one.
    pub fn have(&self, protocol: Protocol, address: IpAddr, port: u16) -> bool {
        let entries = fs::read_dir(self.home.running()).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|id| is_full_id(id) && id != self.id).any(|id| {
            let paths = self.home.container(&id);
            let bound: Vec<Bound> = atomic::read_json(&paths.ports()).unwrap_or_default();
            bound.iter().any(|bound| collide(bound, protocol, address, port))
                && Lock::is_held(&paths.monitor_lock()).unwrap_or(false)
        })
    }
}

/// Whether a port of the host that somebody has leaves no room for another.
pub fn collide(bound: &Bound, protocol: Protocol, address: IpAddr, port: u16) -> bool {
    (bound.protocol, bound.host_port, bound.address.is_ipv6()) == (protocol, port, address.is_ipv6())
        && (bound.address == address || bound.address.is_unspecified() || address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::random_id;

    #[test]
    fn a_claim_is_as_good_as_its_monitor() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let home = Home { data: dir.path().join("data"), run: dir.path().join("run") };
        let (owner, other) = (random_id(), random_id());
        let paths = home.container(&owner);
        fs::create_dir_all(&paths.run).expect("directory");
        let address = |text: &str| text.parse::<IpAddr>().expect("address");
        let bound = Bound { port: 80, protocol: Protocol::Tcp, address: address("0.0.0.0"), host_port: 8080 };
        let lock = Lock::exclusive(&paths.monitor_lock()).expect("lock");
        write(&home, &owner, &[bound]).expect("write");
        let others = Others::new(&home, &other);
        for (protocol, at, port, taken) in [
            (Protocol::Tcp, "0.0.0.0", 8080, true),
            (Protocol::Tcp, "127.0.0.1", 8080, true),
            (Protocol::Tcp, "::", 8080, false),
            (Protocol::Udp, "0.0.0.0", 8080, false),
            (Protocol::Tcp, "0.0.0.0", 8081, false),
        ] {
            assert_eq!(others.have(protocol, address(at), port), taken, "{at}:{port}");
        }
        assert!(!Others::new(&home, &owner).have(Protocol::Tcp, address("0.0.0.0"), 8080), "its own");
        drop(lock);
        assert!(!others.have(Protocol::Tcp, address("0.0.0.0"), 8080), "its monitor was killed");
    }
}
