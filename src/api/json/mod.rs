//! JSON as Go reads it, since that is what clients were written against: members' names without regard to case, the
//! last of several, `null` for nothing, and Go's words for what is wrong.

mod parse;
mod read;

pub use parse::{Syntax, parse};
pub use read::read;
