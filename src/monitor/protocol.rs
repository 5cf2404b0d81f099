//! The messages between the engine and a monitor.
//!
//! A `SOCK_SEQPACKET` connection to `monitor.sock`; one packet is one message: JSON, and where a message carries bytes,
//! a NUL and then the bytes as they are. The client asks, the monitor answers, strictly in turn. An attached client's
//! socket travels with [`Request::Stream`] as SCM_RIGHTS.

use serde::{Deserialize, Serialize};

use crate::model::ErrorKind;

/// The largest number of bytes that one [`Request::Input`] or [`Request::Stream`] carries.
pub const MAX_BYTES: usize = 64 * 1024;
/// The largest packet: bytes and JSON.
pub const MAX_PACKET: usize = MAX_BYTES + 16 * 1024;

/// What a client of the monitor asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Start the container, once every announced attach has handed over its stream. Answer: Running or Failed.
    Start,
    /// Announces an attach. Answer: Ready; then come Input…, Stream.
    Attach(Attach),
    /// Announces the start of an exec session. Answer: Ready, then come Input…, Stream; or if detached, Running or Failed.
    ExecStart(ExecStart),
    /// Bytes that the client already sent after its request, when there are more than one packet holds. Answer: Ready.
    Input,
    /// The announced stream: its socket is the packet's descriptor. The monitor speaks on it from now on. Answer: Ok.
    Stream,
    /// Send a signal to the container's process. Answer: Ok.
    Signal {
        /// Its number.
        signal: i32,
    },
    /// Send a signal and after a while SIGKILL. Answer, when the end is committed: Exited. The stop goes on without the
    /// asker. A monitor whose container was not started answers Failed (Conflict) and ends.
    Stop {
        /// The number of the first signal.
        signal: i32,
        /// Seconds until SIGKILL; negative: never.
        timeout_s: i64,
        /// Keep the container even if it is to be removed at its end: a start follows.
        keep: bool,
    },
    /// Answer, when the container's next end is committed and its cleanup is done: Exited.
    Wait,
    /// Size of a terminal; before the start it is remembered. Answer: Ok.
    Resize {
        /// The exec session; none: the container's own terminal.
        exec: Option<String>,
        /// Rows.
        height: u16,
        /// Columns.
        width: u16,
    },
}

/// What an attached client wants.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attach {
    /// Its bytes go to the container's standard input.
    pub stdin: bool,
    /// It gets standard output.
    pub stdout: bool,
    /// It gets standard error.
    pub stderr: bool,
    /// It gets what comes; else only the log so far.
    pub stream: bool,
    /// It gets the log so far.
    pub logs: bool,
    /// Key sequence that detaches; empty: `ctrl-p,ctrl-q`.
    pub detach_keys: String,
}

/// How to start an exec session; the rest is in its record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecStart {
    /// The session's id.
    pub exec_id: String,
    /// Without streams.
    pub detach: bool,
    /// Height and width of its terminal, over those of the record.
    pub console_size: Option<[u32; 2]>,
}

/// What the monitor answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Done.
    Ok,
    /// Go on with the stream.
    Ready,
    /// It runs.
    Running {
        /// The process's id on the host.
        pid: i32,
    },
    /// It did not work; for a start, nothing of it remains.
    Failed {
        /// What sort of failure.
        kind: Failure,
        /// For a person.
        message: String,
    },
    /// The container has ended, which is committed.
    Exited {
        /// Its exit code.
        code: i32,
    },
}

/// Sorts of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// The program does not exist: exit code 127.
    CommandNotFound,
    /// The program cannot be executed: exit code 126.
    NotExecutable,
    /// The request makes no sense.
    Invalid,
    /// There is no such exec session.
    NotFound,
    /// The container does not run, or the exec session has been started already.
    Conflict,
    /// The container runs already.
    AlreadyRunning,
    /// The host failed.
    System,
}

impl Failure {
    /// The exit code that a failed start leaves, as dockerd records it.
    pub fn exit_code(self) -> i32 {
        match self {
            Self::CommandNotFound => 127,
            Self::NotExecutable => 126,
            _ => 128,
        }
    }

    /// The kind that callers tell apart. dockerd answers a start that fails for its command with 400.
    pub fn kind(self) -> ErrorKind {
        match self {
            Self::CommandNotFound | Self::NotExecutable | Self::Invalid => ErrorKind::InvalidParameter,
            Self::NotFound => ErrorKind::NotFound,
            Self::Conflict => ErrorKind::Conflict,
            Self::AlreadyRunning => ErrorKind::NotModified,
            Self::System => ErrorKind::System,
        }
    }
}

/// Splits a packet into its message and the bytes behind it.
///
/// # Errors
/// If the message is not one.
pub fn parse<'a, T: Deserialize<'a>>(packet: &'a [u8]) -> Result<(T, &'a [u8]), serde_json::Error> {
    let end = packet.iter().position(|&byte| byte == 0).unwrap_or(packet.len());
    let bytes = packet.get(end + 1..).unwrap_or_default();
    Ok((serde_json::from_slice(&packet[..end])?, bytes))
}

/// The JSON of a message; JSON text contains no NUL.
pub fn encode(message: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(message).expect("messages are plain data")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_ride_behind_the_message() {
        let mut packet = encode(&Request::Stream);
        packet.extend(b"\0a\0b");
        assert_eq!(parse(&packet).expect("parses"), (Request::Stream, &b"a\0b"[..]));
        let stop = Request::Stop { signal: 15, timeout_s: -1, keep: false };
        assert_eq!(parse(&encode(&stop)).expect("parses"), (stop, &b""[..]));
        assert!(parse::<Request>(b"{").is_err());
    }
}
