//! Subnets of either version of IP, and the addresses in them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Addresses with a common beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subnet {
    /// The first of them.
    address: IpAddr,
    /// How many bits they have in common.
    prefix: u8,
}

/// A text that is no subnet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid CIDR address: {0}")]
pub struct NoSubnet(pub String);

impl Subnet {
    /// The subnet of this size that an address is in; none if there is no such size.
    pub fn of(address: IpAddr, prefix: u8) -> Option<Self> {
        let bits = bits_of(address);
        (prefix <= bits).then(|| {
            let subnet = Self { address, prefix };
            Self { address: from_number(number(address) & !subnet.host_mask(), address), prefix }
        })
    }

    /// Its first address.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// How many bits its addresses have in common.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether it is of IPv6.
    pub fn is_ipv6(self) -> bool {
        self.address.is_ipv6()
    }

    /// Whether an address is in it.
    pub fn contains(self, address: IpAddr) -> bool {
        self.is_ipv6() == address.is_ipv6() && number(address) & !self.host_mask() == number(self.address)
    }

    /// Whether an address is in both.
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }

    /// Its address with this number; none behind the last.
    pub fn nth(self, n: u128) -> Option<IpAddr> {
        (n <= self.host_mask()).then(|| from_number(number(self.address) + n, self.address))
    }

    /// The number of its last address.
    pub fn last(self) -> u128 {
        self.host_mask()
    }

    /// The subnets of that size in it, from the first on.
    pub fn split(self, prefix: u8) -> impl Iterator<Item = Self> {
        let bits = bits_of(self.address);
        let fits = prefix >= self.prefix && prefix <= bits;
        let step = if fits { 1u128.checked_shl(u32::from(bits - prefix)).unwrap_or(0) } else { 0 };
        let count = if fits { 1u128.checked_shl(u32::from(prefix - self.prefix)).unwrap_or(u128::MAX) } else { 0 };
        (0..count).map_while(move |n| Self::of(self.nth(n.checked_mul(step)?)?, prefix))
    }

    /// The bits in which its addresses differ.
    fn host_mask(self) -> u128 {
        let free = u32::from(bits_of(self.address) - self.prefix);
        1u128.checked_shl(free).map_or(u128::MAX, |size| size - 1)
    }
}

fn bits_of(address: IpAddr) -> u8 {
    if address.is_ipv6() { 128 } else { 32 }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The address with this number, of the same version as another one.
fn from_number(number: u128, like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(number).into(),
    }
}

impl FromStr for Subnet {
    type Err = NoSubnet;

    /// `10.0.0.0/8`; an address inside stands for the whole subnet.
    fn from_str(text: &str) -> Result<Self, NoSubnet> {
        let read = || {
            let (address, prefix) = text.split_once('/')?;
            let digits = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
            Self::of(address.parse().ok()?, prefix.parse().ok().filter(|_| digits)?)
        };
        read().ok_or_else(|| NoSubnet(text.to_owned()))
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Serialize for Subnet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Subnet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().expect("a subnet")
    }

    #[test]
    fn texts() {
        assert_eq!(subnet("172.17.3.4/16").to_string(), "172.17.0.0/16");
        assert_eq!(subnet("fd00::1/64").to_string(), "fd00::/64");
        for text in ["", "1.2.3.4", "1.2.3.4/", "1.2.3.4/33", "1.2.3.4/+8", "x/8", "::/129", "1.2.3/8"] {
            assert!(text.parse::<Subnet>().is_err(), "{text}");
        }
        crate::model::every_text("1/:. ", 6, &mut |text| drop(text.parse::<Subnet>()));
    }

    #[test]
    fn what_is_in_it() {
        let net = subnet("10.1.0.0/30");
        assert_eq!(net.nth(3).map(|address| address.to_string()), Some("10.1.0.3".to_owned()));
        assert_eq!((net.nth(4), net.last()), (None, 3));
        assert!(net.overlaps(subnet("10.0.0.0/8")));
        assert!(!net.overlaps(subnet("10.1.0.4/30")));
        assert!(!subnet("0.0.0.0/0").overlaps(subnet("::/0")));
        assert!(subnet("0.0.0.0/0").contains("255.255.255.255".parse().expect("address")));
        assert_eq!(subnet("::/0").last(), u128::MAX);
    }

    #[test]
    fn is_split() {
        let parts: Vec<String> = subnet("10.0.0.0/14").split(16).map(|net| net.to_string()).collect();
        assert_eq!(parts, ["10.0.0.0/16", "10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16"]);
        assert_eq!(subnet("10.0.0.0/16").split(16).count(), 1);
        assert_eq!(subnet("10.0.0.0/16").split(8).count(), 0);
        assert_eq!(subnet("fd00::/48").split(64).count(), 65536);
        assert_eq!(subnet("0.0.0.0/0").split(0).count(), 1);
    }
}
