//! The verbs: what a client or a person asks for, in terms of the rooms below. Knows the order of things and how to
//! take them back; knows neither HTTP nor the kernel.
//!
//! Everything here is synchronous and knows nothing between two calls: what the engine knows, it reads from disk or from
//! a monitor; a record that it has read before it only compares ([`crate::state::cache`]). So any number of processes
//! may be engines at once, and any may be killed.

pub mod containers;
pub mod error;
pub mod events;
pub mod exec;
pub mod images;
pub mod networks;
mod reconcile;
pub mod system;

use std::sync::Arc;

use crate::state::cache::Cache;
use crate::state::paths::Home;
use crate::state::{self, store, sweep};

pub use error::{Error, Result};

/// The engine of one user. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    home: Home,
    seen: Arc<Cache>,
}

impl Engine {
    /// An engine over this state.
    pub fn new(home: Home) -> Self {
        Self { home, seen: Arc::default() }
    }

    /// Where its state is.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Finishes what killed processes left half done: removals, and ends of containers whose monitor was killed.
    /// Cheap when there is nothing: one look at each container that should run.
    pub fn recover(&self) {
        sweep::sweep(&self.home);
        self.sweep_images();
        for id in store::ids(&self.home).unwrap_or_default() {
            match self.view(&id) {
                Ok(_) | Err(Error::State(state::Error::Missing(_))) => {}
                Err(err) => tracing::warn!(container = %id, "cannot recover: {err}"),
            }
        }
    }
}
