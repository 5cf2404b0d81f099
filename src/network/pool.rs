//! Subnets for networks that ask for none.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use super::error::{Error, Result};
use crate::model::subnet::Subnet;

/// Docker's own: sixteen bits each out of 172.16.0.0/12, but for its first, then twenty out of 192.168.0.0/16.
const IPV4: [(&str, u8); 5] = [
    ("172.17.0.0/16", 16),
    ("172.18.0.0/15", 16),
    ("172.20.0.0/14", 16),
    ("172.24.0.0/13", 16),
    ("192.168.0.0/16", 20),
];

/// A subnet that overlaps neither with one of these nor with a route of the host's.
///
/// # Errors
/// There is none left.
pub fn choose_ipv4(taken: &[Subnet]) -> Result<Subnet> {
    let routes = host_routes();
    let free = |subnet: &Subnet| !taken.iter().chain(&routes).any(|other| other.overlaps(*subnet));
    let pools = IPV4.iter().filter_map(|(pool, size)| Some(pool.parse::<Subnet>().ok()?.split(*size)));
    pools
        .flatten()
        .find(free)
        .ok_or_else(|| Error::Forbidden("all predefined address pools have been fully subnetted".to_owned()))
}

/// A subnet of IPv6, of addresses that are this network's own wherever it is: `random` says which.
pub fn choose_ipv6(taken: &[Subnet], random: &[u8]) -> Option<Subnet> {
    let mut bytes = [0; 16];
    bytes[0] = 0xfd;
    bytes[1..8].iter_mut().zip(random).for_each(|(to, from)| *to = *from);
    let subnet = Subnet::of(IpAddr::from(bytes), 64)?;
    (!taken.iter().any(|other| other.overlaps(subnet))).then_some(subnet)
}

/// Where the host's own routes lead, but for the default one. To be asked for in the host's network namespace.
fn host_routes() -> Vec<Subnet> {
    let text = fs::read_to_string("/proc/thread-self/net/route").unwrap_or_default();
    text.lines().skip(1).filter_map(route).collect()
}

/// A line of /proc/net/route: interface, destination, gateway, flags, three numbers, mask; in the kernel's byte order.
fn route(line: &str) -> Option<Subnet> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    // The kernel prints the number whose bytes in memory are the address.
    let hex = |field: &str| u32::from_str_radix(field, 16).ok().map(|number| u32::from_be_bytes(number.to_ne_bytes()));
    let destination = hex(fields.next()?)?;
    let mask = hex(fields.nth(5)?)?;
    let prefix = u8::try_from(mask.leading_ones()).ok().filter(|prefix| *prefix > 0)?;
    Subnet::of(Ipv4Addr::from_bits(destination).into(), prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_read() {
        let read = |line| route(line).map(|subnet| subnet.to_string());
        let line = "eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0";
        assert_eq!(read(line), Some("172.17.0.0/16".to_owned()));
        assert_eq!(read("eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0"), None);
        assert_eq!(read("nonsense"), None);
    }

    #[test]
    fn what_is_taken_is_passed_over() {
        let first = choose_ipv4(&[]).expect("free");
        let second = choose_ipv4(&[first]).expect("free");
        assert!(!first.overlaps(second));
        let all = ["172.16.0.0/12", "192.168.0.0/16"].map(|text| text.parse().expect("subnet"));
        assert!(choose_ipv4(&all).is_err());
        let own = choose_ipv6(&[], &[1, 2, 3, 4, 5, 6, 7]).expect("free");
        assert_eq!(own.to_string(), "fd01:203:405:607::/64");
        assert_eq!(choose_ipv6(&[own], &[1, 2, 3, 4, 5, 6, 7]), None);
    }
}
