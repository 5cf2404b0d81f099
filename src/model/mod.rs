//! Pure types: what the other rooms talk about. Nothing here reads a file or makes a system call beyond the clock
//! and random bytes.

pub mod config;
pub mod error;
pub mod filters;
pub mod host_config;
pub mod ids;
pub mod mount;
pub mod names;
pub mod networking;
pub mod reference;
pub mod scan;
pub mod signal;
pub mod time;

pub use error::ErrorKind;
