//! What a registry says when it says no.

use http::{StatusCode, header};
use serde::Deserialize;

use super::Error;
use super::http::Answer;

/// Largest text of an error in bytes.
const MAX_ERROR: u64 = 64 << 10;

/// What an answer that is no success says, in the registry's own words.
pub(super) fn refusal(answer: Answer) -> Error {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct One {
        code: String,
        message: String,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Errors {
        errors: Vec<One>,
        details: String,
        message: String,
    }
    let status = answer.status;
    let retry_after = answer.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let bytes = answer.body.all(MAX_ERROR).unwrap_or_default();
    let told: Errors = serde_json::from_slice(&bytes).unwrap_or_default();
    let default = |status: StatusCode| match status.as_u16() {
        401 => ("UNAUTHORIZED", "authentication required".to_owned()),
        403 => ("DENIED", "requested access to the resource is denied".to_owned()),
        404 => ("", "404 page not found".to_owned()),
        429 => ("TOOMANYREQUESTS", "too many requests".to_owned()),
        _ => ("", format!("received unexpected HTTP status: {status}")),
    };
    let (mut code, mut message) = match told.errors.into_iter().next() {
        Some(one) => (one.code, one.message),
        None => (String::new(), [told.details, told.message].concat()),
    };
    let (usual, words) = default(status);
    if code.is_empty() {
        usual.clone_into(&mut code);
    }
    if message.is_empty() {
        message = words;
    }
    let spoken = code.to_ascii_lowercase().replace('_', " ");
    let text = if spoken.is_empty() { message } else { format!("{spoken}: {message}") };
    // One line, whatever a registry sends.
    let text = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    Error::Refused { status: status.as_u16(), code, text, retry_after }
}
