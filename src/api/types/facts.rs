//! What the engine knows of itself, in Docker's words.

use std::collections::BTreeMap;
use std::env;

use super::containers::DRIVER;
use super::system::{
    Commit, Component, EventActor, EventMessage, IndexInfo, Platform, Plugins, RegistryConfig, Runtime, Swarm,
    SystemInfo, SystemVersion,
};
use crate::api::version::{ADVERTISED, OLDEST};
use crate::engine::system::Facts;
use crate::model::time;
use crate::state::container::Driver;
use crate::state::events::Event;
use crate::state::paths::Home;

/// What `Version` says. Clients decide by it what they may ask for, so it begins with the Docker version whose API
/// this is; ours follows as semantic versioning's build metadata, which comparisons leave out.
pub const VERSION: &str = concat!("28.5.2+pierless.", env!("CARGO_PKG_VERSION"));

/// What `DefaultRuntime` says: containers and clients name the OCI runtime so, and the built-in one does what it does.
const RUNTIME: &str = "runc";

impl SystemVersion {
    /// This program's.
    pub fn current() -> Self {
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        let arch = go_architecture(std::env::consts::ARCH).to_owned();
        let details = [
            ("ApiVersion", ADVERTISED.to_string()),
            ("MinAPIVersion", OLDEST.to_string()),
            ("Arch", arch.clone()),
            ("Os", "linux".to_owned()),
            ("KernelVersion", kernel.clone()),
            ("Experimental", "false".to_owned()),
            ("BuildTime", String::new()),
            ("GitCommit", String::new()),
            ("GoVersion", String::new()),
        ];
        let details = details.map(|(name, value)| (name.to_owned(), value));
        let component = |name: &str, version: &str, details: Option<BTreeMap<String, String>>| Component {
            name: name.to_owned(),
            version: version.to_owned(),
            details,
        };
        Self {
            platform: Platform { name: "pierless".to_owned() },
            components: vec![
                component("Engine", VERSION, Some(details.into())),
                component("pierless", env!("CARGO_PKG_VERSION"), None),
            ],
            version: VERSION.to_owned(),
            api_version: ADVERTISED.to_string(),
            min_api_version: OLDEST.to_string(),
            git_commit: String::new(),
            go_version: String::new(),
            os: "linux".to_owned(),
            arch,
            kernel_version: kernel,
            experimental: false,
            build_time: String::new(),
        }
    }
}

/// Go's word for an architecture.
pub fn go_architecture(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

impl SystemInfo {
    /// These facts.
    pub fn new(home: &Home, facts: Facts) -> Self {
        let [running, paused, stopped] = facts.containers;
        let overlay = facts.driver == Driver::Overlay;
        let commit = |id: &str| Commit { id: id.to_owned() };
        let security = ["name=seccomp,profile=builtin", "name=rootless"];
        let has = |controller: &str| facts.controllers.iter().any(|had| had == controller);
        Self {
            id: facts.id,
            containers: running + paused + stopped,
            containers_running: running,
            containers_paused: paused,
            containers_stopped: stopped,
            images: facts.images,
            driver: if overlay { DRIVER } else { "vfs" }.to_owned(),
            driver_status: vec![
                ["Backing Filesystem".to_owned(), facts.backing.to_owned()],
                ["Native Overlay".to_owned(), overlay.to_string()],
            ],
            docker_root_dir: home.data.display().to_string(),
            plugins: Plugins::built_in(),
            memory_limit: has("memory"),
            swap_limit: has("memory"),
            kernel_memory_tcp: false,
            cpu_cfs_period: has("cpu"),
            cpu_cfs_quota: has("cpu"),
            cpu_shares: has("cpu"),
            cpu_set: has("cpuset"),
            pids_limit: has("pids"),
            oom_kill_disable: false,
            ipv4_forwarding: facts.forwards,
            bridge_nf_iptables: None,
            bridge_nf_ip6tables: None,
            debug: tracing::enabled!(tracing::Level::DEBUG),
            n_fd: facts.open[0],
            n_goroutines: facts.open[1],
            system_time: time::rfc3339(time::now()),
            logging_driver: "json-file".to_owned(),
            cgroup_driver: facts.cgroup_driver.to_owned(),
            cgroup_version: if facts.cgroup_v2 { "2" } else { "1" }.to_owned(),
            n_events_listener: 0,
            kernel_version: facts.kernel,
            operating_system: facts.operating_system,
            os_version: facts.os_version,
            os_type: "linux".to_owned(),
            architecture: facts.architecture,
            n_cpu: facts.processors,
            mem_total: facts.memory,
            index_server_address: "https://index.docker.io/v1/".to_owned(),
            registry_config: RegistryConfig::shown(),
            generic_resources: None,
            http_proxy: proxy("HTTP_PROXY"),
            https_proxy: proxy("HTTPS_PROXY"),
            no_proxy: proxy("NO_PROXY"),
            name: facts.hostname,
            labels: Vec::new(),
            experimental_build: false,
            server_version: VERSION.to_owned(),
            runtimes: [(RUNTIME.to_owned(), Runtime { path: "/proc/self/exe".to_owned() })].into(),
            default_runtime: RUNTIME.to_owned(),
            swarm: Swarm::none(),
            live_restore_enabled: true,
            isolation: String::new(),
            init_binary: "docker-init".to_owned(),
            containerd_commit: commit(""),
            runc_commit: commit("built-in"),
            init_commit: commit("pierless"),
            security_options: owned(&security[..1 + usize::from(facts.rootless)]),
            cdi_spec_dirs: Vec::new(),
            warnings: facts.warnings,
        }
    }
}

impl Plugins {
    /// Nothing can be plugged in.
    fn built_in() -> Self {
        Self {
            volume: Vec::new(),
            network: owned(&["bridge", "host", "null"]),
            authorization: None,
            log: owned(&["json-file", "none"]),
        }
    }
}

impl RegistryConfig {
    /// What clients are shown of it; the rest is the user's configuration file's.
    fn shown() -> Self {
        let hub = IndexInfo { name: "docker.io".to_owned(), mirrors: Vec::new(), secure: true, official: true };
        Self {
            insecure_registry_cidrs: owned(&["::1/128", "127.0.0.0/8"]),
            index_configs: [("docker.io".to_owned(), hub)].into(),
            mirrors: None,
        }
    }
}

impl Swarm {
    /// There is none.
    fn none() -> Self {
        Self {
            node_id: String::new(),
            node_addr: String::new(),
            local_node_state: "inactive".to_owned(),
            control_available: false,
            error: String::new(),
            remote_managers: None,
        }
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A proxy of this process's environment.
fn proxy(name: &str) -> String {
    env::var(name).or_else(|_| env::var(name.to_lowercase())).unwrap_or_default()
}

impl EventMessage {
    /// An event, with the fields of before API 1.22 if `legacy`.
    pub fn new(event: &Event, legacy: bool) -> Self {
        let legacy = legacy && matches!(event.kind.as_str(), "container" | "image");
        let image = event.actor.attributes.get("image").filter(|_| event.kind == "container");
        Self {
            status: legacy.then(|| event.action.clone()),
            id: legacy.then(|| event.actor.id.clone()),
            from: image.filter(|_| legacy).cloned(),
            kind: event.kind.clone(),
            action: event.action.clone(),
            actor: EventActor { id: event.actor.id.clone(), attributes: event.actor.attributes.clone() },
            scope: event.scope.clone(),
            time: event.time,
            time_nano: event.time_nano,
        }
    }
}
