//! What kind of failure an error is, as far as a caller must tell them apart.

/// The kind of an error, in the classes that Docker's API distinguishes.
///
/// Every room's error enum maps its variants to one of these; `api::error` alone maps them to status codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Nobody known asks.
    Unauthorized,
    /// The request cannot be understood or asks for something impossible.
    InvalidParameter,
    /// It may never be done to this.
    Forbidden,
    /// What was named does not exist.
    NotFound,
    /// The state of what was named forbids it now.
    Conflict,
    /// It is already as was asked.
    NotModified,
    /// This engine does not do that.
    NotImplemented,
    /// It cannot be served now; another time it may.
    Unavailable,
    /// The host failed: disk, kernel, a killed process.
    System,
}
