//! What a creator asks for, and is told.

use crate::model::config::ContainerConfig;
use crate::model::host_config::HostConfig;
use crate::model::networking::NetworkingConfig;

/// What a creator asks for.
#[derive(Debug, Clone, Default)]
pub struct CreateRequest {
    /// Empty: a random one.
    pub name: String,
    /// `os[/architecture[/variant]]`; empty: the host's.
    pub platform: String,
    /// The portable half.
    pub config: ContainerConfig,
    /// The half that concerns the host.
    pub host_config: HostConfig,
    /// Networks.
    pub networking: NetworkingConfig,
    /// What is mounted read-only stays writable in the mounts below it, as before API 1.44.
    pub read_only_non_recursive: bool,
}

/// A request in which everything is right that can be told from it alone.
#[derive(Debug, Clone)]
pub struct CheckedRequest(pub(super) CreateRequest);

/// A created container.
#[derive(Debug, Clone)]
pub struct Created {
    /// Its id.
    pub id: String,
    /// What was asked for and will not be done, a sentence each.
    pub warnings: Vec<String>,
}
