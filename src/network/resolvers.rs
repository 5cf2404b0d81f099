//! The host's resolvers, as containers can use them.

use std::net::IpAddr;

/// The words behind a keyword of a resolv.conf.
pub fn words<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(key));
    lines.filter(|rest| rest.starts_with([' ', '\t'])).flat_map(str::split_whitespace).collect()
}

/// Those of a resolv.conf that containers reach by the way out. None: they answer on the host's loopback only.
pub fn reachable(text: &str) -> Vec<&str> {
    let reaches =
        |server: &&str| server.parse().is_ok_and(|address: IpAddr| address.is_ipv4() && !address.is_loopback());
    words(text, "nameserver").into_iter().filter(reaches).collect()
}
