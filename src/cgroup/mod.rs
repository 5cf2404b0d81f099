//! The user's cgroups (version 2): where they are, what limits they set, and how what is in them ends.
//!
//! ```text
//! pierless.scope/            delegated by the user's service manager, made with the holder
//!   holder/                  the holder, and the way out of the containers' network
//!   <id>/monitor/            a container's monitor and its starters
//!   <id>/payload/            the container: born there, limited there, ended there
//! ```
//!
//! The manager is asked once, when the holder is made. A monitor is born in its group (CLONE_INTO_CGROUP), and so is what
//! it starts: a move from group to group would wait for the kernel. Only where the kernel does not let it, for it comes
//! out of a login session, the manager is asked to fetch it.
//!
//! Without a manager, the place is below the group that the maker of the holder is in, if the user may write there; else
//! there is none, containers run without limits, and who asks for one is told.

/// The controllers that limits need.
pub const CONTROLLERS: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

mod bus;
pub mod group;
pub mod limits;
pub mod place;

pub use group::is_v2;
pub use place::{beside, find, make, sweep};
