//! Networks: which there are, which addresses their containers have, and the kernel's part of it.
//!
//! # Who does what
//!
//! All networks of a user live in one network namespace of the user's own (see [`crate::holder`]): a bridge a network, and
//! one process, `pasta`, that is the way out of it. Nothing of it needs a privilege on the host.
//!
//! | what | who makes it | when it goes |
//! |---|---|---|
//! | the namespace | the holder, at its birth | with the last of the holder, the monitors that have it open, and the way out |
//! | a bridge, the firewall's rules | the first [starter](crate::monitor) that needs them ([`hub`]) | with the namespace |
//! | the way out | a starter, or a monitor that sees it end ([`way_out`]) | with the holder; if that was killed, by its parent |
//! | sockets for published ports | a container's starter; its monitor has them ([`ports`]) | with the container, or its monitor |
//! | a lease | a container's starter ([`lease`]) | with its monitor's lock; its file at the next end or need |
//! | a container's names | its starter, with its lease ([`names`]) | with it |
//! | its resolver | its starter makes the sockets, its monitor answers | with it |
//! | a veth, addresses, routes | a container's starter ([`attach`]), or a child of its monitor's ([`live`]) | with the container's network namespace |
//!
//! A start needs no `nft`, no `ip` and no API process. The container's network namespace is made and configured before the
//! program runs, and given to the runtime as a descriptor. Taking a veth away by name would cost 19 ms of waiting for the
//! kernel; the end of its namespace takes it along.
//!
//! # What lies on disk
//!
//! ```text
//! data/networks/<id>.json         a network: what was asked for, made whole; durable
//! run/networks/<id>/lock          held while an address is chosen, or the bridge is made: for microseconds
//! run/networks/<id>/<address>     a lease: a link to the id of the container that has it
//! run/ports.lock                  held while ports of the host are taken: for microseconds
//! run/containers/<id>/ports       which ports of the host a container has, for those in whose way it is
//! run/networks/<id>/names/        what containers are called there, see [`names`]
//! run/networks/way-out            locked by the way out for as long as it lives, with its process id in it
//! run/networks/way-out.log        what it complained of
//! ```
//!
//! What a running container has of its networks is in its `state.json`. A lease is as good as its owner: one whose
//! container has neither a living monitor nor a living first process is free, whoever was killed.
//!
//! # Firewall
//!
//! The rules are the same for every user and every set of networks ([`firewall`]), for they speak of the way out's
//! interface only: what leaves through it leaves with its address, and what neither comes from it nor goes to it does not
//! pass from one network to another. A bridge of an internal network does not forward at all.

mod asked;
mod attach;
mod error;
pub mod etc;
mod firewall;
mod hub;
mod lease;
mod link;
mod live;
pub mod names;
mod nft;
mod plan;
pub mod pool;
pub mod ports;
pub mod record;
mod resolv_conf;
mod resolvers;
pub mod store;
mod told;
pub mod way_out;

pub use asked::{IFNAME, SYSCTLS};
pub use attach::attach;
pub use error::Error;
pub use hub::clear;
pub use lease::{forget, give_back_all, give_back_everywhere, lock, owners};
pub use live::{Side, connect, disconnect};
pub use plan::{Plan, is_network, plan, release, rename, withdraw};
pub use told::events;
