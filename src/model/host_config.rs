//! A container's configuration as its creator wrote it: the half that concerns the host.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::config::{is_default, or_default};
use super::mount::Mount;

/// Published ports: `8080/tcp` to the host's addresses.
pub type PortMap = BTreeMap<String, Option<Vec<PortBinding>>>;

/// What the container gets of, and does to, its host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct HostConfig {
    /// Bind mounts, `source:target[:options]`.
    pub binds: Option<Vec<String>>,
    /// Where the client wrote the id.
    #[serde(rename = "ContainerIDFile", deserialize_with = "or_default")]
    pub container_id_file: String,
    /// How the output is kept.
    #[serde(deserialize_with = "or_default")]
    pub log_config: LogConfig,
    /// `none`, `host`, `bridge`, `default`, `container:ID`, or a network.
    #[serde(deserialize_with = "or_default")]
    pub network_mode: String,
    /// Published ports.
    pub port_bindings: Option<PortMap>,
    /// When to start the container again by itself.
    #[serde(deserialize_with = "or_default")]
    pub restart_policy: RestartPolicy,
    /// Remove the container when it has ended.
    #[serde(deserialize_with = "or_default")]
    pub auto_remove: bool,
    /// Driver of volumes that `Binds` names.
    #[serde(deserialize_with = "or_default")]
    pub volume_driver: String,
    /// Containers whose volumes to mount.
    pub volumes_from: Option<Vec<String>>,
    /// Mounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mounts: Option<Vec<Mount>>,
    /// Height and width of the terminal at the start.
    #[serde(deserialize_with = "or_default")]
    pub console_size: [u32; 2],
    /// Annotations of the OCI runtime specification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// Capabilities beside the default ones.
    pub cap_add: Option<Vec<String>>,
    /// Capabilities to take away.
    pub cap_drop: Option<Vec<String>>,
    /// `private`, `host`, or empty.
    #[serde(deserialize_with = "or_default")]
    pub cgroupns_mode: String,
    /// Name servers.
    pub dns: Option<Vec<String>>,
    /// Resolver options.
    pub dns_options: Option<Vec<String>>,
    /// Resolver search domains.
    pub dns_search: Option<Vec<String>>,
    /// Lines for /etc/hosts, `name:address`.
    pub extra_hosts: Option<Vec<String>>,
    /// Groups beside the user's own.
    pub group_add: Option<Vec<String>>,
    /// `none`, `private`, `shareable`, `host`, `container:ID`, or empty.
    #[serde(deserialize_with = "or_default")]
    pub ipc_mode: String,
    /// Cgroup of another container.
    #[serde(deserialize_with = "or_default")]
    pub cgroup: String,
    /// Legacy links.
    pub links: Option<Vec<String>>,
    /// Preference of the kernel's out-of-memory killer, -1000 to 1000.
    #[serde(deserialize_with = "or_default")]
    pub oom_score_adj: i64,
    /// `host`, `container:ID`, or empty.
    #[serde(deserialize_with = "or_default")]
    pub pid_mode: String,
    /// All that the user can give.
    #[serde(deserialize_with = "or_default")]
    pub privileged: bool,
    /// Publish every exposed port.
    #[serde(deserialize_with = "or_default")]
    pub publish_all_ports: bool,
    /// Mount the root file system read-only.
    #[serde(deserialize_with = "or_default")]
    pub readonly_rootfs: bool,
    /// Security options.
    pub security_opt: Option<Vec<String>>,
    /// Options of the storage driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_opt: Option<BTreeMap<String, String>>,
    /// Memory file systems, target to options.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tmpfs: Option<BTreeMap<String, String>>,
    /// `host` or empty.
    #[serde(rename = "UTSMode", deserialize_with = "or_default")]
    pub uts_mode: String,
    /// `host` or empty.
    #[serde(deserialize_with = "or_default")]
    pub userns_mode: String,
    /// Size of /dev/shm in bytes; zero: 64 MiB.
    #[serde(deserialize_with = "or_default")]
    pub shm_size: i64,
    /// Kernel parameters of the container's namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sysctls: Option<BTreeMap<String, String>>,
    /// OCI runtime.
    #[serde(deserialize_with = "or_default")]
    pub runtime: String,
    /// Windows only.
    #[serde(deserialize_with = "or_default")]
    pub isolation: String,
    /// Relative CPU weight.
    #[serde(deserialize_with = "or_default")]
    pub cpu_shares: i64,
    /// Memory limit in bytes.
    #[serde(deserialize_with = "or_default")]
    pub memory: i64,
    /// CPU quota in 10⁻⁹ CPUs.
    #[serde(deserialize_with = "or_default")]
    pub nano_cpus: i64,
    /// Cgroup to put the container's cgroup in.
    #[serde(deserialize_with = "or_default")]
    pub cgroup_parent: String,
    /// Block device weight, 10 to 1000.
    #[serde(deserialize_with = "or_default")]
    pub blkio_weight: u16,
    /// Block device weight by device.
    pub blkio_weight_device: Option<Vec<WeightDevice>>,
    /// Read limit, bytes a second.
    pub blkio_device_read_bps: Option<Vec<ThrottleDevice>>,
    /// Write limit, bytes a second.
    pub blkio_device_write_bps: Option<Vec<ThrottleDevice>>,
    /// Read limit, operations a second.
    #[serde(rename = "BlkioDeviceReadIOps")]
    pub blkio_device_read_iops: Option<Vec<ThrottleDevice>>,
    /// Write limit, operations a second.
    #[serde(rename = "BlkioDeviceWriteIOps")]
    pub blkio_device_write_iops: Option<Vec<ThrottleDevice>>,
    /// Length of a CPU period in microseconds.
    #[serde(deserialize_with = "or_default")]
    pub cpu_period: i64,
    /// CPU time in a period in microseconds.
    #[serde(deserialize_with = "or_default")]
    pub cpu_quota: i64,
    /// Length of a real-time period in microseconds.
    #[serde(deserialize_with = "or_default")]
    pub cpu_realtime_period: i64,
    /// Real-time CPU time in a period in microseconds.
    #[serde(deserialize_with = "or_default")]
    pub cpu_realtime_runtime: i64,
    /// CPUs to run on, as `0-2,7`.
    #[serde(deserialize_with = "or_default")]
    pub cpuset_cpus: String,
    /// Memory nodes to use.
    #[serde(deserialize_with = "or_default")]
    pub cpuset_mems: String,
    /// Devices of the host to pass in.
    pub devices: Option<Vec<DeviceMapping>>,
    /// Rules for the device cgroup.
    pub device_cgroup_rules: Option<Vec<String>>,
    /// Devices for drivers such as nvidia.
    pub device_requests: Option<Vec<DeviceRequest>>,
    /// Soft memory limit in bytes.
    #[serde(deserialize_with = "or_default")]
    pub memory_reservation: i64,
    /// Memory and swap limit in bytes; -1: no limit.
    #[serde(deserialize_with = "or_default")]
    pub memory_swap: i64,
    /// Swappiness, 0 to 100.
    pub memory_swappiness: Option<i64>,
    /// Do not kill at the memory limit.
    pub oom_kill_disable: Option<bool>,
    /// Run an init inside that forwards signals and reaps processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
    /// Limit of processes; -1 or 0: none.
    pub pids_limit: Option<i64>,
    /// Resource limits.
    pub ulimits: Option<Vec<Ulimit>>,
    /// Windows only.
    #[serde(deserialize_with = "or_default")]
    pub cpu_count: i64,
    /// Windows only.
    #[serde(deserialize_with = "or_default")]
    pub cpu_percent: i64,
    /// Windows only.
    #[serde(rename = "IOMaximumIOps", deserialize_with = "or_default")]
    pub io_maximum_iops: u64,
    /// Windows only.
    #[serde(rename = "IOMaximumBandwidth", deserialize_with = "or_default")]
    pub io_maximum_bandwidth: u64,
    /// Obsolete; ignored by the kernel.
    #[serde(rename = "KernelMemoryTCP", deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub kernel_memory_tcp: i64,
    /// Paths that the container must not see; none: Docker's list.
    pub masked_paths: Option<Vec<String>>,
    /// Paths that the container must not write; none: Docker's list.
    pub readonly_paths: Option<Vec<String>>,
}

/// Where a container's output goes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct LogConfig {
    /// `json-file` or `none`; empty: `json-file`.
    #[serde(deserialize_with = "or_default")]
    pub r#type: String,
    /// The driver's options.
    #[serde(deserialize_with = "or_default")]
    pub config: BTreeMap<String, String>,
}

/// When a container is started again by itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct RestartPolicy {
    /// `no`, `always`, `unless-stopped`, `on-failure`, or empty.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// With `on-failure`: how often at the most.
    #[serde(deserialize_with = "or_default")]
    pub maximum_retry_count: i64,
}

/// One address of the host for a published port.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct PortBinding {
    /// Address; empty: all.
    #[serde(deserialize_with = "or_default")]
    pub host_ip: String,
    /// Port or range; empty: any free one.
    #[serde(deserialize_with = "or_default")]
    pub host_port: String,
}

/// A device of the host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeviceMapping {
    /// Its path on the host.
    #[serde(deserialize_with = "or_default")]
    pub path_on_host: String,
    /// Its path in the container; empty: the same.
    #[serde(deserialize_with = "or_default")]
    pub path_in_container: String,
    /// Of `r`, `w`, `m`.
    #[serde(deserialize_with = "or_default")]
    pub cgroup_permissions: String,
}

impl DeviceMapping {
    /// Where it is in the container.
    pub fn inside(&self) -> &str {
        if self.path_in_container.is_empty() { &self.path_on_host } else { &self.path_in_container }
    }
}

/// A request for devices to a driver.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeviceRequest {
    /// The driver.
    #[serde(deserialize_with = "or_default")]
    pub driver: String,
    /// How many; -1: all.
    #[serde(deserialize_with = "or_default")]
    pub count: i64,
    /// Which.
    #[serde(rename = "DeviceIDs")]
    pub device_ids: Option<Vec<String>>,
    /// Alternatives of sets of abilities.
    pub capabilities: Option<Vec<Vec<String>>>,
    /// Options for the driver.
    pub options: Option<BTreeMap<String, String>>,
}

/// A block device's weight.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct WeightDevice {
    /// Its path.
    pub path: String,
    /// 10 to 1000.
    pub weight: u16,
}

/// A block device's limit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct ThrottleDevice {
    /// Its path.
    pub path: String,
    /// A second.
    pub rate: u64,
}

/// A resource limit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct Ulimit {
    /// As in `setrlimit(2)`, lower case, without `RLIMIT_`.
    pub name: String,
    /// Hard limit; -1: none.
    pub hard: i64,
    /// Soft limit; -1: none.
    pub soft: i64,
}
