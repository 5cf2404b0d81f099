//! Wire types that the API has for itself, by resource: Docker's names and every oddity.

pub mod containers;
pub mod endpoints;
pub mod exec;
pub mod facts;
pub mod images;
pub mod manifests;
pub mod mounts;
pub mod networks;
pub mod progress;
pub mod registry;
pub mod system;
pub mod usage;

use schemars::JsonSchema;
use serde::Deserialize;

/// What the path names.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ById {
    /// Id, an unambiguous beginning of it, or name.
    pub id: String,
}
