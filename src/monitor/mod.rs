//! The supervisor of one container, and how to talk to it.
//!
//! A monitor is a process of its own: `pierless monitor <id>`, launched by [`client::launch`], detached from whoever
//! launched it. It holds the container's standard streams, its log and its exec sessions, and commits its end.

pub mod client;
pub mod detach;
pub mod protocol;
pub mod run;
