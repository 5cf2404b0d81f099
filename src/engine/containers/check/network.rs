//! Network modes and what conflicts with them, names of hosts, ports, links, connections.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::refusal::{invalid, refuse};
use crate::engine::networks::is_predefined;
use crate::engine::{Engine, Error, Result};
use crate::model::ErrorKind;
use crate::model::config::ContainerConfig;
use crate::model::host_config::HostConfig;
use crate::model::networking::{EndpointSettings, NetworkingConfig};
use crate::model::ports;
use crate::model::settings::Settings;
use crate::network::is_network;
use crate::network::ports::unsupported;

const HOST_LINKS: &str =
    "conflicting options: host type networking can't be used with links. This would result in undefined behavior";

fn is_set<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_some_and(|list| !list.is_empty())
}

/// What another container's network, or the host's, leaves no room for.
pub(super) fn conflicts(config: &ContainerConfig, host: &HostConfig) -> Result<()> {
    let mode = host.network_mode.as_str();
    if mode == "container" || mode.starts_with("container:") {
        let published = host.port_bindings.as_ref().is_some_and(|ports| !ports.is_empty()) || host.publish_all_ports;
        let exposed = config.exposed_ports.as_ref().is_some_and(|ports| !ports.is_empty());
        for (conflict, text) in [
            (
                mode.strip_prefix("container:").is_none_or(str::is_empty),
                "invalid network mode: invalid container format container:<name|id>",
            ),
            (!config.hostname.is_empty(), "conflicting options: hostname and the network mode"),
            (
                is_set(&host.links),
                "conflicting options: container type network can't be used with links. This would result in \
                 undefined behavior",
            ),
            (is_set(&host.dns), "conflicting options: dns and the network mode"),
            (is_set(&host.extra_hosts), "conflicting options: custom host-to-IP mapping and the network mode"),
            (published, "conflicting options: port publishing and the container type network mode"),
            (exposed, "conflicting options: port exposing and the container type network mode"),
        ] {
            if conflict {
                return refuse(text);
            }
        }
    }
    if host.uts_mode == "host" && !config.hostname.is_empty() {
        return refuse("conflicting options: hostname and the UTS mode");
    }
    if mode == "host" && is_set(&host.links) {
        return refuse(HOST_LINKS);
    }
    Ok(())
}

/// `name:address` for /etc/hosts.
pub(super) fn hosts(host: &HostConfig) -> Result<()> {
    for entry in host.extra_hosts.iter().flatten() {
        let Some((_, address)) = entry.split_once(':').filter(|(name, _)| !name.is_empty()) else {
            return refuse(format!("bad format for add-host: {entry:?}"));
        };
        if address != "host-gateway" && address.trim().parse::<IpAddr>().is_err() {
            return refuse(format!("invalid IP address in add-host: {address:?}"));
        }
        if entry.contains(['\n', '\r']) {
            return refuse(format!("bad format for add-host: {entry:?}"));
        }
    }
    Ok(())
}

/// Name servers, which become lines of a file.
pub(super) fn name_servers(host: &HostConfig) -> Result<()> {
    match host.dns.iter().flatten().find(|server| server.parse::<IpAddr>().is_err()) {
        Some(server) => refuse(format!("invalid IP address in dns: {server}")),
        None => Ok(()),
    }
}

pub(super) fn ports(host: &HostConfig) -> Result<()> {
    let Some(map) = &host.port_bindings else { return Ok(()) };
    let published = ports::parse(map).map_err(invalid)?;
    if is_network(&host.network_mode) { unsupported(&published).map_err(invalid) } else { Ok(()) }
}

/// The connections, each fault a line; one fault stands alone.
pub(super) fn endpoints(networking: &NetworkingConfig) -> Result<()> {
    let mut faults = Vec::new();
    for (network, endpoint) in &networking.endpoints_config {
        let Some(endpoint) = endpoint else {
            faults.push(format!("invalid config for network {network}: EndpointsConfig is nil"));
            continue;
        };
        let mac = endpoint.mac_address.as_str();
        if !mac.is_empty() && !is_mac(mac) {
            faults.push(format!("invalid config for network {network}: invalid MAC address {mac}"));
            continue;
        }
        let own = endpoint_faults(network, endpoint);
        if !own.is_empty() {
            faults.push(format!("invalid config for network {network}: invalid endpoint settings:\n{}", join(&own)));
        }
    }
    match faults.is_empty() {
        true => Ok(()),
        false => refuse(join(&faults)),
    }
}

/// One connection to be made to a network of this name.
pub(in crate::engine) fn endpoint(network: &str, settings: &EndpointSettings) -> Result<()> {
    let mac = settings.mac_address.as_str();
    if !mac.is_empty() && !is_mac(mac) {
        return refuse(format!("invalid MAC address {mac}"));
    }
    match endpoint_faults(network, settings) {
        none if none.is_empty() => Ok(()),
        faults => refuse(format!("invalid endpoint settings:\n{}", join(&faults))),
    }
}

/// As dockerd joins several errors.
fn join(faults: &[String]) -> String {
    match faults {
        [one] => one.clone(),
        many => many.iter().map(|fault| format!("* {}", fault.replace('\n', "\n\t"))).collect::<Vec<_>>().join("\n"),
    }
}

fn endpoint_faults(network: &str, endpoint: &EndpointSettings) -> Vec<String> {
    let mut faults = Vec::new();
    let ipam = endpoint.ipam_config.clone().unwrap_or_default();
    let has_address = !ipam.ipv4_address.is_empty() || !ipam.ipv6_address.is_empty();
    let predefined = is_predefined(network) || network == "default";
    if predefined && has_address {
        faults.push("user specified IP address is supported on user defined networks only".to_owned());
    }
    if predefined && is_set(&endpoint.aliases) {
        faults.push("network-scoped alias is supported only for containers in user defined networks".to_owned());
    }
    let v4 = &ipam.ipv4_address;
    if !v4.is_empty() && !v4.parse::<Ipv4Addr>().is_ok_and(|address| !address.is_unspecified()) {
        faults.push(format!("invalid IPv4 address: {v4}"));
    }
    let v6 = &ipam.ipv6_address;
    if !v6.is_empty() && !v6.parse::<Ipv6Addr>().is_ok_and(|address| !address.is_unspecified()) {
        faults.push(format!("invalid IPv6 address: {v6}"));
    }
    for local in ipam.link_local_ips.iter().flatten() {
        if !local.parse::<IpAddr>().is_ok_and(|address| !address.is_unspecified()) {
            faults.push(format!("invalid link-local IP address: {local}"));
        }
    }
    if is_predefined(network) && has_address {
        faults.push(
            "user specified IP address is supported only when connecting to networks with user configured subnets"
                .to_owned(),
        );
    }
    let sysctls = endpoint.driver_opts.as_ref().and_then(|options| options.get("com.docker.network.endpoint.sysctls"));
    for sysctl in sysctls.iter().flat_map(|text| text.split(',')) {
        let parts: Vec<&str> = sysctl.splitn(5, '.').collect();
        let fits = matches!(parts[..], [_, "ipv4" | "ipv6" | "mpls", _, "IFNAME" | "ifname", _]);
        if !fits {
            faults.push(format!(
                "unrecognised network interface sysctl '{sysctl}'; represent 'net.X.Y.ethN.Z=V' as \
                 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"
            ));
        }
    }
    faults
}

/// `02:42:ac:11:00:02`, with colons, hyphens or points.
fn is_mac(text: &str) -> bool {
    let hex = |part: &str, len: usize| part.len() == len && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    [(':', 2, [6, 8, 20]), ('-', 2, [6, 8, 20]), ('.', 4, [3, 4, 10])].into_iter().any(|(separator, len, counts)| {
        counts.contains(&text.split(separator).count()) && text.split(separator).all(|part| hex(part, len))
    })
}

impl Engine {
    /// The network that the mode names exists.
    pub(super) fn check_network(&self, host: &HostConfig) -> Result<()> {
        match host.network_mode.as_str() {
            "" | "default" => Ok(()),
            mode if is_network(mode) => self.network(mode).map(drop),
            _ => Ok(()),
        }
    }

    /// Links lead to containers that exist and do not have the host's network.
    pub(super) fn check_links(&self, host: &HostConfig, settings: &Settings) -> Result<()> {
        if !is_predefined(&host.network_mode) {
            return Ok(());
        }
        for link in &settings.links {
            let mut name = link.container.clone();
            // A container in another one's network is reached by that one.
            for _ in 0..32 {
                let other = self.container(&name).map_err(|err| match err.kind() {
                    ErrorKind::NotFound | ErrorKind::InvalidParameter => {
                        Error::InvalidParameter(format!("could not get container for {name}: {err}"))
                    }
                    _ => err,
                })?;
                match other.record.host_config.network_mode.as_str() {
                    "host" => return refuse(HOST_LINKS),
                    mode => match mode.strip_prefix("container:") {
                        Some(next) => next.clone_into(&mut name),
                        None => break,
                    },
                }
            }
        }
        Ok(())
    }

    /// The container that a mode `container:NAME` means, by its id, so that a rename does not break the reference.
    pub(in crate::engine::containers) fn resolve_modes(&self, host: &mut HostConfig) -> Result<()> {
        for mode in [&mut host.ipc_mode, &mut host.pid_mode, &mut host.network_mode] {
            if let Some(other) = mode.strip_prefix("container:") {
                *mode = format!("container:{}", self.peer(other)?);
            }
        }
        if let Some(other) = host.ipc_mode.strip_prefix("container:") {
            let mode = self.container(other)?.record.host_config.ipc_mode.clone();
            if !matches!(mode.as_str(), "shareable" | "host") {
                return refuse(format!(
                    "container {other}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
                ));
            }
        }
        Ok(())
    }

    /// The id of another container that a request names: that there is none is the request's fault.
    pub(super) fn peer(&self, name: &str) -> Result<String> {
        self.find(name).map_err(|err| match err.kind() {
            ErrorKind::NotFound => Error::InvalidParameter(err.to_string()),
            _ => err,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses() {
        for good in ["02:42:ac:11:00:02", "02-42-AC-11-00-02", "0242.ac11.0002"] {
            assert!(is_mac(good), "{good}");
        }
        for bad in ["", "x", "02:42:ac:11:00", "02:42:ac:11:00:0g", "2:42:ac:11:00:02"] {
            assert!(!is_mac(bad), "{bad}");
        }
    }

    #[test]
    fn several_faults_are_several_lines() {
        assert_eq!(join(&["a".into()]), "a");
        assert_eq!(join(&["a\nb".into(), "c".into()]), "* a\n\tb\n* c");
    }
}
