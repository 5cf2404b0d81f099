//! A container's two records: what was asked, and what happened.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::config::ContainerConfig;
use crate::model::host_config::HostConfig;
use crate::model::ids::short;
use crate::model::networking::{Endpoint, EndpointSettings};
use crate::model::ports::Bound;
use crate::model::settings::Settings;
use crate::model::signal;
use crate::model::time::Nanos;

/// What was asked: `container.json`, written by the engine under the container's lock.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerRecord {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Without a slash.
    pub name: String,
    /// When it was created.
    pub created: Nanos,
    /// The program: the first word of entrypoint and command together.
    pub path: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// The image as the creator named it.
    pub image: String,
    /// The image's id, `sha256:…`.
    pub image_id: String,
    /// `os/architecture`.
    pub platform: String,
    /// Chain ids (hexadecimal) of the image's layers, the lowest first.
    pub layers: Vec<String>,
    /// How the root file system is made.
    pub driver: Driver,
    /// By which id maps its own files have their owners; empty: of an older version, which did not remember.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ids: String,
    /// Configuration: the creator's over the image's.
    pub config: ContainerConfig,
    /// The half that concerns the host.
    pub host_config: HostConfig,
    /// Connections to networks, by network.
    pub endpoints: BTreeMap<String, EndpointSettings>,
    /// What the texts of the two halves mean, read at the creation; none: of an older version, see
    /// [`ContainerRecord::settings`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<Settings>,
}

/// How a container's root file system is made of its image's layers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// The kernel's overlayfs: layers below, `upper/` above.
    #[default]
    Overlay,
    /// All layers copied into `upper/` at creation, where overlayfs is refused.
    Copy,
}

impl ContainerRecord {
    /// What was read of the request when the container was created. The record of a version that did not store it is
    /// read again.
    ///
    /// # Errors
    /// Of such a record: what today's rules do not allow any more.
    pub fn settings(&self) -> Result<Cow<'_, Settings>, String> {
        match &self.settings {
            Some(settings) => Ok(Cow::Borrowed(settings)),
            None => Settings::read(&self.config, &self.host_config).map(Cow::Owned),
        }
    }

    /// What it is called in a network that it is connected to so: its own name first, each once, as dockerd has it.
    pub fn dns_names(&self, connection: &EndpointSettings) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        let more = connection.aliases.iter().flatten().map(String::as_str);
        for name in [self.name.as_str()].into_iter().chain(more).chain([short(&self.id), self.config.hostname.as_str()])
        {
            if !name.is_empty() && !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        names
    }

    /// The attributes of this container's events: its labels, image and name.
    pub fn event_attributes(&self) -> BTreeMap<String, String> {
        let mut attributes = self.config.labels.clone();
        attributes.insert("image".into(), self.image.clone());
        attributes.insert("name".into(), self.name.clone());
        attributes
    }
}

/// What a container is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Never started.
    #[default]
    Created,
    /// Its process runs.
    Running,
    /// Its processes are frozen.
    Paused,
    /// Its process has ended.
    Exited,
    /// Its record cannot be read: it can only be removed. Never written.
    Dead,
}

impl Status {
    /// Docker's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }
}

/// What happened: `state.json`, written by the monitor, or by who finds the monitor dead and takes its lock. Missing
/// until the first start.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StateRecord {
    /// What it does.
    pub status: Status,
    /// Process id of its init on the host; 0 if it does not run.
    pub pid: i32,
    /// The init's start time, in clock ticks since boot: with `boot_id` it tells a reused pid.
    pub pid_start: u64,
    /// The boot in which `pid` is meant.
    pub boot_id: String,
    /// Last start; 0: never.
    pub started_at: Nanos,
    /// Last end; 0: never.
    pub finished_at: Nanos,
    /// Code of the last end: the program's, or 128 and the signal; 126 and 127 if it could not be started.
    pub exit_code: i32,
    /// Why the last start failed or how it was lost; else empty.
    pub error: String,
    /// Whether the kernel ended a process of its last run for want of memory.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub oom_killed: bool,
    /// How often it has ended: tells one end from the next.
    pub exits: u64,
    /// Whether a person asked for the last stop.
    pub stopped_by_user: bool,
    /// Its connections to networks, in the order of their interfaces; none if it does not run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Endpoint>,
    /// Where its published ports are reached; none if it does not run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Bound>,
    /// A start is under way in the boot `boot_id`, and its outcome is not known.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub starting: bool,
    /// Whether the last stop is part of a restart: a container that is to be removed at its end stays for once.
    pub kept: bool,
}

/// Exit code of a container whose end nobody saw: as after SIGKILL.
pub const LOST: i32 = 128 + signal::KILL;

impl StateRecord {
    /// An end that nobody saw, found at this moment, for this reason.
    pub fn lost(at: Nanos, why: String) -> Self {
        Self { status: Status::Exited, finished_at: at, exit_code: LOST, error: why, ..Self::default() }
    }

    /// Whether its process exists.
    pub fn is_running(&self) -> bool {
        matches!(self.status, Status::Running | Status::Paused)
    }

    /// Whether its process may exist: it does, or a start is under way whose outcome is not known.
    pub fn may_run(&self) -> bool {
        self.is_running() || self.starting
    }
}
