//! What clients were told, and what they asked without an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

/// What a client knows of one container.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Names that it may have: one, or two while a rename has no answer.
    pub names: BTreeSet<String>,
    /// A removal was asked for; answered with success: it is gone.
    pub removing: bool,
    pub removed: bool,
    /// It removes itself at its end.
    pub auto_remove: bool,
    /// A start was answered with success, so many times.
    pub starts: usize,
    /// Told by `wait`; whatever happens later, this was its code.
    pub code: Option<i64>,
}

/// All that the client of one round knows.
#[derive(Debug, Default)]
pub struct Told {
    pub containers: Mutex<BTreeMap<String, Known>>,
    /// Tags, and whether their removal was asked for.
    pub tags: Mutex<BTreeMap<String, bool>>,
}

impl Told {
    pub fn with(&self, id: &str, change: impl FnOnce(&mut Known)) {
        change(self.containers.lock().unwrap().entry(id.to_owned()).or_default());
    }
}
