//! What is checked when a container is created: the one place for it.
//!
//! **The rule.** All that can be known at the creation is checked here, before anything is made; `spec` and the monitor
//! only translate what has been checked. Three kinds of checks, in this order:
//!
//! 1. what dockerd refuses at the creation: with its text, in its order, so that the same of two faults is told. Where
//!    dockerd answers 500 to what its client got wrong (bind strings, security options, links), this is a 400;
//! 2. what dockerd refuses only at the start, and no start could ever do (a host name of 300 bytes, an unknown limit):
//!    with the text of that start;
//! 3. what this engine does not do: 501 where it would mislead, else a sentence in the reply's warnings
//!    (`warnings.rs`).
//!
//! What a text means is read by `model`'s parsers, once: a check that reads a text stores what it read in
//! [`Settings`](crate::model::settings::Settings). What differs by API version is in `api::compat`, before this.
//!
//! A file is one concern; a new field's check goes to the file of its concern, and is called from here in dockerd's
//! order.

mod config;
mod limits;
mod log;
mod modes;
mod mounts;
mod network;
mod refusal;
mod resources;
mod security;
mod warnings;

use refusal::{invalid, refuse};

use super::request::CreateRequest;
use crate::engine::{Engine, Result};
use crate::model::config::ContainerConfig;
use crate::model::host_config::HostConfig;
use crate::model::networking::NetworkingConfig;
use crate::model::settings::Settings;

pub(in crate::engine) use network::endpoint;
pub(super) use warnings::warnings;

/// Checks what can be told from the request alone, before the image is looked for.
pub(super) fn request(request: &CreateRequest) -> Result<()> {
    let (config, host) = (&request.config, &request.host_config);
    network::conflicts(config, host)?;
    modes::isolation(host)?;
    resources::quality_of_service(host)?;
    resources::real_time(host)?;
    resources::shares(host)?;
    if *config == ContainerConfig::default() {
        return refuse("config cannot be empty in order to create a container");
    }
    config::portable(config)?;
    if host.auto_remove && !matches!(host.restart_policy.name.as_str(), "" | "no") {
        return refuse("can't create 'AutoRemove' container with restart policy");
    }
    mounts::objects(&host.mounts)?;
    network::hosts(host)?;
    network::ports(host)?;
    modes::restart(host)?;
    security::capabilities(host)?;
    modes::annotations(host)?;
    resources::limits(host)?;
    modes::namespaces(host)?;
    modes::runtime(host)?;
    mounts::tmpfs(host)?;
    modes::cgroup_namespace(host)
}

/// Checks the connections to networks.
pub(super) fn networks(networking: &NetworkingConfig) -> Result<()> {
    network::endpoints(networking)
}

impl Engine {
    /// Checks what is left, over the image's configuration, and reads it.
    pub(super) fn check_whole(
        &self,
        config: &ContainerConfig,
        host: &HostConfig,
        read_only_non_recursive: bool,
    ) -> Result<Settings> {
        log::driver(host)?;
        security::options(host)?;
        resources::storage(host)?;
        self.check_volumes_from(host)?;
        let mut settings = Settings::read(config, host).map_err(invalid)?;
        mounts::finish(&self.home, host, &mut settings, read_only_non_recursive)?;
        self.check_links(host, &settings)?;
        self.check_network(host)?;
        network::name_servers(host)?;
        limits::runnable(config, host)?;
        limits::ulimits(host)?;
        limits::devices(host)?;
        limits::sysctls(host)?;
        mounts::implemented(&settings)?;
        Ok(settings)
    }
}
