//! An exec session's two records. They live in the run directory: a session does not outlive its container.

use serde::{Deserialize, Serialize};

/// What was asked: `exec.json`, written once by the engine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecRecord {
    /// 64 hexadecimal digits.
    pub id: String,
    /// The container's id.
    pub container: String,
    /// Program and arguments.
    pub cmd: Vec<String>,
    /// `NAME=value` over the container's environment.
    pub env: Vec<String>,
    /// `user[:group]`; empty: the container's.
    pub user: String,
    /// Empty: the container's.
    pub working_dir: String,
    /// With a terminal.
    pub tty: bool,
    /// With all capabilities that the user has.
    pub privileged: bool,
    /// Whether standard input comes from the client.
    pub attach_stdin: bool,
    /// Whether standard output goes to the client.
    pub attach_stdout: bool,
    /// Whether standard error goes to the client.
    pub attach_stderr: bool,
    /// Key sequence that detaches; empty: Docker's.
    pub detach_keys: String,
    /// Height and width of the terminal at the start.
    pub console_size: Option<[u32; 2]>,
    /// How the client that starts it reads the stream: as a terminal's, raw, or in frames. Not on disk.
    #[serde(skip)]
    pub raw: Option<bool>,
}

/// What happened: `state.json`, written by the monitor. Missing until the start.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecState {
    /// Whether its process exists.
    pub running: bool,
    /// Process id on the host; 0 before the start.
    pub pid: i32,
    /// None until it has ended.
    pub exit_code: Option<i32>,
}
