//! The way to the container: sockets that are of its network namespace, or of that with the bridges, and used from here.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

use crate::model::networking::Endpoint;
use crate::model::ports::{Bound, Protocol};
use crate::model::subnet::Subnet;
use crate::network::ports::{self, Clients, Listening, Source, source};
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

/// A sort of sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sort {
    place: Place,
    protocol: Protocol,
    ipv6: bool,
}

/// Sockets opened in advance: one visit to a namespace opens several.
#[derive(Debug)]
struct Stock {
    sort: Sort,
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
    /// Opened with the first client by UDP.
    clients: Option<Clients>,
}

impl Onward {
    /// To the container with these namespaces and connections.
    pub fn new(own: OwnedFd, hub: OwnedFd, endpoints: &[Endpoint]) -> Self {
        Self { own, hub, subnets: subnets(endpoints), stocks: Vec::new(), clients: None }
    }

    /// The container's connections are these now.
    ///
    /// # Errors
    /// Those of the kernel: it does not keep answers inside.
    pub fn moved(&mut self, published: &[Bound], endpoints: &[Endpoint]) -> io::Result<()> {
        self.subnets = subnets(endpoints);
        // With an address the kernel forgets what has it as its source.
        in_network(&self.own, || ports::keep_answers(published, ports::targets(endpoints)))
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

    /// A socket that is connected, or is being so, and which of the two: so that the container sees the client itself
    /// where that can be.
    ///
    /// # Errors
    /// Those of the kernel; refused.
    pub fn connect(&mut self, client: SocketAddr, target: SocketAddr) -> io::Result<(OwnedFd, bool)> {
        let (socket, _) = self.connect_by(Protocol::Tcp, client, target)?;
        // All of it happens on this host: as a rule the answer is there.
        match net::connect(&socket, &target) {
            Ok(()) | Err(Errno::ISCONN) => Ok((socket, true)),
            Err(Errno::ALREADY | Errno::INPROGRESS | Errno::INTR) => Ok((socket, false)),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The same for datagrams; and the client's address, if answers to it are kept inside until it is
    /// [let go](Self::let_go). For a client on the loopback interface it is not connected: to whom the program's socket
    /// gives its own address as it likes, it answers from the loopback address.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn connect_datagrams(
        &mut self,
        client: SocketAddr,
        target: SocketAddr,
    ) -> io::Result<(OwnedFd, Option<IpAddr>)> {
        if let Source::Loopback(address) = source(client, target.ip(), &self.subnets) {
            let sort = Sort { place: Place::Own, protocol: Protocol::Udp, ipv6: target.is_ipv6() };
            let socket = self.socket(sort)?;
            net::bind(&socket, &SocketAddr::new(address, 0))?;
            return Ok((socket, None));
        }
        let (socket, seen_as) = self.connect_by(Protocol::Udp, client, target)?;
        let kept = (seen_as == Source::Client).then(|| client.ip().to_canonical());
        if let Some(client) = kept {
            if self.clients.is_none() {
                self.clients = Some(in_network(&self.own, Clients::here)?);
            }
            if let Some(clients) = &mut self.clients {
                clients.keep(target.ip(), client)?;
            }
        }
        Ok((socket, kept))
    }

    /// A client by UDP is none any more.
    pub fn let_go(&mut self, target: IpAddr, client: IpAddr) {
        if let Some(clients) = &mut self.clients {
            clients.let_go(target, client);
        }
    }

    fn connect_by(
        &mut self,
        protocol: Protocol,
        client: SocketAddr,
        target: SocketAddr,
    ) -> io::Result<(OwnedFd, Source)> {
        let ipv6 = target.is_ipv6();
        let own = Sort { place: Place::Own, protocol, ipv6 };
        let seen_as = source(client, target.ip(), &self.subnets);
        let socket = match seen_as {
            Source::Client => {
                let address = client.ip().to_canonical();
                self.connect_as(own, SocketAddr::new(address, client.port()), target)
                    // With that port it has a connection there, or the container listens on it.
                    .or_else(|_| self.connect_as(own, SocketAddr::new(address, 0), target))
            }
            Source::Loopback(address) => self.connect_as(own, SocketAddr::new(address, 0), target),
            Source::Bridge => {
                let socket = self.socket(Sort { place: Place::Hub, ..own })?;
                begin(&socket, target).map(|()| socket)
            }
        };
        Ok((socket?, seen_as))
    }

    fn connect_as(&mut self, sort: Sort, source: SocketAddr, target: SocketAddr) -> io::Result<OwnedFd> {
        let socket = self.socket(sort)?;
        net::bind(&socket, &source)?;
        begin(&socket, target).map(|()| socket)
    }

    /// Gives up what was opened in advance.
    pub fn release(&mut self) {
        self.stocks = Vec::new();
    }

    fn socket(&mut self, sort: Sort) -> io::Result<OwnedFd> {
        let at = self.stocks.iter().position(|stock| stock.sort == sort).unwrap_or_else(|| {
            self.stocks.push(Stock { sort, sockets: Vec::new(), next: 1 });
            self.stocks.len() - 1
        });
        let stock = &mut self.stocks[at];
        if stock.sockets.is_empty() {
            let namespace = if sort.place == Place::Own { &self.own } else { &self.hub };
            let count = stock.next;
            stock.next = (count * 2).min(MOST);
            stock.sockets = in_network(namespace, || (0..count).map(|_| open(sort)).collect())?;
        }
        stock.sockets.pop().ok_or_else(|| io::ErrorKind::Other.into())
    }
}

/// Who is in one of these is a neighbour of the container's.
fn subnets(endpoints: &[Endpoint]) -> Vec<Subnet> {
    let placed = endpoints.iter().flat_map(|endpoint| [endpoint.v4, endpoint.v6]).flatten();
    placed.filter_map(|placed| Subnet::of(placed.address, placed.prefix)).collect()
}

/// In its namespace.
fn open(Sort { place, protocol, ipv6 }: Sort) -> io::Result<OwnedFd> {
    let family = if ipv6 { AddressFamily::INET6 } else { AddressFamily::INET };
    let kind = if protocol == Protocol::Udp { SocketType::DGRAM } else { SocketType::STREAM };
    let socket = net::socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    if protocol == Protocol::Tcp {
        sockets::limit_tries(&socket, TRIES)?;
        lasting(&socket)?;
    }
    if place == Place::Own {
        sockopt::set_socket_reuseaddr(&socket, true)?;
        sockets::set_transparent(&socket, ipv6)?;
        sockets::choose_port_late(&socket)?;
    }
    Ok(socket)
}

/// What a connection is to have at both its ends: nothing is held back, and who is gone without a word is noticed. Those
/// that a listener accepts have what it has.
///
/// # Errors
/// Those of setsockopt(2).
pub fn lasting(socket: &OwnedFd) -> io::Result<()> {
    sockopt::set_tcp_nodelay(socket, true)?;
    Ok(sockopt::set_socket_keepalive(socket, true)?)
}

fn begin(socket: &OwnedFd, target: SocketAddr) -> io::Result<()> {
    match net::connect(socket, &target) {
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
