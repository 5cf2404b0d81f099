//! What of a create request this engine does: the rest is refused where it would mislead, else named in a warning.

use std::net::IpAddr;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::create::CreateRequest;
use crate::engine::{Error, Result};
use crate::model::config::ContainerConfig;
use crate::model::host_config::HostConfig;
use crate::model::{signal, time};
use crate::state::paths::Home;

/// Fields of `HostConfig` that are recorded and not acted on.
const HOST_FIELDS: &[&str] = &[
    "PortBindings",
    "RestartPolicy",
    "VolumeDriver",
    "VolumesFrom",
    "Cgroup",
    "Links",
    "PublishAllPorts",
    "StorageOpt",
    "UsernsMode",
    "Isolation",
    "CpuShares",
    "Memory",
    "NanoCpus",
    "CgroupParent",
    "BlkioWeight",
    "BlkioWeightDevice",
    "BlkioDeviceReadBps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteIOps",
    "CpuPeriod",
    "CpuQuota",
    "CpuRealtimePeriod",
    "CpuRealtimeRuntime",
    "CpusetCpus",
    "CpusetMems",
    "DeviceCgroupRules",
    "DeviceRequests",
    "MemoryReservation",
    "MemorySwap",
    "OomKillDisable",
    "CpuCount",
    "CpuPercent",
    "IOMaximumIOps",
    "IOMaximumBandwidth",
    "KernelMemoryTCP",
];

/// Fields of the configuration that are recorded and not acted on.
const CONFIG_FIELDS: &[&str] = &["Healthcheck", "Volumes", "MacAddress"];

/// A sentence for each field that asks for something that will not be done.
pub fn warnings(request: &CreateRequest) -> Vec<String> {
    let mut warnings = set_fields(&request.config, "", CONFIG_FIELDS);
    warnings.extend(set_fields(&request.host_config, "HostConfig.", HOST_FIELDS));
    let host = &request.host_config;
    // These two have a value that means nothing: clients send it.
    if host.memory_swappiness.is_some_and(|value| value != -1) {
        warnings.push(sentence("HostConfig.MemorySwappiness"));
    }
    if host.pids_limit.is_some_and(|limit| limit > 0) {
        warnings.push(sentence("HostConfig.PidsLimit"));
    }
    if matches!(host.network_mode.as_str(), "" | "default" | "bridge") {
        warnings.push(
            "networks are not implemented yet: the container has a network namespace of its own with loopback only"
                .to_owned(),
        );
    }
    for (name, endpoint) in &request.networking.endpoints_config {
        let plain = endpoint.as_ref().is_none_or(|endpoint| is_empty(&to_value(endpoint)));
        if !plain || !matches!(name.as_str(), "default" | "bridge" | "none" | "host") {
            warnings.push(sentence(&format!("NetworkingConfig.EndpointsConfig.{name}")));
        }
    }
    warnings
}

fn sentence(field: &str) -> String {
    format!("{field} is not implemented and has no effect")
}

fn set_fields<T: Serialize>(config: &T, prefix: &str, fields: &[&str]) -> Vec<String> {
    let value = to_value(config);
    let is_set = |field: &&&str| match &value[**field] {
        Value::Object(map) if **field == "RestartPolicy" && map.get("Name") == Some(&Value::from("no")) => false,
        other => !is_empty(other),
    };
    fields.iter().filter(is_set).map(|field| sentence(&format!("{prefix}{field}"))).collect()
}

fn to_value<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// Whether a JSON value asks for nothing: null, zero, false, or empty all the way down.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.values().all(is_empty),
    }
}

/// Refuses what cannot be, before anything is made.
pub fn check(home: &Home, config: &ContainerConfig, host: &HostConfig) -> Result<()> {
    let invalid = |text: String| Err(Error::InvalidParameter(text));
    if let Some(text) = config.stop_signal.as_deref().filter(|text| !text.is_empty())
        && signal::parse(text).is_none()
    {
        return invalid(format!("invalid signal: {text}"));
    }
    if !config.working_dir.is_empty() && !Path::new(&config.working_dir).is_absolute() {
        return invalid(format!(
            "the working directory '{}' is invalid, it needs to be an absolute path",
            config.working_dir
        ));
    }
    for entry in config.env.iter().flatten() {
        if entry.is_empty() || entry.starts_with('=') || entry.contains('\0') {
            return invalid(format!("invalid environment variable: {entry}"));
        }
    }
    if config.entrypoint.iter().chain(&config.cmd).flatten().any(|word| word.contains('\0')) {
        return invalid("the command contains a null byte".to_owned());
    }
    if config.hostname.len() > 63 {
        return invalid(format!("invalid hostname format: {}", config.hostname));
    }
    for server in host.dns.iter().flatten() {
        if server.parse::<IpAddr>().is_err() {
            return invalid(format!("invalid IP address in dns: {server}"));
        }
    }
    for entry in host.extra_hosts.iter().flatten() {
        let address = entry.split_once([':', '=']).filter(|(name, _)| !name.is_empty()).map(|(_, address)| address);
        let fits =
            |address: &str| address == "host-gateway" || address.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        match address {
            None => return invalid(format!("bad format for add-host: \"{entry}\"")),
            Some(address) if !fits(address) => {
                return invalid(format!("invalid IP address in add-host: \"{address}\""));
            }
            Some(_) => {}
        }
    }
    if host.auto_remove && !matches!(host.restart_policy.name.as_str(), "" | "no") {
        return invalid("can't create 'AutoRemove' container with restart policy".to_owned());
    }
    if !matches!(host.restart_policy.name.as_str(), "" | "no" | "always" | "unless-stopped" | "on-failure") {
        return invalid(format!("invalid restart policy: unknown policy '{}'", host.restart_policy.name));
    }
    if !matches!(host.runtime.as_str(), "" | "runc" | "pierless") {
        return invalid(format!("unknown or invalid runtime name: {}", host.runtime));
    }
    if host.shm_size < 0 {
        return invalid("SHM size can not be less than 0".to_owned());
    }
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        return invalid(format!("Invalid value {}, range for oom score adj is [-1000, 1000]", host.oom_score_adj));
    }
    check_log(host)?;
    check_network(config, host)?;
    check_mounts(home, host)
}

fn check_log(host: &HostConfig) -> Result<()> {
    let log = &host.log_config;
    let invalid = |text: String| Err(Error::InvalidParameter(text));
    let known: &[&str] = match log.r#type.as_str() {
        "" | "json-file" => &["max-size", "max-file"],
        "none" => &[],
        other => return invalid(format!("logger: no log driver named '{other}' is registered")),
    };
    for (name, value) in &log.config {
        if !known.contains(&name.as_str()) {
            return invalid(format!("unknown log opt '{name}' for {} log driver", log.r#type));
        }
        let fits = match name.as_str() {
            "max-file" => value.parse::<u32>().is_ok_and(|count| count > 0),
            _ => parse_size(value).is_some_and(|size| size > 0),
        };
        if !fits {
            return invalid(format!("invalid log opt {name}={value}"));
        }
    }
    if log.config.get("max-file").is_some_and(|count| count != "1") && !log.config.contains_key("max-size") {
        return invalid("max-file cannot be set without max-size".to_owned());
    }
    Ok(())
}

/// Reads `10m`, `1.5g`, `512k`, `100`: bytes, in powers of 1024.
pub fn parse_size(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let bare = lower.trim_end_matches('b').trim_end_matches('i');
    let (digits, unit) = match bare.char_indices().last()? {
        (at, 'k') => (&bare[..at], 1u64 << 10),
        (at, 'm') => (&bare[..at], 1 << 20),
        (at, 'g') => (&bare[..at], 1 << 30),
        (at, 't') => (&bare[..at], 1 << 40),
        _ => (bare, 1),
    };
    let number: f64 = digits.trim().parse().ok()?;
    (number >= 0.0 && number.is_finite()).then_some((number * unit as f64) as u64)
}

fn check_network(config: &ContainerConfig, host: &HostConfig) -> Result<()> {
    let conflict =
        |what: &str| Err(Error::InvalidParameter(format!("conflicting options: {what} and the network mode")));
    match host.network_mode.as_str() {
        "" | "default" | "bridge" | "none" | "host" => Ok(()),
        "container:" => Err(Error::InvalidParameter("invalid container format container:<name|id>".to_owned())),
        mode if mode.starts_with("container:") => {
            if !config.hostname.is_empty() {
                return conflict("hostname");
            }
            if !host.dns.as_deref().unwrap_or_default().is_empty() {
                return conflict("dns");
            }
            if !host.extra_hosts.as_deref().unwrap_or_default().is_empty() {
                return conflict("custom host-to-IP mapping");
            }
            Ok(())
        }
        other => Err(Error::NotFound(format!("network {other} not found"))),
    }
}

fn check_mounts(home: &Home, host: &HostConfig) -> Result<()> {
    let invalid = |text: String| Err(Error::InvalidParameter(text));
    let mut targets = std::collections::BTreeSet::new();
    for bind in host.binds.iter().flatten() {
        let parts: Vec<&str> = bind.split(':').collect();
        let (source, target) = match parts[..] {
            [source, target] | [source, target, _] => (source, target),
            _ => return invalid(format!("invalid volume specification: '{bind}'")),
        };
        if source.is_empty() || !target.starts_with('/') || target == "/" {
            return invalid(format!("invalid volume specification: '{bind}'"));
        }
        if !source.starts_with('/') {
            return Err(Error::NotImplemented(format!("volumes are not implemented yet: '{bind}'")));
        }
        for option in parts.get(2).unwrap_or(&"").split(',').filter(|option| !option.is_empty()) {
            const KNOWN: &[&str] = &[
                "ro",
                "rw",
                "z",
                "Z",
                "nocopy",
                "private",
                "rprivate",
                "shared",
                "rshared",
                "slave",
                "rslave",
                "consistent",
                "cached",
                "delegated",
            ];
            if !KNOWN.contains(&option) {
                return invalid(format!("invalid mode: {}", parts[2]));
            }
        }
        if !targets.insert(target.trim_end_matches('/').to_owned()) {
            return invalid(format!("Duplicate mount point: {target}"));
        }
    }
    for mount in host.mounts.iter().flatten() {
        let wrong = |what: &str| invalid(format!("invalid mount config for type \"{}\": {what}", mount.r#type));
        if mount.target.is_empty() {
            return wrong("field Target must not be empty");
        }
        if !mount.target.starts_with('/') {
            return wrong(&format!("invalid mount path: '{}' mount path must be absolute", mount.target));
        }
        if mount.target.trim_end_matches('/').is_empty() {
            return wrong("invalid specification: destination can't be '/'");
        }
        match mount.r#type.as_str() {
            "bind" => {
                if !mount.source.starts_with('/') {
                    return wrong(&format!("invalid mount path: '{}' mount path must be absolute", mount.source));
                }
                let create = mount.bind_options.as_ref().is_some_and(|options| options.create_mountpoint);
                if !create && !home.is_own_socket(Path::new(&mount.source)) && !Path::new(&mount.source).exists() {
                    return wrong(&format!("bind source path does not exist: {}", mount.source));
                }
            }
            "tmpfs" => {
                if !mount.source.is_empty() {
                    return wrong("field Source must not be specified");
                }
            }
            "volume" | "image" | "cluster" | "npipe" => {
                return Err(Error::NotImplemented(format!("mounts of type {} are not implemented yet", mount.r#type)));
            }
            "" => return invalid("mount type required".to_owned()),
            other => return invalid(format!("invalid mount config: mount type unknown: \"{other}\"")),
        }
        if !targets.insert(mount.target.trim_end_matches('/').to_owned()) {
            return invalid(format!("Duplicate mount point: {}", mount.target));
        }
    }
    for target in host.tmpfs.iter().flatten().map(|(target, _)| target) {
        if !target.starts_with('/') || target.trim_end_matches('/').is_empty() {
            return invalid(format!("invalid mount path: '{target}' mount path must be absolute"));
        }
    }
    Ok(())
}

/// The seconds that a stop waits before SIGKILL: the request's, else the container's, else Docker's ten; negative: for
/// ever.
pub fn stop_timeout(asked: Option<i64>, config: &ContainerConfig) -> i64 {
    asked.or(config.stop_timeout).unwrap_or(10).clamp(-1, i64::MAX / time::SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::host_config::RestartPolicy;

    #[test]
    fn only_fields_that_ask_for_something_are_named() {
        let mut request = CreateRequest::default();
        request.host_config.network_mode = "none".to_owned();
        request.host_config.restart_policy = RestartPolicy { name: "no".to_owned(), maximum_retry_count: 0 };
        request.host_config.memory_swappiness = Some(-1);
        assert_eq!(warnings(&request), Vec::<String>::new());
        request.host_config.memory = 1 << 20;
        request.config.mac_address = Some("02:42:ac:11:00:02".to_owned());
        let all = warnings(&request).join("\n");
        assert!(all.contains("HostConfig.Memory ") && all.contains("MacAddress"), "{all}");
    }

    #[test]
    fn every_listed_field_is_one() {
        let value = to_value(&HostConfig::default());
        for field in HOST_FIELDS {
            let optional = ["StorageOpt", "KernelMemoryTCP"].contains(field);
            assert!(optional || value.get(field).is_some(), "{field}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_size("10m"), Some(10 << 20));
        assert_eq!(parse_size("1.5KB"), Some(1536));
        assert_eq!(parse_size("100"), Some(100));
        assert_eq!(parse_size("x"), None);
    }
}
