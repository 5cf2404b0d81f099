//! What is told while an image is pushed.

use crate::image::meta::Descriptor;
use crate::model::reference::Reference;

/// What happens while pushing, as it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// To this repository; nothing is sent yet.
    Begin(Reference),
    /// Of one layer.
    Layer {
        /// The first twelve digits of its blob's digest.
        id: String,
        /// What.
        what: LayerStep,
    },
    /// Not all of an index is here: one of its manifests was pushed in its place.
    Instead {
        /// The index.
        index: Descriptor,
        /// The manifest.
        manifest: Descriptor,
    },
    /// The registry has it.
    Done {
        /// Under which name.
        name: Reference,
        /// What the registry means by that now.
        target: Descriptor,
    },
}

/// What happens to a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerStep {
    /// It will be pushed.
    Planned,
    /// Others come first.
    Waiting,
    /// So many bytes of its blob are sent.
    Pushing {
        /// Bytes so far.
        current: u64,
        /// Bytes in all.
        total: u64,
    },
    /// The connection failed; it is tried again after so many seconds.
    Retrying(u64),
    /// It is all there.
    Pushed,
    /// The registry took it over from the repository of this path.
    Mounted(String),
    /// It was there before.
    Exists,
}
