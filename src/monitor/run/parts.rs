//! The parts of a monitor, side by side.

use super::context::Context;
use super::door::Door;
use super::execs::Execs;
use super::life::Life;
use super::names::Names;
use super::networks::Networks;
use super::oom::Oom;
use super::way_out::WayOut;

/// One container's monitor.
#[derive(Debug)]
pub struct Parts {
    /// What they share.
    pub cx: Context,
    /// Who asks.
    pub door: Door,
    /// The container.
    pub life: Life,
    /// Its further processes.
    pub execs: Execs,
    /// Changes of its networks.
    pub networks: Networks,
    /// What the kernel ends in it.
    pub oom: Oom,
    /// Its network's way out.
    pub way_out: WayOut,
    /// Its resolver.
    pub names: Names,
}

impl Parts {
    /// These three, and the others without anything to do yet.
    pub fn new(cx: Context, door: Door, life: Life) -> Self {
        let (execs, networks, names) = (Execs::default(), Networks::default(), Names::default());
        Self { cx, door, life, execs, networks, oom: Oom::default(), way_out: WayOut::default(), names }
    }
}
