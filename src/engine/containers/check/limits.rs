//! What only a start of dockerd's refuses, and no start could ever do.

use super::refusal::{invalid, refuse};
use crate::engine::Result;
use crate::model::config::ContainerConfig;
use crate::model::host_config::HostConfig;
use crate::model::mounting::clean;
use crate::spec;

/// Most bytes of a host or domain name: the kernel's.
const NAME_MAX: usize = 64;

/// Limits that setrlimit(2) knows and Docker names.
const LIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Texts that the kernel takes.
pub(super) fn runnable(config: &ContainerConfig, host: &HostConfig) -> Result<()> {
    let words = config.entrypoint.iter().chain(&config.cmd).flatten();
    let env = config.env.iter().flatten();
    let paths = host.binds.iter().flatten().chain(host.tmpfs.iter().flatten().map(|(target, _)| target));
    let names = [&config.hostname, &config.domainname, &config.user, &config.working_dir];
    if words.chain(env).chain(paths).chain(names).any(|text| text.contains('\0')) {
        return refuse("invalid argument: a null byte in the middle of a text");
    }
    for (what, name) in [("hostname", &config.hostname), ("domainname", &config.domainname)] {
        if name.len() > NAME_MAX {
            return refuse(format!("set{what}: invalid argument: {name} is longer than {NAME_MAX} bytes"));
        }
    }
    Ok(())
}

pub(super) fn ulimits(host: &HostConfig) -> Result<()> {
    for limit in host.ulimits.iter().flatten() {
        if !LIMITS.contains(&limit.name.to_ascii_lowercase().as_str()) {
            return refuse(format!("invalid ulimit type: {}", limit.name));
        }
        // -1 means no limit, and u64::MAX is how the kernel says that.
        if limit.soft as u64 > limit.hard as u64 {
            let soft =
                if limit.soft == -1 { "soft: -1 (unlimited), hard:".to_owned() } else { format!("{} >", limit.soft) };
            return refuse(format!(
                "ulimit soft limit must be less than or equal to hard limit: {soft} {}",
                limit.hard
            ));
        }
    }
    Ok(())
}

pub(super) fn devices(host: &HostConfig) -> Result<()> {
    for device in host.devices.iter().flatten() {
        if device.path_on_host.is_empty() {
            return refuse(
                "error gathering device information while adding custom device \"\": no such file or directory",
            );
        }
        let inside = device.inside();
        if !inside.starts_with('/') || clean(inside) == "/" {
            return refuse(format!("invalid device path: '{inside}' must be an absolute path"));
        }
        if !device.cgroup_permissions.chars().all(|letter| "rwm".contains(letter)) {
            return refuse(format!("invalid device mode: {}", device.cgroup_permissions));
        }
    }
    Ok(())
}

/// A parameter that is not a namespace's of the container's own is the host's: refused, as runc does.
pub(super) fn sysctls(host: &HostConfig) -> Result<()> {
    spec::asked_sysctls(host).map(drop).map_err(|err| invalid(err.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::host_config::Ulimit;

    #[test]
    fn limits() {
        let limit = |name: &str, soft, hard| {
            ulimits(&HostConfig {
                ulimits: Some(vec![Ulimit { name: name.into(), soft, hard }]),
                ..HostConfig::default()
            })
        };
        assert!(limit("nofile", 10, -1).is_ok() && limit("nofile", -1, -1).is_ok());
        assert!(limit("beer", 1, 1).is_err() && limit("as", 1, 1).is_err());
        assert!(limit("nofile", -1, 5).is_err() && limit("nofile", 10, 5).is_err());
    }
}
