//! Opening sockets on the host's side.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::sys::socket::sockopt;
use rustix::net::sockopt::{set_ipv6_v6only, set_socket_reuseaddr};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType};

use super::claims::{self, Others};
use super::wanted::Group;
use crate::model::ports::{Bound, Protocol};

/// How often any free port is looked for that is free at all addresses.
const TRIES: usize = 64;
/// How many connections may wait until they are accepted; the kernel has a limit of its own.
const BACKLOG: i32 = 4096;
/// Where the kernel says which ports a user without privileges may not have.
const PRIVILEGED: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";

/// A socket of the host's by which a container's port is reached.
#[derive(Debug)]
pub struct Listening {
    /// What it is for.
    pub bound: Bound,
    /// The container's address that it leads to.
    pub target: IpAddr,
    /// It listens, or receives.
    pub socket: OwnedFd,
}

/// Whether the host has IPv6: an address of it can be had.
pub fn host_has_ipv6() -> bool {
    socket(Protocol::Tcp, SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 0)).is_ok()
}

/// Opens all.
///
/// # Errors
/// Why one of them cannot be had, in dockerd's words.
pub fn all(groups: &[Group], others: &Others<'_>) -> Result<Vec<Listening>, String> {
    let mut opened = Vec::new();
    for group in groups {
        let more = one_of(group, &opened, others)?;
        opened.extend(more);
    }
    Ok(opened)
}

/// Opens a group: with the port that it asks for, with one of its range, or with any that is free.
fn one_of(group: &Group, own: &[Listening], others: &Others<'_>) -> Result<Vec<Listening>, String> {
    let is_ours = |address: IpAddr, port: u16| {
        own.iter().any(|own| claims::collide(&own.bound, group.protocol, address, port))
            || others.have(group.protocol, address, port)
    };
    let mut failed = None;
    let candidates: Box<dyn Iterator<Item = u16>> = match group.first {
        0 => Box::new(std::iter::repeat_n(0, TRIES)),
        first => Box::new(first..=group.last),
    };
    for candidate in candidates {
        let (way, port, error) = match at(group, candidate) {
            Ok(opened) => return Ok(opened),
            Err(failed) => failed,
        };
        let in_use = error.kind() == io::ErrorKind::AddrInUse;
        if group.first != 0 && group.first == group.last {
            return Err(match in_use && is_ours(way.0, port) {
                true => format!("Bind for {}:{port} failed: port is already allocated", way.0),
                false => refused(group, way, port, &error),
            });
        }
        if group.first == 0 || !in_use || !is_ours(way.0, port) {
            failed = Some(refused(group, way, port, &error));
        }
        if !in_use {
            break;
        }
    }
    Err(failed.unwrap_or_else(|| "all ports are allocated".to_owned()))
}

/// What failed: the way, the port, why.
type Failed = ((IpAddr, IpAddr), u16, io::Error);

/// Opens one port, which may be any, at all addresses of a group.
fn at(group: &Group, candidate: u16) -> Result<Vec<Listening>, Failed> {
    let mut opened = Vec::with_capacity(group.ways.len());
    let mut port = candidate;
    for way in &group.ways {
        let bound = socket(group.protocol, SocketAddr::new(way.0, port)).and_then(|socket| {
            let got = SocketAddr::try_from(net::getsockname(&socket)?)?;
            Ok((socket, got.port()))
        });
        match bound {
            Ok((socket, got)) => {
                port = got;
                let Group { port, protocol, .. } = *group;
                let bound = Bound { port, protocol, address: way.0, host_port: got };
                opened.push(Listening { bound, target: way.1, socket });
            }
            Err(error) => return Err((*way, port, error)),
        }
    }
    Ok(opened)
}

/// A socket that listens, or receives.
pub fn socket(protocol: Protocol, address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let kind = if protocol == Protocol::Udp { SocketType::DGRAM } else { SocketType::STREAM };
    let socket = net::socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    if address.is_ipv6() {
        set_ipv6_v6only(&socket, true)?;
    }
    if protocol == Protocol::Udp {
        // No reuse of addresses: there it would hide that somebody else has the port.
        net::bind(&socket, &address)?;
        // Which of the host's addresses a datagram is for: answers leave from that.
        match address.is_ipv6() {
            true => nix::sys::socket::setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
            false => nix::sys::socket::setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
        }
    } else {
        set_socket_reuseaddr(&socket, true)?;
        net::bind(&socket, &address)?;
        net::listen(&socket, BACKLOG)?;
    }
    Ok(socket)
}

/// As dockerd says that a port of the host cannot be had, and what mends it.
fn refused(group: &Group, (host, own): (IpAddr, IpAddr), port: u16, error: &io::Error) -> String {
    let plain = |address: IpAddr| match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    let asked = match (group.first, group.last) {
        (0, _) => String::new(),
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    };
    let one = if group.first == group.last { String::new() } else { format!("{port} ") };
    let protocol = group.protocol.as_str();
    let binding = format!("{}:{asked}:{}:{}/{protocol}", plain(host), plain(own), group.port);
    let why = match error.raw_os_error() {
        Some(errno) => Errno::from_raw(errno).desc().to_lowercase(),
        None => error.to_string(),
    };
    let mends = match error.kind() {
        io::ErrorKind::PermissionDenied if port != 0 => privileged(port),
        _ => String::new(),
    };
    format!("failed to bind host port {one}for {binding}: {why}{mends}")
}

fn privileged(port: u16) -> String {
    let first = fs::read_to_string(PRIVILEGED).unwrap_or_default();
    format!(
        ": ports below {} are the administrator's. `sysctl net.ipv4.ip_unprivileged_port_start={port}` lets every user \
         have this one; a line `net.ipv4.ip_unprivileged_port_start={port}` in a file in /etc/sysctl.d makes that last",
        first.trim()
    )
}
