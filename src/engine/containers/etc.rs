//! The three files of /etc that the engine writes for a container: `hostname`, `hosts`, `resolv.conf`.

use std::fs;
use std::path::Path;

use crate::engine::{Engine, Error, Result};
use crate::state;
use crate::state::atomic::{self, Durability};
use crate::state::container::ContainerRecord;

impl Engine {
    /// Writes them, anew at each start: the host's name servers change.
    ///
    /// They are written in place of nothing: a mounted file must keep its inode, and each start mounts anew.
    pub(super) fn write_etc(&self, record: &ContainerRecord) -> Result<()> {
        if let Some(other) = record.host_config.network_mode.strip_prefix("container:") {
            return self.share_etc(record, other);
        }
        let paths = self.home.container(&record.id);
        let dir = paths.data.join("etc");
        fs::create_dir_all(&dir).map_err(state::Error::at(&dir))?;
        let host_network = record.host_config.network_mode == "host";
        let host_file = |path: &str| fs::read_to_string(Path::new(path)).unwrap_or_default();
        let files = [
            ("hostname", format!("{}\n", record.config.hostname)),
            ("hosts", hosts(record, host_network.then(|| host_file("/etc/hosts")).as_deref())?),
            ("resolv.conf", resolv_conf(record, &host_file("/etc/resolv.conf"))),
        ];
        for (name, text) in files {
            // World-readable whatever the umask: the container's user may be another one.
            let path = paths.etc(name);
            atomic::write(&path, text.as_bytes(), Durability::Process)?;
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
            fs::set_permissions(&path, mode).map_err(state::Error::at(&path))?;
        }
        Ok(())
    }

    /// A container in another one's network has the other one's files.
    fn share_etc(&self, record: &ContainerRecord, other: &str) -> Result<()> {
        let (own, other) = (self.home.container(&record.id), self.home.container(other));
        let dir = own.data.join("etc");
        fs::create_dir_all(&dir).map_err(state::Error::at(&dir))?;
        for name in ["hostname", "hosts", "resolv.conf"] {
            let _ = fs::remove_file(own.etc(name));
            fs::hard_link(other.etc(name), own.etc(name)).map_err(state::Error::at(&own.etc(name)))?;
        }
        Ok(())
    }
}

fn hosts(record: &ContainerRecord, host: Option<&str>) -> Result<String> {
    let mut text = host.map_or_else(
        || {
            "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n\
             ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
                .to_owned()
        },
        |host| format!("{}\n", host.trim_end()),
    );
    if host.is_none() && !record.config.hostname.is_empty() {
        let name = &record.config.hostname;
        let full = match record.config.domainname.as_str() {
            "" => String::new(),
            domain => format!("{name}.{domain} "),
        };
        text.push_str(&format!("127.0.1.1\t{full}{name}\n"));
    }
    for entry in record.host_config.extra_hosts.iter().flatten() {
        let (name, address) = entry
            .split_once(':')
            .ok_or_else(|| Error::InvalidParameter(format!("bad format for add-host: \"{entry}\"")))?;
        // Without a network of its own the host is reached by no address of its own; the loopback one is the host's
        // where the network is the host's.
        let address = if address == "host-gateway" { "127.0.0.1" } else { address };
        text.push_str(&format!("{}\t{name}\n", address.trim()));
    }
    Ok(text)
}

fn resolv_conf(record: &ContainerRecord, host: &str) -> String {
    let config = &record.host_config;
    let words = |key: &str| -> Vec<&str> {
        let lines = host.lines().filter_map(|line| line.strip_prefix(key));
        lines.filter(|rest| rest.starts_with([' ', '\t'])).flat_map(str::split_whitespace).collect()
    };
    let own = |list: &Option<Vec<String>>| list.clone().filter(|list| !list.is_empty());
    let or = |list: Option<Vec<String>>, key: &str| {
        list.unwrap_or_else(|| words(key).into_iter().map(str::to_owned).collect())
    };
    let mut text = String::new();
    for server in or(own(&config.dns), "nameserver") {
        text.push_str(&format!("nameserver {server}\n"));
    }
    let search = or(own(&config.dns_search), "search");
    // A lone dot asks for no search domain at all.
    if !search.is_empty() && search != ["."] {
        text.push_str(&format!("search {}\n", search.join(" ")));
    }
    let options = or(own(&config.dns_options), "options");
    if !options.is_empty() {
        text.push_str(&format!("options {}\n", options.join(" ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_goes_before_the_host() {
        let mut record = ContainerRecord::default();
        let host = "# comment\nnameserver 10.0.0.1\nsearch a b\noptions ndots:2\n";
        assert_eq!(resolv_conf(&record, host), "nameserver 10.0.0.1\nsearch a b\noptions ndots:2\n");
        record.host_config.dns = Some(vec!["1.1.1.1".into()]);
        record.host_config.dns_search = Some(vec![".".into()]);
        assert_eq!(resolv_conf(&record, host), "nameserver 1.1.1.1\noptions ndots:2\n");
    }

    #[test]
    fn extra_hosts_are_lines() {
        let mut record = ContainerRecord::default();
        record.config.hostname = "web".into();
        record.host_config.extra_hosts = Some(vec!["db:10.1.2.3".into(), "six:::2".into()]);
        let text = hosts(&record, None).expect("fine");
        assert!(text.ends_with("127.0.1.1\tweb\n10.1.2.3\tdb\n::2\tsix\n"), "{text}");
    }
}
