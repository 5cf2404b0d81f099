//! The log driver and its options.

use super::refusal::invalid;
use crate::engine::Result;
use crate::model::host_config::HostConfig;
use crate::model::log::Log;

pub(super) fn driver(host: &HostConfig) -> Result<()> {
    Log::parse(&host.log_config).map(drop).map_err(invalid)
}
