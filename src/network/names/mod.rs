//! Names: what containers of a network are called, and the answers to who asks.
//!
//! Every container with a network of its own asks at 127.0.0.11, and its own monitor answers there
//! ([`crate::monitor`]'s part; the sockets are made by its starter, see [`socket`]). No process is shared, and nothing is
//! remembered: each question is answered from the files of its moment ([`published`]), so names come and go with their
//! containers. What is not known here is passed on as it is, and so are its answers.
//!
//! | who | knows |
//! |---|---|
//! | a container of a network of the user's | the names, aliases, short ids and host names of all others there, alone or with the network's name behind; what it is linked to; their addresses' names |
//! | one of the default network | itself, and what it is linked to |
//! | all that lead out | `host.docker.internal`, `gateway.docker.internal`, and names that were given to `host-gateway` |
//!
//! A name that exists exists for all types of records: an IPv4 container has no IPv6 address, which is another answer
//! than that there is no such name. Questions of other types about it are not passed on, so that nobody else can deny it.
//!
//! The messages are read and written here ([`message`]) rather than by a library: a resolver that passes on what it does
//! not know needs of DNS a header, a question and three types of records. `hickory-proto`, the fitting crate, decodes
//! every record of every type into a tree of allocations, and would touch some hundred kilobytes of program in each
//! monitor, whose whole budget that is.

pub mod message;
pub mod published;
pub mod resolve;
pub mod socket;
pub mod upstream;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

pub use socket::Sockets;

use super::etc::HOST;
use super::resolv_conf;
use crate::state::container::ContainerRecord;

/// The most bytes of a question: far more than any client sends.
pub const MOST_QUERY: usize = 4096;

/// What a container's resolver has to know of what was asked at the creation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Servers in the place of the host's, which are asked from the container's network.
    pub servers: Vec<SocketAddr>,
    /// Further names of the host.
    pub hosts: Vec<String>,
    /// Names of one label are completed by who asks, and are not passed on.
    pub complete: bool,
}

impl Terms {
    /// Those of a container.
    pub fn of(record: &ContainerRecord) -> Self {
        let config = &record.host_config;
        let asked = config.dns.iter().flatten().filter_map(|text| upstream::server(text));
        let gateways = config.extra_hosts.iter().flatten().filter_map(|entry| entry.strip_suffix(":host-gateway"));
        Self {
            servers: asked.filter(|server| server.ip() != socket::ADDRESS).take(upstream::MOST).collect(),
            hosts: gateways.filter(|name| *name != HOST).map(str::to_owned).collect(),
            complete: resolv_conf::completes(record, &upstream::host_text()),
        }
    }
}
