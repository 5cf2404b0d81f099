//! How a check says no.

use crate::engine::{Error, Result};

/// Refuses with Docker's text.
pub(super) fn refuse<T>(text: impl Into<String>) -> Result<T> {
    Err(Error::InvalidParameter(text.into()))
}

/// What a parser of `model` says is the client's fault.
pub(super) fn invalid(text: String) -> Error {
    Error::InvalidParameter(text)
}
