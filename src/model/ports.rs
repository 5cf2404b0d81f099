//! Ports that a container publishes.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::host_config::PortMap;

/// A transport protocol with ports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// Docker's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// Reads it; nothing is TCP.
    fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "" | "tcp" => Some(Self::Tcp),
            "udp" => Some(Self::Udp),
            "sctp" => Some(Self::Sctp),
            _ => None,
        }
    }
}

/// A port of a running container, and one place on the host where it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// The container's port.
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// Address on the host, which may be the unspecified one: every one of its kind.
    pub address: IpAddr,
    /// Port on the host.
    pub host_port: u16,
}

/// A port of the container, and where on the host it can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The container's port.
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// Address on the host; none: every one.
    pub address: Option<IpAddr>,
    /// First port on the host; 0: any free one.
    pub first: u16,
    /// Last port of the range on the host out of which one is taken.
    pub last: u16,
}

/// Splits `80/tcp` into port and protocol; without one it is `tcp`.
pub fn split(text: &str) -> (&str, &str) {
    let mut parts = text.split('/');
    let port = parts.next().unwrap_or_default();
    match parts.next() {
        _ if port.is_empty() => ("", ""),
        None | Some("") => (port, "tcp"),
        Some(protocol) => (port, protocol),
    }
}

/// Reads the ports of a request.
///
/// # Errors
/// Docker's text for what is no port, no protocol or no address.
pub fn parse(map: &PortMap) -> Result<Vec<Published>, String> {
    let mut published = Vec::new();
    for (key, bindings) in map {
        let (text, protocol) = split(key);
        let port = number(text).ok_or_else(|| invalid(text))?;
        let protocol = Protocol::parse(protocol).ok_or_else(|| format!("invalid proto: {protocol}"))?;
        for binding in bindings.iter().flatten() {
            let (first, last) = range(split(&binding.host_port).0).ok_or_else(|| invalid(&binding.host_port))?;
            let address = match binding.host_ip.as_str() {
                "" => None,
                text => Some(text.parse().map_err(|_| format!("invalid IP address: {text}"))?),
            };
            published.push(Published { port, protocol, address, first, last });
        }
    }
    Ok(published)
}

/// Reads a port that an image or a creator exposes, as `80/tcp`; none if it is none.
pub fn exposed(text: &str) -> Option<(u16, Protocol)> {
    let (port, protocol) = split(text);
    Some((number(port).filter(|port| *port != 0)?, Protocol::parse(protocol)?))
}

/// Reads a port or a range of them, as `80/tcp` or `80-90/udp`.
pub fn parse_range(text: &str) -> Option<(RangeInclusive<u16>, Protocol)> {
    let (ports, protocol) = split(text);
    let (first, last) = range(ports).filter(|_| !ports.is_empty())?;
    Some((first..=last, Protocol::parse(protocol)?))
}

fn invalid(text: &str) -> String {
    format!("invalid port specification: {text:?}")
}

/// As Go reads an unsigned number: digits only. Nothing is 0.
fn number(text: &str) -> Option<u16> {
    if text.is_empty() {
        return Some(0);
    }
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// `80` or `80-90`.
fn range(text: &str) -> Option<(u16, u16)> {
    let mut parts = text.split('-');
    let first = parts.next().unwrap_or_default();
    match parts.next() {
        None => number(first).map(|port| (port, port)),
        Some(last) if !first.is_empty() && !last.is_empty() => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some((first, last))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::host_config::PortBinding;

    fn read(key: &str, host_port: &str) -> Result<Vec<Published>, String> {
        let binding = PortBinding { host_ip: String::new(), host_port: host_port.to_owned() };
        parse(&[(key.to_owned(), Some(vec![binding]))].into())
    }

    #[test]
    fn spellings() {
        let one = |key, host: &str| {
            let all = read(key, host).expect("reads");
            (all[0].port, all[0].protocol, all[0].first, all[0].last)
        };
        assert_eq!(one("80/tcp", "8080"), (80, Protocol::Tcp, 8080, 8080));
        assert_eq!(one("53/UDP", ""), (53, Protocol::Udp, 0, 0));
        assert_eq!(one("80", "8000-8010"), (80, Protocol::Tcp, 8000, 8010));
        assert_eq!(one("80", "80/udp"), (80, Protocol::Tcp, 80, 80));
        for (key, host) in [("x", "1"), ("99999", "1"), ("80-90", "1"), ("80/beer", "1"), (" 80", "1")] {
            assert!(read(key, host).is_err(), "{key}");
        }
        for host in ["x", "90-80", "-", "-1", "1-", "+8", " 8", "65536"] {
            assert_eq!(read("80", host), Err(format!("invalid port specification: {host:?}")));
        }
    }

    #[test]
    fn no_text_panics() {
        crate::model::every_text("9-/é +", 5, &mut |text| drop((read(text, "1"), read("1", text))));
    }
}
