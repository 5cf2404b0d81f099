//! A sentence for each thing that was asked for and will not be done.

use serde::Serialize;
use serde_json::Value;

use super::super::request::CreateRequest;
use crate::model::log::WITHOUT_EFFECT;
use crate::model::log::go_bool;
use crate::network::{IFNAME, SYSCTLS};

/// Fields of `HostConfig` that are recorded and not acted on.
const HOST_FIELDS: &[&str] = &[
    "RestartPolicy",
    "VolumeDriver",
    "VolumesFrom",
    "Cgroup",
    "CgroupParent",
    "DeviceCgroupRules",
    "DeviceRequests",
    "OomKillDisable",
    "CpuCount",
    "KernelMemoryTCP",
];

/// Limits, by the cgroup controller that sets them.
const LIMITS: &[(&str, &[&str])] = &[
    ("memory", &["Memory", "MemoryReservation", "MemorySwap"]),
    ("cpu", &["CpuShares", "NanoCpus", "CpuPeriod", "CpuQuota"]),
    ("cpuset", &["CpusetCpus", "CpusetMems"]),
    ("pids", &["PidsLimit"]),
    (
        "io",
        &[
            "BlkioWeight",
            "BlkioWeightDevice",
            "BlkioDeviceReadBps",
            "BlkioDeviceWriteBps",
            "BlkioDeviceReadIOps",
            "BlkioDeviceWriteIOps",
        ],
    ),
];

/// Fields of the configuration that are recorded and not acted on.
const CONFIG_FIELDS: &[&str] = &["Healthcheck", "Volumes"];

/// The warnings of a request: dockerd's, then those about what is not done here, where containers have these cgroup
/// controllers.
pub(in crate::engine::containers) fn warnings(request: &CreateRequest, controllers: &[String]) -> Vec<String> {
    let host = &request.host_config;
    let mut warnings = Vec::new();
    if host.oom_kill_disable == Some(true) && host.memory == 0 {
        warnings.push(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the system \
             running out of resources."
                .to_owned(),
        );
    }
    if host.cpu_percent > 0 {
        warnings.push("linux does not support CPU percent. Percent discarded.".to_owned());
    }
    let published = host.port_bindings.as_ref().is_some_and(|ports| !ports.is_empty());
    if host.network_mode == "host" && published {
        warnings.push("Published ports are discarded when using host network mode".to_owned());
    }
    warnings.extend(set_fields(&request.config, "", CONFIG_FIELDS));
    warnings.extend(set_fields(host, "HostConfig.", HOST_FIELDS));
    let linked = host.links.as_ref().is_some_and(|links| !links.is_empty());
    if linked && !matches!(host.network_mode.as_str(), "" | "default" | "bridge") {
        warnings.push(sentence("HostConfig.Links"));
    }
    // These two have a value that means nothing: clients send it.
    if host.memory_swappiness.is_some_and(|value| value != -1) {
        warnings.push(sentence("HostConfig.MemorySwappiness"));
    }
    // No limit is what containers have anyway.
    let unlimited = |field: &str, value: &Value| {
        value.as_i64().is_some_and(|limit| limit < 0) && matches!(field, "PidsLimit" | "MemorySwap" | "Memory")
    };
    let values = to_value(host);
    for (controller, fields) in LIMITS.iter().filter(|(name, _)| !controllers.iter().any(|had| had == name)) {
        let asked = fields.iter().filter(|field| !is_empty(&values[**field]) && !unlimited(field, &values[**field]));
        warnings.extend(asked.map(|field| {
            format!(
                "HostConfig.{field} has no effect: containers have no cgroup controller {controller} here (`pierless \
                 check` tells more)"
            )
        }));
    }
    for (option, value) in &host.log_config.config {
        let default = value.is_empty() || value == "blocking" || go_bool(value) == Some(false);
        if host.log_config.r#type != "none" && WITHOUT_EFFECT.contains(&option.as_str()) && !default {
            warnings.push(sentence(&format!("HostConfig.LogConfig.Config.{option}")));
        }
    }
    for (name, endpoint) in &request.networking.endpoints_config {
        let Some(endpoint) = endpoint else { continue };
        let options = endpoint.driver_opts.iter().flatten().map(|(option, _)| option);
        let unknown = options.filter(|option| ![IFNAME, SYSCTLS].contains(&option.as_str()));
        let field = |option| sentence(&format!("NetworkingConfig.EndpointsConfig.{name}.DriverOpts.{option}"));
        warnings.extend(unknown.map(field));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::host_config::{HostConfig, RestartPolicy};

    #[test]
    fn only_fields_that_ask_for_something_are_named() {
        let mut request = CreateRequest::default();
        request.host_config.network_mode = "none".to_owned();
        request.host_config.restart_policy = RestartPolicy { name: "no".to_owned(), maximum_retry_count: 0 };
        request.host_config.memory_swappiness = Some(-1);
        assert_eq!(warnings(&request, &[]), Vec::<String>::new());
        request.host_config.memory = 1 << 20;
        request.host_config.log_config.config.insert("tag".to_owned(), "x".to_owned());
        let all = warnings(&request, &[]).join("\n");
        assert!(all.contains("HostConfig.Memory ") && all.contains("LogConfig.Config.tag"), "{all}");
    }

    #[test]
    fn every_listed_field_is_one() {
        let value = to_value(&HostConfig::default());
        for field in HOST_FIELDS {
            let optional = ["KernelMemoryTCP"].contains(field);
            assert!(optional || value.get(field).is_some(), "{field}");
        }
    }
}
