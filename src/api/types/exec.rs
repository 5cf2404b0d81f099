//! Wire types of the exec endpoints.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::engine::exec::ExecView;
use crate::model::config::or_default;
use crate::state::exec::ExecRecord;

/// Body of `POST /containers/{id}/exec`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct ExecCreateBody {
    /// Standard input comes from the client.
    #[serde(deserialize_with = "or_default")]
    pub attach_stdin: bool,
    /// Standard output goes to the client.
    #[serde(deserialize_with = "or_default")]
    pub attach_stdout: bool,
    /// Standard error goes to the client.
    #[serde(deserialize_with = "or_default")]
    pub attach_stderr: bool,
    /// Height and width of the terminal at the start.
    pub console_size: Option<[u32; 2]>,
    /// Key sequence that detaches.
    #[serde(deserialize_with = "or_default")]
    pub detach_keys: String,
    /// With a terminal.
    #[serde(deserialize_with = "or_default")]
    pub tty: bool,
    /// `NAME=value`.
    pub env: Option<Vec<String>>,
    /// Program and arguments.
    pub cmd: Option<Vec<String>>,
    /// With all capabilities that the user has.
    #[serde(deserialize_with = "or_default")]
    pub privileged: bool,
    /// `user[:group]`; empty: the container's.
    #[serde(deserialize_with = "or_default")]
    pub user: String,
    /// Empty: the container's.
    #[serde(deserialize_with = "or_default")]
    pub working_dir: String,
}

impl ExecCreateBody {
    /// What the engine is asked.
    pub fn into_record(self, container: String) -> ExecRecord {
        ExecRecord {
            id: String::new(),
            container,
            cmd: self.cmd.unwrap_or_default(),
            env: self.env.unwrap_or_default(),
            user: self.user,
            working_dir: self.working_dir,
            tty: self.tty,
            privileged: self.privileged,
            attach_stdin: self.attach_stdin,
            attach_stdout: self.attach_stdout,
            attach_stderr: self.attach_stderr,
            detach_keys: self.detach_keys,
            console_size: self.console_size,
            raw: None,
        }
    }
}

/// Answer of `POST /containers/{id}/exec`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ExecCreateReply {
    /// The session's id.
    pub id: String,
}

/// Body of `POST /exec/{id}/start`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct ExecStartBody {
    /// Without streams.
    #[serde(deserialize_with = "or_default")]
    pub detach: bool,
    /// Whether the stream is raw, as a terminal's, or in frames; whatever the session has.
    #[serde(deserialize_with = "or_default")]
    pub tty: bool,
    /// Height and width of the terminal at the start.
    pub console_size: Option<[u32; 2]>,
}

/// Answer of `GET /exec/{id}/json`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ExecInspect {
    /// The session's id.
    #[serde(rename = "ID")]
    pub id: String,
    /// Whether its process exists.
    pub running: bool,
    /// Null until it has ended.
    pub exit_code: Option<i32>,
    /// What runs.
    pub process_config: ProcessConfig,
    /// Standard input comes from the client.
    pub open_stdin: bool,
    /// Standard error goes to the client.
    pub open_stderr: bool,
    /// Standard output goes to the client.
    pub open_stdout: bool,
    /// Always true once it has ended.
    pub can_remove: bool,
    /// The container's id.
    #[serde(rename = "ContainerID")]
    pub container_id: String,
    /// Key sequence that detaches, as bytes in base 64.
    pub detach_keys: String,
    /// Process id on the host; 0 before the start.
    pub pid: i32,
}

/// What an exec session runs.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ProcessConfig {
    /// With a terminal.
    pub tty: bool,
    /// The program.
    pub entrypoint: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// With all capabilities that the user has.
    pub privileged: bool,
    /// `user[:group]`, if one was asked for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
}

impl From<ExecView> for ExecInspect {
    fn from(exec: ExecView) -> Self {
        let ExecView { record, state } = exec;
        let mut words = record.cmd.into_iter();
        Self {
            id: record.id,
            running: state.running,
            exit_code: state.exit_code,
            process_config: ProcessConfig {
                tty: record.tty,
                entrypoint: words.next().unwrap_or_default(),
                arguments: words.collect(),
                privileged: record.privileged,
                user: record.user,
            },
            open_stdin: record.attach_stdin,
            open_stderr: record.attach_stderr,
            open_stdout: record.attach_stdout,
            can_remove: false,
            container_id: record.container,
            detach_keys: record.detach_keys,
            pid: state.pid,
        }
    }
}
