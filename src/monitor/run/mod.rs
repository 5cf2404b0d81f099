//! .
pub mod escape;
pub mod log;
