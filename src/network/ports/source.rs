//! As whom a container sees the client of a published port.

use std::net::{IpAddr, SocketAddr};

use crate::model::subnet::Subnet;

/// From where the connection to the container is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// From inside the container, with the client's own address, which is nobody's there: answers to it are kept inside.
    Client,
    /// From inside the container, with this address of the loopback interface.
    Loopback(IpAddr),
    /// From the bridge, with its address.
    Bridge,
}

/// As whom a client is seen by a container that has these subnets at the address to which the port leads. Answers to
/// who is, or might be, in one of its networks would not come back if they were kept.
pub fn source(client: SocketAddr, target: IpAddr, subnets: &[Subnet]) -> Source {
    let address = client.ip().to_canonical();
    if address.is_loopback() {
        return Source::Loopback(match (address, target) {
            (IpAddr::V6(_), IpAddr::V4(_)) => std::net::Ipv4Addr::LOCALHOST.into(),
            _ => address,
        });
    }
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast(),
    };
    let other_kind = address.is_ipv6() != target.is_ipv6();
    match link_local || other_kind || subnets.iter().any(|subnet| subnet.contains(address)) {
        true => Source::Bridge,
        false => Source::Client,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_client() {
        let subnets = ["172.17.0.0/16", "fd00::/64"].map(|text| text.parse::<Subnet>().expect("subnet"));
        let (v4, v6) = ("172.17.0.2", "fd00::2");
        let loopback = |text: &str| Source::Loopback(text.parse().expect("address"));
        for (client, target, seen) in [
            ("192.0.2.7:5", v4, Source::Client),
            ("[2001:db8::7]:5", v6, Source::Client),
            ("[2001:db8::7]:5", v4, Source::Bridge),
            ("127.0.0.1:5", v4, loopback("127.0.0.1")),
            ("127.0.0.9:5", v4, loopback("127.0.0.9")),
            ("[::1]:5", v6, loopback("::1")),
            ("[::1]:5", v4, loopback("127.0.0.1")),
            ("172.17.0.9:5", v4, Source::Bridge),
            ("[fd00::9]:5", v6, Source::Bridge),
            ("169.254.2.1:5", v4, Source::Bridge),
            ("[fe80::1]:5", v6, Source::Bridge),
        ] {
            let seen_as = source(client.parse().expect("address"), target.parse().expect("address"), &subnets);
            assert_eq!(seen_as, seen, "{client} to {target}");
        }
    }
}
