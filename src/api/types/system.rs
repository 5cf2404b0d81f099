//! Types of the system's operations.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::config::Empty;

/// Versions of the engine and what it is made of.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct SystemVersion {
    /// Whose engine it is.
    pub platform: Platform,
    /// Its parts.
    pub components: Vec<Component>,
    /// The Docker version whose behaviour this is, and, after `+`, ours: clients compare it.
    pub version: String,
    /// Newest API version with all its shapes.
    pub api_version: String,
    /// Oldest API version.
    #[serde(rename = "MinAPIVersion")]
    pub min_api_version: String,
    /// Revision of the source; empty.
    pub git_commit: String,
    /// Empty: no Go is in it.
    pub go_version: String,
    /// `linux`.
    pub os: String,
    /// Architecture in Go's words: `amd64`.
    pub arch: String,
    /// The kernel's version.
    pub kernel_version: String,
    /// Whether experimental features are on.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub experimental: bool,
    /// When it was built; empty: builds are reproducible.
    pub build_time: String,
}

/// Whose engine it is.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Platform {
    /// `pierless`.
    pub name: String,
}

/// A part of the engine.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Component {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// More about it.
    pub details: Option<BTreeMap<String, String>>,
}

/// The host and the engine.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct SystemInfo {
    /// The same as long as host and state directory are.
    #[serde(rename = "ID")]
    pub id: String,
    /// All containers.
    pub containers: usize,
    /// Containers that run.
    pub containers_running: usize,
    /// Containers that are paused.
    pub containers_paused: usize,
    /// All others.
    pub containers_stopped: usize,
    /// Images.
    pub images: usize,
    /// How root file systems are made.
    pub driver: String,
    /// More about that, in pairs.
    pub driver_status: Vec<[String; 2]>,
    /// The state directory.
    pub docker_root_dir: String,
    /// What is built in, by kind.
    pub plugins: Plugins,
    /// Whether memory limits work.
    pub memory_limit: bool,
    /// Whether swap limits work.
    pub swap_limit: bool,
    /// Gone from kernels.
    #[serde(rename = "KernelMemoryTCP", skip_serializing_if = "std::ops::Not::not")]
    pub kernel_memory_tcp: bool,
    /// Whether CPU periods work.
    pub cpu_cfs_period: bool,
    /// Whether CPU quotas work.
    pub cpu_cfs_quota: bool,
    /// Whether CPU shares work.
    #[serde(rename = "CPUShares")]
    pub cpu_shares: bool,
    /// Whether CPU sets work.
    #[serde(rename = "CPUSet")]
    pub cpu_set: bool,
    /// Whether limits of the number of processes work.
    pub pids_limit: bool,
    /// Whether the killer of processes that have no memory can be turned off.
    pub oom_kill_disable: bool,
    /// Whether the host forwards IPv4.
    #[serde(rename = "IPv4Forwarding")]
    pub ipv4_forwarding: bool,
    /// Whether bridged IPv4 packets pass the firewall (API before 1.50).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bridge_nf_iptables: Option<bool>,
    /// Whether bridged IPv6 packets pass the firewall (API before 1.50).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bridge_nf_ip6tables: Option<bool>,
    /// Whether the API process logs for debugging.
    pub debug: bool,
    /// Open descriptors of the API process.
    #[serde(rename = "NFd")]
    pub n_fd: usize,
    /// Its threads.
    #[serde(rename = "NGoroutines")]
    pub n_goroutines: usize,
    /// The clock, RFC 3339.
    pub system_time: String,
    /// The log driver of containers that ask for none.
    pub logging_driver: String,
    /// `systemd` or `cgroupfs`: who made the place for containers' cgroups; `none`: they have none.
    pub cgroup_driver: String,
    /// `1` or `2`.
    pub cgroup_version: String,
    /// Followers of events in the API process: not counted, 0.
    pub n_events_listener: usize,
    /// The kernel's version.
    pub kernel_version: String,
    /// The distribution.
    pub operating_system: String,
    /// Its version.
    #[serde(rename = "OSVersion")]
    pub os_version: String,
    /// `linux`.
    #[serde(rename = "OSType")]
    pub os_type: String,
    /// The machine, as `x86_64`.
    pub architecture: String,
    /// Processors.
    #[serde(rename = "NCPU")]
    pub n_cpu: usize,
    /// Bytes of memory.
    pub mem_total: u64,
    /// Docker Hub's index.
    pub index_server_address: String,
    /// How registries are spoken to.
    pub registry_config: RegistryConfig,
    /// None: they are a cluster's.
    pub generic_resources: Option<Vec<Empty>>,
    /// Proxy for HTTP.
    pub http_proxy: String,
    /// Proxy for HTTPS.
    pub https_proxy: String,
    /// Hosts without proxy.
    pub no_proxy: String,
    /// The host's name.
    pub name: String,
    /// Labels of the engine: none.
    pub labels: Vec<String>,
    /// Whether experimental features are on.
    pub experimental_build: bool,
    /// As `Version` of `/version`.
    pub server_version: String,
    /// OCI runtimes that a container may ask for.
    pub runtimes: BTreeMap<String, Runtime>,
    /// The one of containers that ask for none.
    pub default_runtime: String,
    /// The cluster: none.
    pub swarm: Swarm,
    /// Whether containers survive the API process.
    pub live_restore_enabled: bool,
    /// Windows only.
    pub isolation: String,
    /// The program that `HostConfig.Init` runs first.
    pub init_binary: String,
    /// No containerd is in it.
    pub containerd_commit: Commit,
    /// The runtime that is built in.
    pub runc_commit: Commit,
    /// The init that is built in.
    pub init_commit: Commit,
    /// What protects the host, as `name=seccomp,profile=builtin`.
    pub security_options: Vec<String>,
    /// Directories of device specifications: none.
    #[serde(rename = "CDISpecDirs")]
    pub cdi_spec_dirs: Vec<String>,
    /// What a person should know, a sentence each.
    pub warnings: Vec<String>,
}

/// What is built in, by kind.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Plugins {
    /// Volume drivers.
    pub volume: Vec<String>,
    /// Network drivers.
    pub network: Vec<String>,
    /// Authorization plugins: none.
    pub authorization: Option<Vec<String>>,
    /// Log drivers.
    pub log: Vec<String>,
}

/// How registries are spoken to.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct RegistryConfig {
    /// Networks whose registries need no TLS.
    #[serde(rename = "InsecureRegistryCIDRs")]
    pub insecure_registry_cidrs: Vec<String>,
    /// Registries by name.
    pub index_configs: BTreeMap<String, IndexInfo>,
    /// Mirrors of Docker Hub: none.
    pub mirrors: Option<Vec<String>>,
}

/// A registry.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct IndexInfo {
    /// Its name.
    pub name: String,
    /// Its mirrors.
    pub mirrors: Vec<String>,
    /// Whether it needs TLS.
    pub secure: bool,
    /// Whether it is Docker Hub.
    pub official: bool,
}

/// An OCI runtime.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Runtime {
    /// The program; the built-in one is this program.
    pub path: String,
}

/// The cluster that this engine is in: none.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Swarm {
    /// Empty.
    #[serde(rename = "NodeID")]
    pub node_id: String,
    /// Empty.
    pub node_addr: String,
    /// `inactive`.
    pub local_node_state: String,
    /// False.
    pub control_available: bool,
    /// Empty.
    pub error: String,
    /// None.
    pub remote_managers: Option<Vec<Empty>>,
}

/// A revision.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Commit {
    /// The revision, or a version.
    #[serde(rename = "ID")]
    pub id: String,
}

/// An event.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct EventMessage {
    /// As `Action`, of containers and images (API before 1.52).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// As `Actor.ID`, of containers and images (API before 1.52).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// A container's image (API before 1.52).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// `container`, `image`, `network`, `volume` …
    #[serde(rename = "Type")]
    pub kind: String,
    /// What happened.
    #[serde(rename = "Action")]
    pub action: String,
    /// What it happened to.
    #[serde(rename = "Actor")]
    pub actor: EventActor,
    /// `local`.
    pub scope: String,
    /// Seconds since 1970.
    pub time: i64,
    /// Nanoseconds since 1970.
    #[serde(rename = "timeNano")]
    pub time_nano: i64,
}

/// What an event happened to.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct EventActor {
    /// Its id.
    #[serde(rename = "ID")]
    pub id: String,
    /// Its labels, its name, and what the event adds.
    #[serde(rename = "Attributes")]
    pub attributes: BTreeMap<String, String>,
}

/// An engine plugin: there are none.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Plugin {}

/// A plugin's name in a path.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct ByName {
    /// The name.
    pub name: String,
}

/// The filters of a list that is always empty.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct FiltersQuery {
    /// Docker's filters.
    pub filters: crate::model::filters::Filters,
}
