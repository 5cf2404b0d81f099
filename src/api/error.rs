//! Failures as HTTP shows them. Only this file maps kinds of errors to status codes.

use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::engine;
use crate::model::ErrorKind;
use crate::model::filters::FilterError;

/// The body of every failure.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ErrorResponse {
    /// What went wrong.
    pub message: String,
}

/// A failure that ends a request with a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    message: String,
}

impl ApiError {
    /// A failure of this kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { status: status(kind), message: message.into() }
    }

    /// A failure with a status that no kind has.
    pub fn with_status(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidParameter, message)
    }

    /// 404 as for a path that does not exist.
    pub fn page_not_found() -> Self {
        Self::new(ErrorKind::NotFound, "page not found")
    }

    /// What the client is told.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The status it gets.
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

/// The status of a kind of failure.
fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::InvalidParameter => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::NotModified => StatusCode::NOT_MODIFIED,
        ErrorKind::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorKind::NotImplemented => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::System => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<engine::Error> for ApiError {
    fn from(err: engine::Error) -> Self {
        Self::new(err.kind(), err.to_string())
    }
}

impl From<FilterError> for ApiError {
    fn from(err: FilterError) -> Self {
        Self::bad_request(err.to_string())
    }
}
