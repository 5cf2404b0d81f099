//! Interfaces, addresses and routes, by netlink: one socket speaks of the network namespace in which it was opened.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{
    InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo,
    LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage, RulePortRange};
use netlink_packet_route::{AddressFamily, IpProtocol, RouteNetlinkMessage};

use crate::model::ports::Protocol;
use crate::sys::netlink::{self, Socket, messages};

/// A hardware address.
pub type Mac = [u8; 6];

/// The loopback interface's number.
pub const LOOPBACK: u32 = 1;

/// A pair of interfaces to make: one on a bridge, one in a container.
#[derive(Debug)]
pub struct Pair<'a> {
    /// The bridge's number.
    pub bridge: u32,
    /// The name of the end on the bridge.
    pub outside: &'a str,
    /// The name of the container's end.
    pub inside: &'a str,
    /// The number that the container's end has there.
    pub index: u32,
    /// The container's network namespace.
    pub namespace: BorrowedFd<'a>,
    /// The hardware address of the container's end.
    pub mac: Mac,
    /// The largest packet, in bytes.
    pub mtu: u32,
}

/// A change, or a question.
#[derive(Debug)]
pub struct Step {
    message: RouteNetlinkMessage,
    flags: u16,
}

/// Asks the kernel of one network namespace.
#[derive(Debug)]
pub struct Links {
    socket: Socket,
    number: u32,
}

impl Links {
    /// Of the namespace that this process is in.
    ///
    /// # Errors
    /// Those of socket(2).
    pub fn here() -> io::Result<Self> {
        Ok(Self { socket: Socket::open(netlink::Protocol::Route, 0)?, number: 0 })
    }

    /// Has the kernel do these things in their order, all in one go. Gives its answers to questions among them.
    ///
    /// # Errors
    /// The kernel's to the first that it refuses.
    pub fn take(&mut self, steps: Vec<Step>) -> io::Result<Vec<RouteNetlinkMessage>> {
        let first = self.number + 1;
        let mut bytes = Vec::with_capacity(512);
        for step in steps {
            self.number += 1;
            let mut message = NetlinkMessage::from(step.message);
            message.header.flags = NLM_F_REQUEST | NLM_F_ACK | step.flags;
            message.header.sequence_number = self.number;
            message.finalize();
            let start = bytes.len();
            bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
            message.serialize(&mut bytes[start..]);
        }
        let answers = self.socket.exchange(&bytes, first, self.number)?;
        let read = |(_, _, bytes): (u16, u32, &[u8])| match NetlinkMessage::deserialize(bytes).ok()?.payload {
            NetlinkPayload::InnerMessage(message) => Some(message),
            _ => None,
        };
        Ok(messages(&answers).filter_map(read).collect())
    }

    /// The number of an interface, and whether it is up; none if there is none of this name.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn find(&mut self, name: &str) -> io::Result<Option<(u32, bool)>> {
        let mut question = LinkMessage::default();
        question.attributes.push(LinkAttribute::IfName(name.to_owned()));
        let asked = self.take(vec![Step { message: RouteNetlinkMessage::GetLink(question), flags: 0 }]);
        match asked {
            Err(err) if err.raw_os_error() == Some(nix::libc::ENODEV) => Ok(None),
            other => Ok(other?.into_iter().find_map(|answer| match answer {
                RouteNetlinkMessage::NewLink(link) => {
                    Some((link.header.index, link.header.flags.contains(LinkFlags::Up)))
                }
                _ => None,
            })),
        }
    }

    /// Whether there is a route to an address.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn reaches(&mut self, address: IpAddr) -> io::Result<bool> {
        use nix::libc::{EHOSTUNREACH, ENETUNREACH};
        let mut question = RouteMessage::default();
        question.header.address_family = family(address);
        question.header.destination_prefix_length = bits(address);
        question.attributes.push(RouteAttribute::Destination(RouteAddress::from(address)));
        match self.take(vec![Step { message: RouteNetlinkMessage::GetRoute(question), flags: 0 }]) {
            Err(err) if matches!(err.raw_os_error(), Some(ENETUNREACH | EHOSTUNREACH)) => Ok(false),
            other => other.map(|_| true),
        }
    }
}

/// A new bridge, not up yet.
pub fn bridge(name: &str, mac: Mac, mtu: u32) -> Step {
    let mut link = LinkMessage::default();
    link.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
        LinkAttribute::Address(mac.to_vec()),
        LinkAttribute::Mtu(mtu),
    ];
    Step { message: RouteNetlinkMessage::NewLink(link), flags: NLM_F_CREATE | NLM_F_EXCL }
}

/// A new pair, of which the end on the bridge is up.
pub fn pair(pair: &Pair<'_>) -> Step {
    let mut inside = LinkMessage::default();
    inside.header.index = pair.index;
    inside.attributes = vec![
        LinkAttribute::IfName(pair.inside.to_owned()),
        LinkAttribute::Address(pair.mac.to_vec()),
        LinkAttribute::Mtu(pair.mtu),
        LinkAttribute::NetNsFd(pair.namespace.as_raw_fd()),
    ];
    let mut outside = LinkMessage::default();
    outside.header.flags = LinkFlags::Up;
    outside.header.change_mask = LinkFlags::Up;
    let info = vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(inside)))];
    outside.attributes = vec![
        LinkAttribute::IfName(pair.outside.to_owned()),
        LinkAttribute::Mtu(pair.mtu),
        LinkAttribute::Controller(pair.bridge),
        LinkAttribute::LinkInfo(info),
    ];
    Step { message: RouteNetlinkMessage::NewLink(outside), flags: NLM_F_CREATE | NLM_F_EXCL }
}

/// A port of a bridge reaches the bridge itself only, not its other ports that are apart.
pub fn apart(port: u32) -> Step {
    let mut link = LinkMessage::default();
    link.header.index = port;
    link.attributes = vec![LinkAttribute::LinkInfo(vec![
        LinkInfo::PortKind(InfoPortKind::Bridge),
        LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::Isolated(true)])),
    ])];
    // What SetLink does not look at.
    Step { message: RouteNetlinkMessage::NewLink(link), flags: 0 }
}

/// An interface comes up.
pub fn up(index: u32) -> Step {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    Step { message: RouteNetlinkMessage::SetLink(link), flags: 0 }
}

/// An interface goes.
pub fn gone(index: u32) -> Step {
    let mut link = LinkMessage::default();
    link.header.index = index;
    Step { message: RouteNetlinkMessage::DelLink(link), flags: 0 }
}

/// An interface gets an address, or keeps it.
pub fn address(index: u32, address: IpAddr, prefix: u8) -> Step {
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.prefix_len = prefix;
    message.header.index = index;
    message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    match address {
        // Nobody else has it, which leases see to: it can be used at once.
        IpAddr::V6(_) => message.header.flags = AddressHeaderFlags::Nodad,
        IpAddr::V4(v4) if prefix < 31 => {
            let last = v4.to_bits() | (u32::MAX >> prefix);
            message.attributes.push(AddressAttribute::Broadcast(last.into()));
        }
        IpAddr::V4(_) => {}
    }
    Step { message: RouteNetlinkMessage::NewAddress(message), flags: NLM_F_CREATE | NLM_F_REPLACE }
}

/// Everything without a better way goes through this gateway.
pub fn default_route(index: u32, gateway: IpAddr) -> Step {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: family(gateway),
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Boot,
        scope: RouteScope::Universe,
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    message.attributes = vec![RouteAttribute::Oif(index), RouteAttribute::Gateway(RouteAddress::from(gateway))];
    Step { message: RouteNetlinkMessage::NewRoute(message), flags: NLM_F_CREATE | NLM_F_REPLACE }
}

/// In this table every address is this host's own; what is sent from none has this one.
pub fn everything_is_here(table: u8, source: IpAddr) -> Step {
    Step { message: RouteNetlinkMessage::NewRoute(local(table, source, None)), flags: NLM_F_CREATE | NLM_F_REPLACE }
}

/// In this table an address is this host's own.
pub fn is_here(table: u8, source: IpAddr, address: IpAddr) -> Step {
    let message = RouteNetlinkMessage::NewRoute(local(table, source, Some(address)));
    Step { message, flags: NLM_F_CREATE | NLM_F_REPLACE }
}

/// It is not any more.
pub fn is_not_here(table: u8, source: IpAddr, address: IpAddr) -> Step {
    Step { message: RouteNetlinkMessage::DelRoute(local(table, source, Some(address))), flags: 0 }
}

fn local(table: u8, source: IpAddr, address: Option<IpAddr>) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: family(source),
        destination_prefix_length: address.map_or(0, bits),
        table,
        protocol: RouteProtocol::Boot,
        scope: if source.is_ipv6() { RouteScope::Universe } else { RouteScope::Host },
        kind: RouteType::Local,
        ..RouteHeader::default()
    };
    let attributes = [RouteAttribute::Oif(LOOPBACK), RouteAttribute::PrefSource(RouteAddress::from(source))];
    let destination = address.map(|address| RouteAttribute::Destination(RouteAddress::from(address)));
    message.attributes = destination.into_iter().chain(attributes).collect();
    message
}

/// What has a better route than the default one takes that, before any other rule is asked.
pub fn neighbours_first(ipv6: bool) -> Step {
    rule(ipv6, 100, RouteHeader::RT_TABLE_MAIN, vec![RuleAttribute::SuppressPrefixLen(0)])
}

/// What comes from one of these ports is looked up in this table.
pub fn lookup_from(ipv6: bool, protocol: Protocol, (start, end): (u16, u16), table: u8) -> Step {
    let protocol = if protocol == Protocol::Udp { IpProtocol::Udp } else { IpProtocol::Tcp };
    let ports = RuleAttribute::SourcePortRange(RulePortRange { start, end });
    rule(ipv6, 101, table, vec![RuleAttribute::IpProtocol(protocol), ports])
}

fn rule(ipv6: bool, priority: u32, table: u8, mut attributes: Vec<RuleAttribute>) -> Step {
    let mut message = RuleMessage::default();
    message.header.family = if ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    message.header.action = RuleAction::ToTable;
    message.header.table = table;
    attributes.push(RuleAttribute::Priority(priority));
    message.attributes = attributes;
    Step { message: RouteNetlinkMessage::NewRule(message), flags: NLM_F_CREATE | NLM_F_EXCL }
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv6() { 128 } else { 32 }
}
