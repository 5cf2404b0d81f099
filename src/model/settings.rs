//! What a request means: its texts read once, when the container is created, and stored beside them.

use serde::{Deserialize, Serialize};

use super::config::ContainerConfig;
use super::host_config::HostConfig;
use super::links::{self, Link};
use super::log::Log;
use super::mounting::{self, MountPoint};
use super::ports::{self, Published};
use super::restart::Restart;
use super::signal::{self, Signal};

/// Seconds between the stop signal and SIGKILL, if nobody says.
pub const STOP_TIMEOUT: i64 = 10;

/// A container's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// What asks it to end.
    pub stop_signal: Signal,
    /// Seconds from that to SIGKILL; negative: never.
    pub stop_timeout: i64,
    /// Where its output is kept.
    pub log: Log,
    /// When it is started again by itself.
    pub restart: Restart,
    /// Its mounts, in the order in which they were asked for: `Binds`, then `Mounts`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<MountPoint>,
    /// Its memory file systems of `Tmpfs`, which inspections do not list as mounts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tmpfs: Vec<MountPoint>,
    /// Its published ports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Published>,
    /// Its legacy links.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            stop_signal: signal::TERM,
            stop_timeout: STOP_TIMEOUT,
            log: Log::default(),
            restart: Restart::default(),
            mounts: Vec::new(),
            tmpfs: Vec::new(),
            ports: Vec::new(),
            links: Vec::new(),
        }
    }
}

impl Settings {
    /// Reads a container's configuration.
    ///
    /// # Errors
    /// Docker's text for the first thing that cannot be read.
    pub fn read(config: &ContainerConfig, host: &HostConfig) -> Result<Self, String> {
        let mut mounts = Vec::new();
        for bind in host.binds.iter().flatten() {
            mounts.push(mounting::parse_bind(bind)?);
        }
        for mount in host.mounts.iter().flatten() {
            mounts.push(mounting::parse_mount(mount)?);
        }
        let tmpfs = host.tmpfs.iter().flatten().map(|(target, options)| mounting::parse_tmpfs(target, options));
        Ok(Self {
            stop_signal: stop_signal(config)?,
            stop_timeout: config.stop_timeout.unwrap_or(STOP_TIMEOUT),
            log: Log::parse(&host.log_config)?,
            restart: Restart::parse(&host.restart_policy)?,
            mounts,
            tmpfs: tmpfs.collect::<Result<_, _>>()?,
            ports: host.port_bindings.as_ref().map(ports::parse).transpose()?.unwrap_or_default(),
            links: host.links.iter().flatten().map(|link| links::parse(link)).collect::<Result<_, _>>()?,
        })
    }
}

/// What asks a container to end.
///
/// # Errors
/// Docker's text for what is no signal.
pub fn stop_signal(config: &ContainerConfig) -> Result<Signal, String> {
    match config.stop_signal.as_deref() {
        None | Some("") => Ok(signal::TERM),
        Some(text) => signal::parse(text).ok_or_else(|| format!("invalid signal: {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_asked_is_the_default() {
        let settings = Settings::read(&ContainerConfig::default(), &HostConfig::default()).expect("reads");
        assert_eq!(settings, Settings::default());
        let text = serde_json::to_string(&settings).expect("a record");
        assert_eq!(serde_json::from_str::<Settings>(&text).expect("reads"), settings);
        assert_eq!(serde_json::from_str::<Settings>("{}").expect("reads"), settings);
    }
}
