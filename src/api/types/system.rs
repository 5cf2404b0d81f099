//! Types of the system's operations.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An engine plugin: there are none.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Plugin {}
