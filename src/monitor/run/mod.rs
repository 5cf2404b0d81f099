//! The supervisor: one single-threaded loop from the launch to the end of one container.
//!
//! Its memory at rest is a budget: a starter process does what needs much of it (see [`launch`]), the two large buffers
//! give their pages back when nothing moves, and there is no table that grows.
//!
//! Each part has one concern and its own state; arrows point down:
//!
//! ```text
//! setup        how a monitor comes to be
//! supervisor   the loop: whose is what happened
//! requests     what each request comes to
//! children     processes that have ended, and whose they were
//! life         the container: its phases, its record, its stop and its end
//! execs        its further processes
//! networks     its connections, changed while it runs
//! oom          what the kernel ends in it for want of memory
//! way_out      its network's way to the world
//! ports        its published ports, and the connections to them
//! names        its resolver
//! door         monitor.sock, who is connected and what each waits for
//! streams      a process's output and input, the clients attached to it, its log
//! context      what all parts use: files, watched descriptors, deadlines, buffers
//! ```
//!
//! A thing with descriptors that lives as long as the container does (its published ports, its health) is a
//! part beside `execs`: a [`watch::Role`] says which of its descriptors is ready, a [`timers::Due`] what it waits for,
//! and `life` begins it in a start and ends it in an end.

mod attached;
mod children;
mod container;
mod context;
mod door;
mod escape;
mod execs;
mod files;
mod input;
pub mod launch;
mod life;
mod log;
mod names;
mod networks;
mod oom;
mod parts;
mod plan;
mod ports;
mod requests;
mod settings;
mod setup;
mod spill;
mod streams;
mod supervisor;
#[cfg(test)]
mod tests;
mod timers;
mod watch;
mod way_out;

pub use setup::role;
