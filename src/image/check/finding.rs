//! What is found in a store that is not as it should be.

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Of what.
    pub what: String,
    /// In what way.
    pub found: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is as it should be again, in this way.
    Mended(String),
    /// Something is lost or stays; what a person can do.
    Lost(String),
}
