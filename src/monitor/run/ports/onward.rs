//! The way to the container: sockets that are of its network namespace, or of that with the bridges, and used from here.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

use crate::model::networking::Endpoint;
use crate::model::subnet::Subnet;
use crate::network::ports::{self, Listening, Source, source};
use crate::sys::namespaces::in_network;
use crate::sys::sockets;

/// The most sockets that are opened at once for connections to come.
const MOST: usize = 32;
/// How often a connection is begun that nobody answers: for about half a minute.
const TRIES: u8 = 4;

/// Where sockets are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The container's namespace.
    Own,
    /// That with the bridges.
    Hub,
}

/// Sockets opened in advance: one visit to a namespace opens several.
#[derive(Debug)]
struct Stock {
    place: Place,
    ipv6: bool,
    sockets: Vec<OwnedFd>,
    /// How many the next visit opens.
    next: usize,
}

/// The way to one container.
#[derive(Debug)]
pub struct Onward {
    own: OwnedFd,
    hub: OwnedFd,
    subnets: Vec<Subnet>,
    stocks: Vec<Stock>,
}

impl Onward {
    /// To the container with these namespaces and connections.
    pub fn new(own: OwnedFd, hub: OwnedFd, endpoints: &[Endpoint]) -> Self {
        let placed = endpoints.iter().flat_map(|endpoint| [endpoint.v4, endpoint.v6]).flatten();
        let subnets = placed.filter_map(|placed| Subnet::of(placed.address, placed.prefix)).collect();
        Self { own, hub, subnets, stocks: Vec::new() }
    }

    /// The sockets by which other containers reach these ports at the addresses of their gateways: what is published on
    /// every address of the host is on those, too.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn at_gateways(&self, published: &[Listening]) -> io::Result<Vec<Listening>> {
        let everywhere: Vec<&Listening> = published.iter().filter(|one| one.bound.address.is_unspecified()).collect();
        if everywhere.is_empty() {
            return Ok(Vec::new());
        }
        in_network(&self.hub, || {
            let open = |one: &Listening| {
                let address = SocketAddr::new(one.bound.address, one.bound.host_port);
                let socket = ports::socket(one.bound.protocol, address)?;
                Ok(Listening { bound: one.bound, target: one.target, socket })
            };
            everywhere.into_iter().map(open).collect()
        })
    }

    /// A socket that is being connected, so that the container sees the client itself where that can be.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn connect(&mut self, client: SocketAddr, target: SocketAddr) -> io::Result<OwnedFd> {
        let seen_as = source(client, target.ip(), &self.subnets);
        match seen_as {
            Source::Client => {
                let client = SocketAddr::new(client.ip().to_canonical(), client.port());
                self.connect_as(client, target).or_else(|_| {
                    // With that port it has a connection there, or the container listens on it.
                    self.connect_as(SocketAddr::new(client.ip(), 0), target)
                })
            }
            Source::Loopback(address) => self.connect_as(SocketAddr::new(address, 0), target),
            Source::Bridge => {
                let socket = self.socket(Place::Hub, target.is_ipv6())?;
                begin(&socket, target).map(|()| socket)
            }
        }
    }

    fn connect_as(&mut self, source: SocketAddr, target: SocketAddr) -> io::Result<OwnedFd> {
        let socket = self.socket(Place::Own, target.is_ipv6())?;
        net::bind(&socket, &source)?;
        begin(&socket, target).map(|()| socket)
    }

    /// Gives up what was opened in advance.
    pub fn release(&mut self) {
        self.stocks = Vec::new();
    }

    fn socket(&mut self, place: Place, ipv6: bool) -> io::Result<OwnedFd> {
        let at = self.stocks.iter().position(|stock| (stock.place, stock.ipv6) == (place, ipv6));
        let at = at.unwrap_or_else(|| {
            self.stocks.push(Stock { place, ipv6, sockets: Vec::new(), next: 1 });
            self.stocks.len() - 1
        });
        let stock = &mut self.stocks[at];
        if stock.sockets.is_empty() {
            let namespace = if place == Place::Own { &self.own } else { &self.hub };
            let count = stock.next;
            stock.next = (count * 2).min(MOST);
            stock.sockets = in_network(namespace.as_fd(), || (0..count).map(|_| open(place, ipv6)).collect())?;
        }
        stock.sockets.pop().ok_or_else(|| io::ErrorKind::Other.into())
    }
}

/// In one of those namespaces.
fn open(place: Place, ipv6: bool) -> io::Result<OwnedFd> {
    let family = if ipv6 { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    sockets::limit_tries(&socket, TRIES)?;
    if place == Place::Own {
        sockopt::set_socket_reuseaddr(&socket, true)?;
        sockets::set_transparent(&socket, ipv6)?;
        sockets::choose_port_late(&socket)?;
    }
    Ok(socket)
}

fn begin(socket: &OwnedFd, target: SocketAddr) -> io::Result<()> {
    match net::connect(socket, &target) {
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
