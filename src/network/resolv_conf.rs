//! The text of a container's `resolv.conf`.
//!
//! A container with networks asks at 127.0.0.11, where its own monitor answers, on the default network, too: so it asks
//! those servers that the host has at the moment, wherever they listen. dockerd has the host's servers themselves there;
//! what takes them from the file, as a dockerd in a container does for its own default network, finds none here. Servers
//! that were asked for are in the file as they were, where there are no names to know.

use super::names::socket;
use super::plan::is_network;
use super::record::BRIDGE_ID;
use super::{resolvers, way_out};
use crate::model::networking::Endpoint;
use crate::state::container::ContainerRecord;

/// The text. `host` is that of the host; `served` says whether the container has a resolver.
pub fn text(record: &ContainerRecord, endpoints: &[Endpoint], host: &str, served: bool) -> String {
    let config = &record.host_config;
    let leads_out = is_network(&config.network_mode);
    let of_users = endpoints.iter().any(|endpoint| endpoint.network_id != BRIDGE_ID);
    let linked = endpoints.iter().any(|endpoint| !endpoint.links.is_empty());
    let asked = asked(&config.dns);
    let servers = match &asked {
        Some(servers) if !(leads_out && served && (of_users || linked)) => servers.clone(),
        _ if leads_out && served => vec![socket::ADDRESS.to_string()],
        _ if leads_out => match resolvers::reachable(host) {
            // They are asked through the way out.
            none if none.is_empty() => vec![way_out::RESOLVER.to_string()],
            servers => servers.into_iter().map(str::to_owned).collect(),
        },
        _ => resolvers::words(host, "nameserver").into_iter().map(str::to_owned).collect(),
    };
    let mut text = String::new();
    for server in servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    let search = self::asked(&config.dns_search).unwrap_or_else(|| search(host));
    // A lone dot asks for no search domain at all.
    if !search.is_empty() && search != ["."] {
        text.push_str(&format!("search {}\n", search.join(" ")));
    }
    let mut options = options(record, host);
    if leads_out && served && of_users {
        // A name of one label is a container's first of all.
        options.retain(|option| !option.starts_with("ndots") || dots(option).is_some());
        if !options.iter().any(|option| dots(option).is_some()) {
            options.push("ndots:0".to_owned());
        }
    }
    if !options.is_empty() {
        text.push_str(&format!("options {}\n", options.join(" ")));
    }
    text
}

/// Whether names of one label are completed by who asks: somebody has said how many dots make a name whole. As in dockerd
/// they are then not passed on as they are.
pub fn completes(record: &ContainerRecord, host: &str) -> bool {
    options(record, host).iter().any(|option| dots(option).is_some())
}

fn asked(list: &Option<Vec<String>>) -> Option<Vec<String>> {
    list.clone().filter(|list| !list.is_empty())
}

fn options(record: &ContainerRecord, host: &str) -> Vec<String> {
    let of_host = || resolvers::words(host, "options").into_iter().map(str::to_owned).collect();
    asked(&record.host_config.dns_options).unwrap_or_else(of_host)
}

/// How many dots make a name whole, if an option says so.
fn dots(option: &str) -> Option<u32> {
    option.strip_prefix("ndots:")?.parse().ok()
}

/// The host's search domains: the last line that has such.
fn search(host: &str) -> Vec<String> {
    let mut lines = host.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let last = lines.rfind(|words| words.len() > 1 && matches!(words[0], "search" | "domain"));
    last.map(|words| words[1..].iter().map(|word| (*word).to_owned()).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(network_id: &str) -> Endpoint {
        Endpoint { network_id: network_id.to_owned(), ..Endpoint::default() }
    }

    const HOST: &str =
        "# comment\nnameserver 10.0.0.1\nnameserver 127.0.0.53\ndomain x\nsearch a b\noptions trust-ad\n";
    const REST: &str = "search a b\noptions trust-ad\n";

    #[test]
    fn who_has_names_asks_its_own_resolver() {
        let mut record = ContainerRecord::default();
        let (bridge, own) = ([endpoint(BRIDGE_ID)], [endpoint(BRIDGE_ID), endpoint("n")]);
        assert_eq!(text(&record, &bridge, HOST, true), format!("nameserver 127.0.0.11\n{REST}"));
        let with_dots = "nameserver 127.0.0.11\nsearch a b\noptions trust-ad ndots:0\n";
        assert_eq!(text(&record, &own, HOST, true), with_dots);
        record.host_config.dns = Some(vec!["1.1.1.1".into()]);
        assert_eq!(text(&record, &bridge, HOST, true), format!("nameserver 1.1.1.1\n{REST}"));
        assert_eq!(text(&record, &own, HOST, true), with_dots);
        let link = crate::model::links::parse("db").expect("a link");
        let linked = [Endpoint { links: vec![link], ..endpoint(BRIDGE_ID) }];
        assert_eq!(text(&record, &linked, HOST, true), format!("nameserver 127.0.0.11\n{REST}"));
        assert!(!completes(&record, HOST) && completes(&record, "options ndots:1\n"));
        record.host_config.dns_options = Some(vec!["ndots:x".into(), "ndots:3".into()]);
        record.host_config.dns_search = Some(vec![".".into()]);
        assert_eq!(text(&record, &own, HOST, true), "nameserver 127.0.0.11\noptions ndots:3\n");
        assert!(completes(&record, ""));
    }

    #[test]
    fn without_a_resolver_the_request_goes_before_the_host() {
        let mut record = ContainerRecord::default();
        let text = |record: &ContainerRecord, host| text(record, &[], host, false);
        assert_eq!(text(&record, HOST), format!("nameserver 10.0.0.1\n{REST}"));
        let only_local = "nameserver 127.0.0.53\nnameserver ::1\n";
        assert_eq!(text(&record, only_local), "nameserver 169.254.2.3\n");
        record.host_config.network_mode = "host".into();
        assert_eq!(text(&record, only_local), only_local);
        record.host_config.dns = Some(vec!["1.1.1.1".into()]);
        assert_eq!(text(&record, HOST), format!("nameserver 1.1.1.1\n{REST}"));
    }
}
