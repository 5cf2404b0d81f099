//! The handlers, by resource: each about ten lines from a request to an engine call and back.

pub mod absent;
pub mod archives;
pub mod cluster;
pub mod containers;
pub mod exec;
pub mod images;
pub mod networks;
pub mod push;
pub mod registry;
pub mod streams;
pub mod system;
pub mod usage;
