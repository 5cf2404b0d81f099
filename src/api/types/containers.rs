//! Wire types of the container endpoints, and how they are made of the records.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::endpoints::{NetworkSettings, SummaryNetworks};
use super::mounts::{MountPoint, mount_points};
use crate::engine::Engine;
use crate::engine::containers::{CreateRequest, Top, View};
use crate::model::config::ContainerConfig;
use crate::model::host_config::HostConfig;
use crate::model::networking::NetworkingConfig;
use crate::model::time::{SECOND, rfc3339};
use crate::state::container::{ContainerRecord, StateRecord, Status};

/// Body of `POST /containers/create`.
#[derive(Debug, Clone, Default, JsonSchema)]
pub struct CreateBody {
    /// The portable half.
    #[serde(flatten)]
    pub config: ContainerConfig,
    /// The half that concerns the host.
    #[serde(rename = "HostConfig", default)]
    pub host_config: Option<HostConfig>,
    /// Networks.
    #[serde(rename = "NetworkingConfig", default)]
    pub networking_config: Option<NetworkingConfig>,
}

/// Not by serde's `flatten`, which knows names only as they are written.
impl<'de> Deserialize<'de> for CreateBody {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename = "container.CreateRequest")]
        struct CreateRequest(ContainerConfig, Host);
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        struct Host {
            host_config: Option<HostConfig>,
            networking_config: Option<NetworkingConfig>,
        }
        let CreateRequest(config, host) = CreateRequest::deserialize(de)?;
        Ok(Self { config, host_config: host.host_config, networking_config: host.networking_config })
    }
}

impl CreateBody {
    /// What the engine is asked.
    pub fn into_request(self, name: String, platform: String) -> CreateRequest {
        CreateRequest {
            name,
            platform,
            config: self.config,
            host_config: self.host_config.unwrap_or_default(),
            networking: self.networking_config.unwrap_or_default(),
            read_only_non_recursive: false,
        }
    }
}

/// Answer of `POST /containers/create`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct CreateReply {
    /// The container's id.
    pub id: String,
    /// A sentence for each thing that was asked for and will not be done.
    pub warnings: Vec<String>,
}

/// Answer of `GET /containers/{id}/json`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Inspect {
    /// 64 hexadecimal digits.
    pub id: String,
    /// When it was created, RFC 3339.
    pub created: String,
    /// The program.
    pub path: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// What it does.
    pub state: State,
    /// The image's id.
    pub image: String,
    /// The host's file that is its `/etc/resolv.conf`.
    pub resolv_conf_path: String,
    /// The host's file that is its `/etc/hostname`.
    pub hostname_path: String,
    /// The host's file that is its `/etc/hosts`.
    pub hosts_path: String,
    /// The file with its output; empty if none is kept.
    pub log_path: String,
    /// Its name, after a slash.
    pub name: String,
    /// How often its restart policy started it.
    pub restart_count: i64,
    /// The storage driver.
    pub driver: String,
    /// The operating system.
    pub platform: String,
    /// Always empty: no labelling of mounts.
    pub mount_label: String,
    /// Always empty: no labelling of processes.
    pub process_label: String,
    /// Always empty: a user cannot change AppArmor profiles.
    pub app_armor_profile: String,
    /// Exec sessions that have not ended.
    #[serde(rename = "ExecIDs")]
    pub exec_ids: Option<Vec<String>>,
    /// The half of the configuration that concerns the host.
    pub host_config: HostConfig,
    /// Where its root file system is.
    pub graph_driver: GraphDriver,
    /// Bytes in its writable layer; only if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_rw: Option<i64>,
    /// Bytes in all its layers; only if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_root_fs: Option<i64>,
    /// Its mounts.
    pub mounts: Vec<MountPoint>,
    /// The portable half of the configuration.
    pub config: ContainerConfig,
    /// Its networks.
    pub network_settings: NetworkSettings,
}

/// What a container does.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct State {
    /// `created`, `running`, `paused`, `exited`.
    pub status: String,
    /// Whether its process exists, paused or not.
    pub running: bool,
    /// Whether it is frozen.
    pub paused: bool,
    /// Whether its restart policy is about to start it.
    pub restarting: bool,
    /// Whether the kernel killed it for want of memory.
    #[serde(rename = "OOMKilled")]
    pub oom_killed: bool,
    /// Whether its record cannot be read: it can only be removed.
    pub dead: bool,
    /// Process id on the host; 0 if it does not run.
    pub pid: i32,
    /// Exit code of its last end.
    pub exit_code: i32,
    /// Why it could not be started, or was lost.
    pub error: String,
    /// Last start.
    pub started_at: String,
    /// Last end.
    pub finished_at: String,
}

impl From<&StateRecord> for State {
    fn from(state: &StateRecord) -> Self {
        Self {
            status: state.status.as_str().to_owned(),
            running: state.is_running(),
            paused: state.status == Status::Paused,
            restarting: false,
            oom_killed: state.oom_killed,
            dead: state.status == Status::Dead,
            pid: state.pid,
            exit_code: state.exit_code,
            error: state.error.clone(),
            started_at: rfc3339(state.started_at),
            finished_at: rfc3339(state.finished_at),
        }
    }
}

/// Where a root file system is.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct GraphDriver {
    /// The storage driver.
    pub name: String,
    /// The driver's directories.
    pub data: Option<BTreeMap<String, String>>,
}

/// Whose sizes are known: measured only if asked for, for it reads the whole tree.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sizes {
    /// Bytes in the writable layer.
    pub rw: i64,
    /// Bytes in all layers.
    pub root_fs: i64,
}

impl Inspect {
    /// Of a container's records and files.
    pub fn of(engine: &Engine, view: &View, sizes: Option<Sizes>) -> Self {
        let record = &view.record;
        let paths = engine.home().container(&record.id);
        let text = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
        // dockerd's clients know by an empty path that a container never ran: its files are made by its first start.
        let if_started = |path| if view.state.started_at == 0 { String::new() } else { text(path) };
        let log_path = match record.host_config.log_config.r#type.as_str() {
            "none" => String::new(),
            _ => if_started(paths.log()),
        };
        let exec_ids = if view.state.is_running() { engine.exec_ids(&record.id) } else { Vec::new() };
        let mut dirs = vec![("UpperDir", text(paths.upper())), ("WorkDir", text(paths.work()))];
        let lower: Vec<String> = engine.lower_dirs(record).into_iter().rev().map(text).collect();
        if !lower.is_empty() {
            dirs.push(("LowerDir", lower.join(":")));
        }
        let dirs = dirs.into_iter().map(|(name, dir)| (name.to_owned(), dir)).collect();
        Self {
            id: record.id.clone(),
            created: rfc3339(record.created),
            path: record.path.clone(),
            args: record.args.clone(),
            state: State::from(&view.state),
            image: record.image_id.clone(),
            resolv_conf_path: if_started(paths.etc("resolv.conf")),
            hostname_path: if_started(paths.etc("hostname")),
            hosts_path: if_started(paths.etc("hosts")),
            log_path,
            name: format!("/{}", record.name),
            restart_count: 0,
            driver: DRIVER.to_owned(),
            platform: "linux".to_owned(),
            mount_label: String::new(),
            process_label: String::new(),
            app_armor_profile: String::new(),
            exec_ids: (!exec_ids.is_empty()).then_some(exec_ids),
            host_config: record.host_config.clone(),
            graph_driver: GraphDriver { name: DRIVER.to_owned(), data: Some(dirs) },
            size_rw: sizes.map(|sizes| sizes.rw),
            size_root_fs: sizes.map(|sizes| sizes.root_fs),
            mounts: mount_points(record),
            config: record.config.clone(),
            network_settings: NetworkSettings::of(view),
        }
    }
}

/// The storage driver's name, as Docker calls the kernel's overlayfs.
pub const DRIVER: &str = "overlay2";

/// One container of `GET /containers/json`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Summary {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its names, each after a slash.
    pub names: Vec<String>,
    /// The image as its creator named it.
    pub image: String,
    /// The image's id.
    #[serde(rename = "ImageID")]
    pub image_id: String,
    /// Program and arguments.
    pub command: String,
    /// When it was created, in seconds since 1970.
    pub created: i64,
    /// Published ports.
    pub ports: Vec<Port>,
    /// Bytes in its writable layer; only if asked for, and some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_rw: Option<i64>,
    /// Bytes in all its layers; only if asked for, and some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_root_fs: Option<i64>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// `created`, `running`, `paused`, `exited`.
    pub state: String,
    /// The same for people.
    pub status: String,
    /// Of the half that concerns the host.
    pub host_config: SummaryHostConfig,
    /// Connections.
    pub network_settings: SummaryNetworks,
    /// Mounts.
    pub mounts: Vec<MountPoint>,
}

/// A published port.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Port {
    /// Address on the host.
    #[serde(rename = "IP", skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Port in the container.
    pub private_port: u16,
    /// Port on the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_port: Option<u16>,
    /// `tcp`, `udp`, `sctp`.
    pub r#type: String,
}

/// What a list tells of a `HostConfig`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct SummaryHostConfig {
    /// The network mode.
    pub network_mode: String,
    /// Annotations; from API 1.46 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

impl Summary {
    /// Of a container's records.
    pub fn of(view: &View, sizes: Option<Sizes>) -> Self {
        let record = &view.record;
        Self {
            id: record.id.clone(),
            names: vec![format!("/{}", record.name)],
            image: record.image.clone(),
            image_id: record.image_id.clone(),
            command: command(record),
            created: record.created / SECOND,
            ports: ports_of(view),
            size_rw: sizes.map(|sizes| sizes.rw).filter(|size| *size != 0),
            size_root_fs: sizes.map(|sizes| sizes.root_fs).filter(|size| *size != 0),
            labels: record.config.labels.clone(),
            state: view.state.status.as_str().to_owned(),
            status: view.status_text(),
            host_config: SummaryHostConfig {
                network_mode: record.host_config.network_mode.clone(),
                annotations: record.host_config.annotations.clone(),
            },
            network_settings: SummaryNetworks { networks: NetworkSettings::of(view).networks },
            mounts: mount_points(record),
        }
    }
}

/// Program and arguments as a list shows them: an argument with spaces in quotes.
fn command(record: &ContainerRecord) -> String {
    let quoted = |word: &String| match word.contains(' ') {
        true => format!("'{word}'"),
        false => word.clone(),
    };
    let args: Vec<String> = record.args.iter().map(quoted).collect();
    match args.is_empty() {
        true => record.path.clone(),
        false => format!("{} {}", record.path, args.join(" ")),
    }
}

/// A container's ports: each with where on the host it is reached.
fn ports_of(view: &View) -> Vec<Port> {
    let mut ports = Vec::new();
    for ((private_port, protocol), bound) in view.ports() {
        let port = |ip, public_port| Port { ip, private_port, public_port, r#type: protocol.as_str().to_owned() };
        match bound.is_empty() {
            true => ports.push(port(None, None)),
            false => ports.extend(bound.iter().map(|one| port(Some(one.address.to_string()), Some(one.host_port)))),
        }
    }
    ports
}

/// Answer of `POST /containers/{id}/wait`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct WaitReply {
    /// Exit code.
    pub status_code: i64,
    /// Why the wait failed; absent if it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<WaitError>,
}

/// Why a wait failed.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct WaitError {
    /// For a person.
    pub message: String,
}

/// Answer of `GET /containers/{id}/top`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct TopReply {
    /// Column heads.
    pub titles: Vec<String>,
    /// A row a process.
    pub processes: Vec<Vec<String>>,
}

impl From<Top> for TopReply {
    fn from(top: Top) -> Self {
        Self { titles: top.titles, processes: top.processes }
    }
}

/// Answer of `POST /containers/prune`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct PruneReply {
    /// Ids of what was removed; null if nothing was.
    pub containers_deleted: Option<Vec<String>>,
    /// Bytes freed.
    pub space_reclaimed: i64,
}
