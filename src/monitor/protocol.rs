//! The messages between the engine and a monitor.
//!
//! A `SOCK_SEQPACKET` connection to `monitor.sock`; one packet is one message: JSON, and where a message carries bytes,
//! a NUL and then the bytes as they are. The client asks, the monitor answers, strictly in turn. An attached client's
//! socket travels with [`Request::Stream`] as SCM_RIGHTS.
//!
//! # Versions
//!
//! A monitor lives as long as its container, so after an upgrade engines speak to monitors of older programs, and a
//! command line that was not replaced yet may speak to newer ones. The client greets first ([`Request::Hello`]) and both
//! then speak the lower of the two [`VERSION`]s:
//!
//! * A request, an answer or a value that a version did not have is only sent to who has it. A new member of a message
//!   is optional, and its absence means what was meant before it existed; unknown members are passed over.
//! * A message that a monitor does not know is refused with a text that says how old the monitor is.
//! * Version 0 has no greeting: such a monitor closes the connection at one. The client then connects again and does
//!   without (see [`super::client::connect`]). What it cannot ask is an error that says so, or done as it was then.
//!
//! `transcript-0.txt` is what was said in version 0, and so on; a test replays them against the client and the monitor of
//! today.
//! Whoever changes messages raises the version, and adds a transcript of the last one if there is none.

use serde::{Deserialize, Serialize};

use crate::model::ErrorKind;
use crate::model::networking::EndpointSettings;

/// The version of the messages in this file.
pub const VERSION: u32 = 2;

/// How a failure begins whose reason is that the missing source of a bind could not be made.
pub const MOUNT_SOURCE: &str = "error while creating mount source path";

/// The largest number of bytes that one [`Request::Input`] or [`Request::Stream`] carries.
pub const MAX_BYTES: usize = 64 * 1024;
/// The largest packet: bytes and JSON.
pub const MAX_PACKET: usize = MAX_BYTES + 16 * 1024;

/// What a client of the monitor asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// The greeting, before all else (since 1). Answer: Welcome.
    Hello {
        /// The client's [`VERSION`].
        version: u32,
    },
    /// Start the container, once every announced attach has handed over its stream. Answer: Running or Failed. A start
    /// that is under way already is joined.
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
        /// Tell of the stop, before the end (since 1; else the client does, afterwards).
        #[serde(default)]
        tell: bool,
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
    /// Connect the running container to a network (since 2). Answer: Ok.
    Connect {
        /// The network's id.
        network: String,
        /// What is asked of the connection.
        settings: Box<EndpointSettings>,
    },
    /// Take the running container out of a network (since 2). Answer: Ok.
    Disconnect {
        /// The network's id.
        network: String,
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
    /// Whether the client reads the stream as a terminal's, raw, whatever the session has (since 1; else it reads what
    /// the session has).
    #[serde(default)]
    pub raw: Option<bool>,
}

/// What the monitor answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The greeting returned.
    Welcome {
        /// The monitor's [`VERSION`].
        version: u32,
        /// Where its container is.
        phase: Phase,
    },
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

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// It does not run, and is not being started.
    Created,
    /// It is being started.
    Starting,
    /// Its process runs.
    Running,
    /// A phase of a later version.
    #[serde(other)]
    Other,
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
    /// Never for this (since 2).
    Forbidden,
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
            Self::Forbidden => ErrorKind::Forbidden,
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
        let stop = Request::Stop { signal: 15, timeout_s: -1, keep: false, tell: false };
        assert_eq!(parse(&encode(&stop)).expect("parses"), (stop, &b""[..]));
        assert!(parse::<Request>(b"{").is_err());
    }
}
