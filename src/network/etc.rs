//! The three files of /etc that a container gets: `hostname`, `hosts`, `resolv.conf`.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::FileExt;

use super::error::{Error, Result};
use super::names::upstream;
use super::plan::is_network;
use super::{resolv_conf, way_out};
use crate::model::networking::Endpoint;
use crate::state;
use crate::state::atomic::{self, Durability};
use crate::state::container::ContainerRecord;
use crate::state::paths::Home;
use crate::sys::regular;

/// Writes them, anew at each start: addresses change, and so do the host's name servers.
///
/// They are written in place of nothing: a mounted file must keep its inode, and each start mounts anew.
///
/// # Errors
/// Those of the file system; a host's address that is none.
pub fn write(home: &Home, record: &ContainerRecord, endpoints: &[Endpoint]) -> Result<()> {
    let mode = record.host_config.network_mode.as_str();
    if let Some(other) = mode.strip_prefix("container:") {
        return share(home, record, other);
    }
    let paths = home.container(&record.id);
    let dir = paths.data.join("etc");
    fs::create_dir_all(&dir).map_err(state::Error::at(&dir))?;
    let host_file = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let host = (mode == "host").then(|| host_file("/etc/hosts"));
    let files = [
        ("hostname", format!("{}\n", record.config.hostname)),
        ("hosts", hosts(record, endpoints, host.as_deref())?),
        ("resolv.conf", resolv_conf::text(record, endpoints, &upstream::host_text(), true)),
    ];
    files.iter().try_for_each(|(name, text)| place(home, record, name, text))
}

/// Writes the one that a container needs which has no resolver of its own.
///
/// # Errors
/// Those of the file system.
pub fn write_unserved(home: &Home, record: &ContainerRecord, endpoints: &[Endpoint]) -> Result<()> {
    place(home, record, "resolv.conf", &resolv_conf::text(record, endpoints, &upstream::host_text(), false))
}

fn place(home: &Home, record: &ContainerRecord, name: &str, text: &str) -> Result<()> {
    // World-readable whatever the umask: the container's user may be another one.
    let path = home.container(&record.id).etc(name);
    atomic::write(&path, text.as_bytes(), Durability::Process)?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    Ok(fs::set_permissions(&path, mode).map_err(state::Error::at(&path))?)
}

/// A container in another one's network has the other one's files.
fn share(home: &Home, record: &ContainerRecord, other: &str) -> Result<()> {
    let (own, other) = (home.container(&record.id), home.container(other));
    let dir = own.data.join("etc");
    fs::create_dir_all(&dir).map_err(state::Error::at(&dir))?;
    for name in ["hostname", "hosts", "resolv.conf"] {
        let _ = fs::remove_file(own.etc(name));
        fs::hard_link(other.etc(name), own.etc(name)).map_err(state::Error::at(&own.etc(name)))?;
    }
    Ok(())
}

/// The name by which programs reach the host, as Docker's desktop edition has it.
pub(super) const HOST: &str = "host.docker.internal";

/// `host` is the text of the host's own file, if the container has the host's network.
fn hosts(record: &ContainerRecord, endpoints: &[Endpoint], host: Option<&str>) -> Result<String> {
    let mut text = host.map_or_else(
        || {
            "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n\
             ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
                .to_owned()
        },
        |host| format!("{}\n", host.trim_end()),
    );
    let leads_out = is_network(&record.host_config.network_mode);
    let host_address = if leads_out { way_out::HOST.to_string() } else { "127.0.0.1".to_owned() };
    let extra = record.host_config.extra_hosts.iter().flatten();
    let extra = extra.map(|entry| {
        let bad = || Error::Invalid(format!("bad format for add-host: \"{entry}\""));
        entry.split_once(':').ok_or_else(bad)
    });
    let extra = extra.collect::<Result<Vec<_>>>()?;
    for (name, address) in &extra {
        let address = if *address == "host-gateway" { &host_address } else { address.trim() };
        text.push_str(&format!("{address}\t{name}\n"));
    }
    if leads_out && !extra.iter().any(|(name, _)| *name == HOST) {
        text.push_str(&format!("{host_address}\t{HOST}\n"));
    }
    if host.is_none() && !record.config.hostname.is_empty() {
        let own = endpoints.iter().flat_map(|endpoint| [endpoint.v4, endpoint.v6]).flatten();
        let own: Vec<IpAddr> = own.map(|placed| placed.address).collect();
        let nowhere = [Ipv4Addr::new(127, 0, 1, 1).into()];
        for address in if own.is_empty() { &nowhere[..] } else { &own } {
            text.push_str(&own_line(record, *address));
        }
    }
    Ok(text)
}

/// A container's own name at one of its addresses.
fn own_line(record: &ContainerRecord, address: IpAddr) -> String {
    let name = &record.config.hostname;
    match record.config.domainname.as_str() {
        "" => format!("{address}\t{name}\n"),
        domain => format!("{address}\t{name}.{domain} {name}\n"),
    }
}

/// The container, which runs and had other connections before, has been connected: as dockerd has it, its name has
/// further addresses, and from its first network that has names on it asks for names there.
///
/// # Errors
/// Those of the file system.
pub fn connected(home: &Home, record: &ContainerRecord, before: &[Endpoint], endpoint: &Endpoint) -> Result<()> {
    let placed = [endpoint.v4, endpoint.v6].into_iter().flatten();
    let lines: String = placed.map(|placed| own_line(record, placed.address)).collect();
    change(home, record, "hosts", |text| {
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        Some(format!("{text}{end}{lines}")).filter(|_| !record.config.hostname.is_empty())
    })?;
    let host = upstream::host_text();
    let resolv_conf = |endpoints: &[Endpoint]| resolv_conf::text(record, endpoints, &host, true);
    change(home, record, "resolv.conf", |text| {
        // What the container has made of it stays.
        (text == resolv_conf(before)).then(|| resolv_conf(&[before, std::slice::from_ref(endpoint)].concat()))
    })
}

/// The container, which runs, has lost these addresses.
///
/// # Errors
/// Those of the file system.
pub fn disconnected(home: &Home, record: &ContainerRecord, addresses: &[IpAddr]) -> Result<()> {
    let lost: Vec<String> = addresses.iter().map(|address| own_line(record, *address)).collect();
    let kept = |line: &&str| !lost.iter().any(|lost| lost.trim_end() == line.trim_end());
    change(home, record, "hosts", |text| Some(text.split_inclusive('\n').filter(kept).collect()))
}

/// Changes a running container's file in its place, if there is anything to change: it is mounted. What the container has
/// made of it is kept, unless that is no such file any more.
fn change(
    home: &Home,
    record: &ContainerRecord,
    name: &str,
    change: impl FnOnce(&str) -> Option<String>,
) -> Result<()> {
    let path = home.container(&record.id).etc(name);
    let changed = || -> io::Result<()> {
        if fs::symlink_metadata(&path)?.len() > MOST {
            return Ok(());
        }
        let Ok(text) = regular::read_to_string(&path) else { return Ok(()) };
        let Some(text) = change(&text).filter(|new| *new != text) else { return Ok(()) };
        let file = fs::OpenOptions::new().write(true).open(&path)?;
        file.write_all_at(text.as_bytes(), 0)?;
        file.set_len(text.len() as u64)
    };
    Ok(changed().map_err(state::Error::at(&path))?)
}

/// What a file has at most that is changed, in bytes.
const MOST: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::networking::Placed;

    #[test]
    fn hosts_are_lines() {
        let mut record = ContainerRecord::default();
        record.config.hostname = "web".into();
        record.host_config.extra_hosts = Some(vec!["db:10.1.2.3".into(), "six:::2".into(), "up:host-gateway".into()]);
        let placed = Placed { address: "172.17.0.2".parse().expect("address"), prefix: 16, gateway: None };
        let endpoint = Endpoint {
            network: "bridge".into(),
            network_id: "b".into(),
            id: "e".into(),
            interface: "eth0".into(),
            mac: String::new(),
            gw_priority: 0,
            v4: Some(placed),
            ..Endpoint::default()
        };
        let text = hosts(&record, &[endpoint], None).expect("fine");
        let end = "10.1.2.3\tdb\n::2\tsix\n169.254.2.2\tup\n169.254.2.2\thost.docker.internal\n172.17.0.2\tweb\n";
        assert!(text.ends_with(end), "{text}");
        record.host_config.network_mode = "none".into();
        assert!(hosts(&record, &[], None).expect("fine").ends_with("127.0.0.1\tup\n127.0.1.1\tweb\n"));
    }
}
