//! Wire types that the API has for itself, by resource: Docker's names and every oddity.

pub mod system;
