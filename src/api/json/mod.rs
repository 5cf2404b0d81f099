//! JSON as Go reads it, since that is what clients were written against: members' names without regard to case, the
//! last of several, `null` for nothing, and Go's words for what is wrong.

use serde::de::DeserializeOwned;

mod parse;
mod read;

pub use parse::{Syntax, parse};
pub use read::read;

/// Reads a text that is one value, with the words of Go's `json.Unmarshal`.
///
/// # Errors
/// It is none, another type's, or more.
pub fn whole<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let (tree, rest) = parse(bytes).map_err(|err| match err {
        Syntax::Empty | Syntax::Cut => "unexpected end of JSON input".to_owned(),
        other => other.to_string(),
    })?;
    match rest.trim_ascii_start() {
        [byte, ..] => Err(Syntax::Character { byte: *byte, place: "after top-level value" }.to_string()),
        [] => read(&tree).map_err(|err| err.to_string()),
    }
}
