//! Which answers of a container's published ports stay inside: those to clients whose connections come from inside.
//!
//! ```text
//! ip rule  100  from all lookup main suppress_prefixlength 0       who is in one of its networks is reached there
//! ip rule  101  from all ipproto tcp sport 80 lookup 100           any other answer
//! ip rule  101  from all ipproto udp sport 53 lookup 101           an answer to a client of now
//! ip route      local default dev lo table 100 src ADDRESS         is for this host itself
//! ip route      local CLIENT dev lo table 101 src ADDRESS          and so is this
//! ```
//!
//! A program that is reached by TCP at a port does not connect from it, as a rule. One that is reached by UDP does send
//! from the same port to whom it likes: only what is for clients of now may stay inside.

use std::io;
use std::net::IpAddr;

use super::super::link::{self, Links, Step};
use crate::model::ports::{Bound, Protocol};

/// The table of routes for answers by TCP.
const ALL: u8 = 100;
/// That for answers by UDP.
const CLIENTS: u8 = 101;

/// What makes that so, for ports that lead to these addresses of the container.
pub fn routes(published: &[Bound], addresses: [Option<IpAddr>; 2]) -> Vec<Step> {
    let [tcp, udp] = [Protocol::Tcp, Protocol::Udp].map(|protocol| ranges(published, protocol));
    let mut steps = Vec::new();
    for address in addresses.into_iter().flatten().filter(|_| !published.is_empty()) {
        let ipv6 = address.is_ipv6();
        steps.push(link::neighbours_first(ipv6));
        if !tcp.is_empty() {
            steps.push(link::everything_is_here(ALL, address));
        }
        steps.extend(tcp.iter().map(|range| link::lookup_from(ipv6, Protocol::Tcp, *range, ALL)));
        steps.extend(udp.iter().map(|range| link::lookup_from(ipv6, Protocol::Udp, *range, CLIENTS)));
    }
    steps
}

/// The container's published ports of a protocol, each first and last of those that follow one another.
fn ranges(published: &[Bound], protocol: Protocol) -> Vec<(u16, u16)> {
    let of_it = published.iter().filter(|bound| bound.protocol == protocol);
    let mut ports: Vec<u16> = of_it.map(|bound| bound.port).collect();
    ports.sort_unstable();
    ports.dedup();
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for port in ports {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(port) => *last = port,
            _ => ranges.push((port, port)),
        }
    }
    ranges
}

/// Clients by UDP, as the kernel of one network namespace knows them.
#[derive(Debug)]
pub struct Clients(Links);

impl Clients {
    /// Of the namespace that this task is in.
    ///
    /// # Errors
    /// Those of socket(2).
    pub fn here() -> io::Result<Self> {
        Links::here().map(Self)
    }

    /// Keeps inside what this address of the container's answers to a client.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn keep(&mut self, address: IpAddr, client: IpAddr) -> io::Result<()> {
        self.0.take(vec![link::is_here(CLIENTS, address, client)]).map(drop)
    }

    /// The client is none any more.
    pub fn let_go(&mut self, address: IpAddr, client: IpAddr) {
        // With the namespace it has gone before.
        let _ = self.0.take(vec![link::is_not_here(CLIENTS, address, client)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_that_follow_one_another_are_one_rule() {
        let bound = |port, protocol| Bound { port, protocol, address: [0, 0, 0, 0].into(), host_port: 1 };
        let tcp = [82, 80, 81, 90, 80, u16::MAX].map(|port| bound(port, Protocol::Tcp));
        let all = [&tcp[..], &[bound(83, Protocol::Udp)]].concat();
        assert_eq!(ranges(&all, Protocol::Tcp), [(80, 82), (90, 90), (u16::MAX, u16::MAX)]);
        assert_eq!(ranges(&all, Protocol::Udp), [(83, 83)]);
        assert!(routes(&[], [Some([10, 0, 0, 2].into()), None]).is_empty());
    }
}
