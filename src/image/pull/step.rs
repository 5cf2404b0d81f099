//! What is told while an image is pulled.

use crate::model::reference::Reference;

/// What happens while pulling, as it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The image is known to the registry; from here on layers come.
    Begin(Reference),
    /// Of one layer.
    Layer {
        /// The first twelve digits of its blob's digest.
        id: String,
        /// What.
        what: LayerStep,
    },
    /// Something that people should know.
    Note(String),
    /// The image is there.
    Done {
        /// By which name.
        name: Reference,
        /// What the registry calls it.
        digest: String,
        /// Whether it was not there before.
        new: bool,
    },
}

/// What happens to a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerStep {
    /// It will be pulled.
    Planned,
    /// Others come first.
    Waiting,
    /// So many bytes of its blob are here.
    Downloading {
        /// Bytes so far.
        current: u64,
        /// Bytes in all.
        total: u64,
    },
    /// The connection failed; it is tried again after so many seconds.
    Retrying(u64),
    /// It is all here.
    Verifying,
    /// And is what it should be.
    Downloaded,
    /// The rest of it is being unpacked.
    Extracting(u64),
    /// It is unpacked.
    Complete,
    /// It was here before.
    Exists,
}
