//! From a root file system and a plan to a running process.
//!
//! The *plan* is an OCI runtime specification: what is in it happens, and nothing else. What it is made of (a container's
//! record, a step of a build) is not known here. Namespaces that are shared, and mounts whose source is not this
//! process's to name, come as descriptors.
//!
//! Everything here is called in a *starter*: a forked, single-threaded child of the monitor that ends afterwards. The
//! process that it starts becomes the monitor's child, for the monitor is a subreaper.

mod child;
mod confine;
mod dev;
mod ending;
mod error;
mod exec;
mod filter;
pub mod host;
pub mod init;
mod mounting;
mod options;
mod process;
mod restrict;
pub mod rootfs;
pub mod skeleton;
mod start;
pub mod user;

pub use child::errno_text;
pub use ending::{end_all, end_rooted};
pub use error::{StartError, StartErrorKind};
pub use exec::{Exec, exec};
pub use process::{Namespaces, Started, Stdio};
pub use start::{Start, delete, plan, start};
