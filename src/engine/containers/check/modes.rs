//! Modes: namespaces, isolation, restart policy, runtime; and annotations.

use super::refusal::{invalid, refuse};
use crate::engine::Result;
use crate::model::host_config::HostConfig;
use crate::model::restart::Restart;

/// The runtimes that a client may name: all mean this program.
const RUNTIMES: [&str; 4] = ["", "runc", "io.containerd.runc.v2", "pierless"];

pub(super) fn isolation(host: &HostConfig) -> Result<()> {
    if matches!(host.isolation.to_ascii_lowercase().as_str(), "" | "default") {
        return Ok(());
    }
    refuse(format!("invalid isolation ({}): linux only supports 'default'", host.isolation))
}

pub(super) fn restart(host: &HostConfig) -> Result<()> {
    Restart::parse(&host.restart_policy).map(drop).map_err(invalid)
}

pub(super) fn annotations(host: &HostConfig) -> Result<()> {
    if host.annotations.iter().flatten().any(|(key, _)| key.is_empty()) {
        return refuse("invalid Annotations: the empty string is not permitted as an annotation key");
    }
    Ok(())
}

pub(super) fn namespaces(host: &HostConfig) -> Result<()> {
    // An empty container's name is no container's.
    let container = |mode: &str| mode.strip_prefix("container:").is_some_and(|name| !name.is_empty());
    let ipc = host.ipc_mode.as_str();
    if !matches!(ipc, "" | "none" | "private" | "host" | "shareable") && !container(ipc) {
        return refuse(format!("invalid IPC mode: {ipc}"));
    }
    let pid = host.pid_mode.as_str();
    if !matches!(pid, "" | "host") && !container(pid) {
        return refuse(format!("invalid PID mode: {pid}"));
    }
    if host.shm_size < 0 {
        return refuse("SHM size can not be less than 0");
    }
    if !matches!(host.uts_mode.as_str(), "" | "host") {
        return refuse(format!("invalid UTS mode: {}", host.uts_mode));
    }
    if !matches!(host.userns_mode.as_str(), "" | "host") {
        return refuse(format!("invalid user namespace mode: {}", host.userns_mode));
    }
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        return refuse(format!("Invalid value {}, range for oom score adj is [-1000, 1000]", host.oom_score_adj));
    }
    Ok(())
}

pub(super) fn runtime(host: &HostConfig) -> Result<()> {
    if RUNTIMES.contains(&host.runtime.as_str()) {
        return Ok(());
    }
    refuse(format!("unknown or invalid runtime name: {}", host.runtime))
}

pub(super) fn cgroup_namespace(host: &HostConfig) -> Result<()> {
    if !matches!(host.cgroupns_mode.as_str(), "" | "private" | "host") {
        return refuse(format!("invalid cgroup namespace mode: {}", host.cgroupns_mode));
    }
    Ok(())
}
