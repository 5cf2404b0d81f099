//! Which answers of a container's published ports stay inside: those to clients whose connections come from inside.
//!
//! ```text
//! ip rule  100  from all lookup main suppress_prefixlength 0       who is in one of its networks is reached there
//! ip rule  101  from all ipproto tcp sport 80 lookup 100           any other answer
//! ip route      local default dev lo table 100 src ADDRESS         is for this host itself
//! ```

use std::net::IpAddr;

use super::super::link::{self, Step};
use crate::model::ports::{Bound, Protocol};

/// The table of routes for answers.
const TABLE: u8 = 100;

/// What makes that so, for ports that lead to these addresses of the container.
pub fn routes(published: &[Bound], addresses: [Option<IpAddr>; 2]) -> Vec<Step> {
    let mut ports: Vec<u16> =
        published.iter().filter(|bound| bound.protocol == Protocol::Tcp).map(|bound| bound.port).collect();
    ports.sort_unstable();
    ports.dedup();
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for port in ports {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(port) => *last = port,
            _ => ranges.push((port, port)),
        }
    }
    let mut steps = Vec::new();
    for address in addresses.into_iter().flatten().filter(|_| !ranges.is_empty()) {
        let ipv6 = address.is_ipv6();
        steps.push(link::everything_is_here(TABLE, address));
        steps.push(link::neighbours_first(ipv6));
        steps.extend(ranges.iter().map(|range| link::tcp_from(ipv6, *range, TABLE)));
    }
    steps
}
