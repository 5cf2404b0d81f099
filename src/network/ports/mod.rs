//! Published ports: which addresses of the host lead to which port of a container.
//!
//! Who starts a container opens the sockets on the host's side before anything of it runs, so that a start fails whose
//! ports are taken, and its monitor keeps them: the kernel frees them the moment that it ends, however it ends. The kernel
//! also says what is taken. What each container has got lies beside its lock, only so that a refusal can say whether it is
//! another container or another program that is in the way.

mod bind;
mod claims;
mod routes;
mod source;
mod wanted;

pub use bind::{Listening, socket};
pub use claims::give_back;
pub use routes::Clients;
pub(super) use routes::routes;
pub use source::{Source, source};
pub use wanted::unsupported;

use std::io;
use std::net::IpAddr;

use super::error::{Error, Result};
use super::link::Links;
use super::plan::leading;
use super::store;
use crate::model::networking::Endpoint;
use crate::model::ports::Bound;
use crate::state::container::ContainerRecord;
use crate::state::lock::Lock;
use crate::state::paths::Home;

/// Opens what a container with these connections publishes: nothing, if none of them leads anywhere. To be called in the
/// host's network namespace.
///
/// # Errors
/// In dockerd's words: a port is taken, or may not be.
pub fn open(home: &Home, record: &ContainerRecord, endpoints: &[Endpoint]) -> Result<Vec<Listening>> {
    let wanted = wanted::wanted(record).map_err(Error::Invalid)?;
    let [v4, v6] = [false, true].map(|ipv6| leading(endpoints, ipv6));
    let Some(endpoint) = v4.or(v6).filter(|_| !wanted.is_empty()) else { return Ok(Vec::new()) };
    let [of_v4, of_v6] = targets(endpoints);
    let place = wanted::Place {
        v4: of_v4,
        v6: of_v6,
        one_network: v4.zip(v6).is_none_or(|(v4, v6)| v4.id == v6.id),
        default: store::load(home, &endpoint.network_id)?.host_binding(),
        host_has_ipv6: bind::host_has_ipv6(),
    };
    let _lock = Lock::exclusive(&home.ports_lock())?;
    let opened = bind::all(&wanted::groups(&wanted, &place), &claims::Others::new(home, &record.id));
    let opened = opened.map_err(|why| {
        let of = format!("endpoint {} ({})", record.name, endpoint.id);
        Error::Invalid(format!("driver failed programming external connectivity on {of}: {why}"))
    })?;
    claims::write(home, &record.id, &opened.iter().map(|one| one.bound).collect::<Vec<_>>())?;
    Ok(opened)
}

/// The addresses by which a container with these connections is reached, of either version of IP.
pub fn targets(endpoints: &[Endpoint]) -> [Option<IpAddr>; 2] {
    [false, true].map(|ipv6| Some(leading(endpoints, ipv6)?.placed(ipv6)?.address))
}

/// Has what these ports answer to clients stay inside, in the network namespace that this task is in, as far as that is
/// not so already.
///
/// # Errors
/// Those of the kernel.
pub fn keep_answers(published: &[Bound], addresses: [Option<IpAddr>; 2]) -> io::Result<()> {
    let mut links = Links::here()?;
    routes(published, addresses).into_iter().try_for_each(|step| match links.take(vec![step]) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map(drop),
    })
}
