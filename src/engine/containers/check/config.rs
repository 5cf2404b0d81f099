//! The portable half: working directory, stop signal, environment, health.

use super::refusal::{invalid, refuse};
use crate::engine::Result;
use crate::model::config::{ContainerConfig, Healthcheck};
use crate::model::settings;

/// Nanoseconds; the shortest time of a health check.
const SHORTEST: i64 = 1_000_000;

pub(super) fn portable(config: &ContainerConfig) -> Result<()> {
    if !config.working_dir.is_empty() && !config.working_dir.starts_with('/') {
        return refuse(format!(
            "the working directory '{}' is invalid, it needs to be an absolute path",
            config.working_dir
        ));
    }
    settings::stop_signal(config).map_err(invalid)?;
    if let Some(entry) = config.env.iter().flatten().find(|entry| entry.is_empty() || entry.starts_with('=')) {
        return refuse(format!("invalid environment variable: {entry}"));
    }
    config.healthcheck.as_ref().map_or(Ok(()), health)
}

fn health(check: &Healthcheck) -> Result<()> {
    let too_short = |nanos: i64| nanos != 0 && nanos < SHORTEST;
    for (name, nanos) in [("Interval", check.interval), ("Timeout", check.timeout)] {
        if too_short(nanos) {
            return refuse(format!("{name} in Healthcheck cannot be less than 1ms"));
        }
    }
    if check.retries < 0 {
        return refuse("Retries in Healthcheck cannot be negative");
    }
    for (name, nanos) in [("StartPeriod", check.start_period), ("StartInterval", check.start_interval)] {
        if too_short(nanos) {
            return refuse(format!("{name} in Healthcheck cannot be less than 1ms"));
        }
    }
    Ok(())
}
