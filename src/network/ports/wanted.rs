//! What a container publishes, as the addresses of the host that are to be listened at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::ports::{self, Protocol, Published};
use crate::state::container::ContainerRecord;

/// A port of the container that is to be reached at several addresses of the host by one and the same number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The container's port.
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// First port on the host; 0: any free one.
    pub first: u16,
    /// Last port on the host.
    pub last: u16,
    /// Each address of the host, and the container's that it leads to.
    pub ways: Vec<(IpAddr, IpAddr)>,
}

/// Where the container is, and where the host is reached.
#[derive(Debug)]
pub struct Place {
    /// The container's IPv4 address, by which it is reached.
    pub v4: Option<IpAddr>,
    /// Its IPv6 address.
    pub v6: Option<IpAddr>,
    /// Whether both are of one network: then IPv6 on the host may lead to IPv4 in the container.
    pub one_network: bool,
    /// The address of the host where none is asked for.
    pub default: IpAddr,
    /// Whether the host has IPv6.
    pub host_has_ipv6: bool,
}

/// Why a protocol cannot be published.
///
/// # Errors
/// It is SCTP.
pub fn unsupported(published: &[Published]) -> Result<(), String> {
    match published.iter().find(|published| published.protocol == Protocol::Sctp) {
        Some(published) => Err(format!("port {}/sctp cannot be published: SCTP is not supported", published.port)),
        None => Ok(()),
    }
}

/// What a container publishes, in the order in which it is taken: fixed ports first, so that none of them is taken as
/// any port; what differs by the host's address only comes together.
///
/// # Errors
/// What is not supported.
pub fn wanted(record: &ContainerRecord) -> Result<Vec<Published>, String> {
    let mut all = record.settings()?.ports.clone();
    if record.host_config.publish_all_ports {
        for (port, protocol) in
            record.config.exposed_ports.iter().flatten().filter_map(|(text, _)| ports::exposed(text))
        {
            if !all.iter().any(|known| (known.port, known.protocol) == (port, protocol)) {
                all.push(Published { port, protocol, address: None, first: 0, last: 0 });
            }
        }
    }
    unsupported(&all)?;
    let is_range = |one: &Published| one.first == 0 || one.first != one.last;
    all.sort_by_key(|one| (is_range(one), one.port, one.protocol, one.first, one.last, one.address));
    Ok(all)
}

/// The addresses for what is published, which is in order.
pub fn groups(published: &[Published], place: &Place) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for one in published {
        let hosts = match one.address {
            Some(address) => vec![address],
            None if place.default == IpAddr::V4(Ipv4Addr::UNSPECIFIED) && place.host_has_ipv6 => {
                vec![place.default, Ipv6Addr::UNSPECIFIED.into()]
            }
            None => vec![place.default],
        };
        let leads = |host: IpAddr| match host {
            IpAddr::V4(_) => place.v4,
            IpAddr::V6(_) => place.v6.or(place.v4.filter(|_| place.one_network)),
        };
        let ways = hosts.into_iter().filter_map(|host| Some((host, leads(host)?)));
        let Published { port, protocol, first, last, .. } = *one;
        match groups.last_mut() {
            Some(group) if (group.port, group.protocol, group.first, group.last) == (port, protocol, first, last) => {
                group.ways.extend(ways);
            }
            _ => groups.push(Group { port, protocol, first, last, ways: ways.collect() }),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::host_config::PortBinding;

    fn record(bindings: &[(&str, &str, &str)]) -> ContainerRecord {
        let mut record = ContainerRecord::default();
        let map = record.host_config.port_bindings.get_or_insert_default();
        for (port, ip, host) in bindings {
            let binding = PortBinding { host_ip: (*ip).to_owned(), host_port: (*host).to_owned() };
            map.entry((*port).to_owned()).or_default().get_or_insert_default().push(binding);
        }
        record
    }

    fn place() -> Place {
        let (v4, v6) = (Some("172.17.0.2".parse().expect("address")), None);
        Place { v4, v6, one_network: true, default: Ipv4Addr::UNSPECIFIED.into(), host_has_ipv6: true }
    }

    fn shown(record: &ContainerRecord, place: &Place) -> Vec<String> {
        let groups = groups(&wanted(record).expect("supported"), place);
        let shown = groups.iter().map(|group| {
            let ways: Vec<String> = group.ways.iter().map(|(host, own)| format!("{host}>{own}")).collect();
            let (first, last) = (group.first, group.last);
            format!("{}/{} {first}-{last} {}", group.port, group.protocol.as_str(), ways.join(" "))
        });
        shown.collect()
    }

    #[test]
    fn fixed_ports_first_and_one_number_on_all_addresses() {
        let both = "0.0.0.0>172.17.0.2 ::>172.17.0.2";
        let mut some = record(&[
            ("80/tcp", "", ""),
            ("81/tcp", "127.0.0.1", "8080"),
            ("81/tcp", "::1", "8080"),
            ("53/udp", "", "5300-5400"),
        ]);
        let expected = [
            "81/tcp 8080-8080 127.0.0.1>172.17.0.2 ::1>172.17.0.2".to_owned(),
            format!("53/udp 5300-5400 {both}"),
            format!("80/tcp 0-0 {both}"),
        ];
        assert_eq!(shown(&some, &place()), expected);
        some.host_config.publish_all_ports = true;
        some.config.exposed_ports = Some(
            [("80/tcp", Default::default()), ("7/udp", Default::default())].map(|(k, v)| (k.to_owned(), v)).into(),
        );
        assert_eq!(shown(&some, &place())[1], format!("7/udp 0-0 {both}"));
        assert_eq!(shown(&some, &place()).len(), 4);
    }

    #[test]
    fn addresses_follow_what_the_host_and_the_container_have() {
        let some = record(&[("80/tcp", "", "8080")]);
        let ways = |place: Place| shown(&some, &place)[0].split_once("8080-8080 ").expect("it").1.to_owned();
        assert_eq!(ways(Place { host_has_ipv6: false, ..place() }), "0.0.0.0>172.17.0.2");
        let v6 = Some("fd00::2".parse().expect("address"));
        assert_eq!(ways(Place { v6, ..place() }), "0.0.0.0>172.17.0.2 ::>fd00::2");
        assert_eq!(ways(Place { v6, v4: None, ..place() }), "::>fd00::2");
        let default = "127.0.0.1".parse().expect("address");
        assert_eq!(ways(Place { default, ..place() }), "127.0.0.1>172.17.0.2");
        assert_eq!(ways(Place { one_network: false, ..place() }), "0.0.0.0>172.17.0.2");
    }

    #[test]
    fn sctp_is_refused() {
        let why = wanted(&record(&[("80/sctp", "", "")])).expect_err("refused");
        assert!(why.contains("SCTP is not supported"), "{why}");
    }
}
