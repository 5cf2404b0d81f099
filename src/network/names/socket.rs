//! Where a container asks: two sockets in its network namespace, at 127.0.0.11.
//!
//! They have a port of their own, and a rule leads there what goes to port 53, so that a container which binds that port
//! on every address, a DNS server itself, starts and is reached:
//!
//! ```text
//! table ip pierless {
//!     chain output { type nat hook output priority -100; policy accept;
//!                    ip daddr 127.0.0.11 meta l4proto udp udp dport 53 dnat to :61053
//!                    ip daddr 127.0.0.11 meta l4proto tcp tcp dport 53 dnat to :61053 }
//! }
//! ```
//!
//! Where the kernel has no such rules, they are at port 53 itself, and only such containers lose.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use crate::network::nft::{Family, Header, Hook, Is, Meta, Table, compare, meta, payload, to_port};

/// Where containers ask.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
/// The port that is asked.
const PORT: u16 = 53;
/// The port of the sockets. The kernel gives none so high to who asks for any.
const OWN_PORT: u16 = 61053;
/// Room for questions, in bytes; the kernel gives at most what the host allows.
const ROOM: usize = 1 << 20;
/// Numbers of protocols.
const TCP: u8 = 6;
const UDP: u8 = 17;

/// The sockets.
#[derive(Debug)]
pub struct Sockets {
    /// For datagrams.
    pub udp: OwnedFd,
    /// For streams.
    pub tcp: OwnedFd,
}

/// Opens them in the network namespace that this process is in, whose loopback interface is up.
///
/// # Errors
/// Those of the kernel.
pub fn open() -> io::Result<Sockets> {
    let port = redirect().map_or(PORT, |()| OWN_PORT);
    let address = SocketAddrV4::new(ADDRESS, port);
    let udp = UdpSocket::bind(address)?;
    // Twice the usual: what is asked while the monitor has no turn on a busy machine.
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&udp, ROOM);
    udp.set_nonblocking(true)?;
    let tcp = TcpListener::bind(address)?;
    tcp.set_nonblocking(true)?;
    Ok(Sockets { udp: udp.into(), tcp: tcp.into() })
}

/// Answers find their way back by themselves: the kernel knows whose they are.
fn redirect() -> io::Result<()> {
    const CHAIN: &str = "output";
    /// Offsets of a destination's address and port, and their lengths.
    const TO: (u32, u32) = (16, 4);
    const TO_PORT: (u32, u32) = (2, 2);
    let mut table = Table::new(Family::Ip, "pierless");
    table.chain(CHAIN, Hook::Output);
    for protocol in [UDP, TCP] {
        let rule = [
            payload(Header::Network, TO.0, TO.1),
            compare(Is::Equal, &ADDRESS.octets()),
            meta(Meta::Protocol),
            compare(Is::Equal, &[protocol]),
            payload(Header::Transport, TO_PORT.0, TO_PORT.1),
            compare(Is::Equal, &PORT.to_be_bytes()),
            to_port(OWN_PORT),
        ];
        table.rule(CHAIN, &rule);
    }
    table.commit()
}
