//! The proof by name and password, RFC 7617.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::InvalidHeaderValue;
use percent_encoding::percent_decode_str;

/// Of `name:password`.
pub(super) fn basic(user: impl AsRef<[u8]>) -> String {
    format!("Basic {}", STANDARD.encode(user))
}

/// Of the part of an address that is before its host, `name:password` with what is no letter there encoded.
pub(super) fn of_address(user: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    HeaderValue::try_from(basic(percent_decode_str(user).collect::<Vec<u8>>()))
}
