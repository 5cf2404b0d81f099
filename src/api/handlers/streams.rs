//! Container endpoints whose answers last: attach, logs, wait.

use std::os::fd::AsFd;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::api::types::ById;
use crate::api::types::containers::{WaitError, WaitReply};
use crate::api::{ApiError, ClientSocket, Cx, Hijack, JsonLines, Output, Path, Query, Raw, Stream, hijack};
use crate::engine::containers::{AttachOptions, Condition, LogOptions, Logs, Round};
use crate::engine::{self};
use crate::model::time;
use crate::state::logfile::{Entry, Selection};
use crate::sys::poll::readable_before;

/// Query of `POST /containers/{id}/attach`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AttachQuery {
    /// Key sequence that detaches, as `ctrl-p,ctrl-q`.
    #[serde(rename = "detachKeys")]
    pub detach_keys: String,
    /// What was printed so far.
    pub logs: bool,
    /// What comes.
    pub stream: bool,
    /// The client's bytes go to standard input.
    pub stdin: bool,
    /// Standard output goes to the client.
    pub stdout: bool,
    /// Standard error goes to the client.
    pub stderr: bool,
}

/// `POST /containers/{id}/attach`
pub async fn attach(cx: Cx, path: Path<ById>, q: Query<AttachQuery>) -> Result<Hijack, ApiError> {
    let q = q.0;
    let options = AttachOptions {
        stdin: q.stdin,
        stdout: q.stdout,
        stderr: q.stderr,
        stream: q.stream,
        logs: q.logs,
        detach_keys: q.detach_keys,
    };
    // The monitor expects the stream before the client is told to go on: no byte of a quick container is lost.
    let handover = cx.run(move |engine| engine.attach(&path.id, &options)).await?;
    Ok(hand_over(&cx, handover))
}

/// The answer after which the client's socket is the monitor's.
pub(super) fn hand_over(cx: &Cx, handover: engine::containers::Handover) -> Hijack {
    let content_type = hijack::content_type(cx.version(), handover.tty);
    Hijack::new(content_type, move |client: ClientSocket| {
        handover.complete(client.fd.as_fd(), &client.buffered).map_err(std::io::Error::other)
    })
}

/// Query of `GET /containers/{id}/logs`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LogsQuery {
    /// Go on with what comes.
    pub follow: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Not before this moment.
    pub since: String,
    /// Not after this moment.
    pub until: String,
    /// A time before each line.
    pub timestamps: bool,
    /// Attributes that a log driver added; `json-file` adds none here.
    pub details: bool,
    /// So many of the last lines; `all` or nothing: all.
    pub tail: String,
}

/// `GET /containers/{id}/logs`
pub async fn logs(cx: Cx, path: Path<ById>, q: Query<LogsQuery>) -> Result<Stream<Raw>, ApiError> {
    let now = time::now();
    let moment = |text: &str| match text {
        "" | "0" => Ok(None),
        _ => time::parse_moment(text, now)
            .map(Some)
            .ok_or_else(|| ApiError::bad_request(format!("invalid value for time: \"{text}\""))),
    };
    let selection = Selection {
        since: moment(&q.since)?,
        until: moment(&q.until)?,
        // As in dockerd, what is no count means all.
        tail: q.tail.parse().ok(),
    };
    let options = LogOptions { stdout: q.stdout, stderr: q.stderr, follow: q.follow, selection };
    let mut logs = cx.run(move |engine| engine.logs(&path.id, options)).await?;
    let content_type = hijack::content_type(cx.version(), logs.tty);
    let stream = cx.stream(move |_, out| send_logs(&mut logs, q.timestamps, out)).await?;
    Ok(stream.content_type(content_type))
}

/// Bytes of log that are sent at once.
const BATCH: usize = 256 << 10;

fn send_logs(logs: &mut Logs, timestamps: bool, out: &mut Output) -> engine::Result<()> {
    use std::io::Write;
    out.flush()?;
    let gone = out.gone_owned()?;
    let tty = logs.tty;
    let mut batch = Vec::new();
    loop {
        let round = logs.read(|entry| {
            frame(entry, tty, timestamps, &mut batch);
            batch.len() < BATCH
        })?;
        out.write_all(&batch)?;
        batch.clear();
        match round {
            Round::More => {}
            Round::End => return Ok(()),
            Round::Later => {
                // Many may follow for long.
                batch = Vec::new();
                if !readable_before(logs.wakes(), Some(gone.as_fd()))? {
                    return Ok(());
                }
            }
        }
    }
}

/// An entry as the client gets it: a terminal's as it is, else behind Docker's eight bytes of stream and length.
fn frame(entry: &Entry<'_>, tty: bool, timestamps: bool, batch: &mut Vec<u8>) {
    let stamp = if timestamps { format!("{} ", entry.timestamp()) } else { String::new() };
    if !tty {
        let len = u32::try_from(stamp.len() + entry.bytes.len()).expect("log entries are short");
        batch.extend_from_slice(&[entry.stream as u8, 0, 0, 0]);
        batch.extend_from_slice(&len.to_be_bytes());
    }
    batch.extend_from_slice(stamp.as_bytes());
    batch.extend_from_slice(entry.bytes);
}

/// Query of `POST /containers/{id}/wait`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct WaitQuery {
    /// `not-running` (default), `next-exit` or `removed`.
    pub condition: String,
}

/// `POST /containers/{id}/wait`
pub async fn wait(cx: Cx, path: Path<ById>, q: Query<WaitQuery>) -> Result<Stream<JsonLines<WaitReply>>, ApiError> {
    let condition = match q.condition.as_str() {
        "" | "not-running" => Condition::NotRunning,
        "next-exit" => Condition::NextExit,
        "removed" => Condition::Removed,
        other => return Err(ApiError::bad_request(format!("invalid condition: \"{other}\""))),
    };
    cx.stream(move |engine, out| {
        let mut waiter = engine.wait(&path.id, condition)?;
        // The client starts the container when it has the headers: from here on every end is seen.
        std::io::Write::flush(out)?;
        let gone = out.gone_owned()?;
        let mut wait = || loop {
            if let Some(code) = waiter.poll()? {
                return Ok(Some(code));
            }
            if !readable_before(waiter.wakes(), Some(gone.as_fd()))? {
                return Ok(None);
            }
        };
        // The status is sent: an error is told as dockerd tells it, or it would look like an exit code of 0.
        match wait() {
            Ok(Some(code)) => out.json(&WaitReply { status_code: i64::from(code), error: None })?,
            Ok(None) => {}
            Err(err) => {
                let err: engine::Error = err;
                let error = Some(WaitError { message: err.to_string() });
                out.json(&WaitReply { status_code: -1, error })?;
            }
        }
        Ok(())
    })
    .await
}
