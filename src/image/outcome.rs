//! What comes of a load or an import, and what is told meanwhile.

use crate::model::reference::Reference;

/// What happens while loading, as it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// A layer is arriving.
    Layer {
        /// What it is called in the archive, shortened.
        name: String,
        /// Bytes so far.
        current: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A name that another image had is now the loaded one's.
    Renamed {
        /// The name.
        name: Reference,
        /// The other image.
        old: String,
    },
    /// An image is there under this name.
    Loaded(Reference),
    /// An image is there and has no name.
    LoadedId(String),
    /// Something that could not be kept.
    Note(String),
}

/// An image that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// `sha256:…`.
    pub id: String,
    /// The names it was given.
    pub names: Vec<Reference>,
}
