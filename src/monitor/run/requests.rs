//! What each request comes to.

use std::os::fd::OwnedFd;

use super::attached::{Client, Options};
use super::door::{Asked, Outcome, Waits, refuse};
use super::life::{Phase, Stop};
use super::networks::Change;
use super::parts::Parts;
use crate::monitor::detach::{self, Detach};
use crate::monitor::protocol::{self, Attach, ExecStart, Failure, Reply, Request, VERSION};
use crate::state;
use crate::state::logfile::{LogReader, Selection};

/// Bytes that a client may send before its stream is handed over.
const MAX_EARLY: usize = 1 << 20;

/// Serves one request.
pub fn serve(asked: Asked, all: &mut Parts) {
    let Asked { mut connection, request, bytes, socket } = asked;
    let outcome = match (std::mem::take(&mut connection.waits), request) {
        (Waits::Attach(attach, early), Request::Input) => more(early, &bytes, |early| Waits::Attach(attach, early)),
        (Waits::Exec(at, early), Request::Input) => more(early, &bytes, |early| Waits::Exec(at, early)),
        (Waits::Attach(attach, mut early), Request::Stream) => {
            early.extend(bytes);
            attach_client(&attach, &early, socket, all)
        }
        (Waits::Exec(at, mut early), Request::Stream) => {
            early.extend(bytes);
            exec_attached(at, &early, socket, all)
        }
        (Waits::Request, request) => serve_new(request, all),
        (waits, _) => {
            gone(&waits, all);
            refuse(Failure::Invalid, "not the request that is expected now")
        }
    };
    all.door.settle(connection, outcome, &mut all.cx.watch);
}

/// A connection that waited for this is gone, or does not wait any longer.
pub fn gone(waits: &Waits, all: &mut Parts) {
    if let Waits::Exec(at, _) = waits {
        all.execs.abandon(*at, &mut all.cx);
    }
}

fn serve_new(request: Request, all: &mut Parts) -> Outcome {
    match request {
        Request::Hello { .. } => Outcome::Answer(Reply::Welcome { version: VERSION, phase: phase(all) }),
        Request::Start => match all.life.phase() {
            Phase::Running { .. } => refuse(Failure::AlreadyRunning, "container is already running"),
            // Answered when the starter has reported; a start waits for announced streams.
            _ => Outcome::Later(Waits::Start),
        },
        Request::Attach(attach) => match detach::parse(&attach.detach_keys) {
            Ok(_) => Outcome::Then(Reply::Ready, Waits::Attach(attach, Vec::new())),
            Err(error) => refuse(Failure::Invalid, error),
        },
        Request::ExecStart(start) => exec_announced(&start, all),
        Request::Input | Request::Stream => refuse(Failure::Invalid, "no stream was announced"),
        Request::Wait => Outcome::Later(Waits::End),
        Request::Connect { network, settings } => change(Change::Connect(network, settings), all),
        Request::Disconnect { network } => change(Change::Disconnect(network), all),
        Request::Stop { signal, timeout_s, keep, tell } => stop(Stop { signal, timeout_s }, keep, tell, all),
        Request::Signal { signal } => match all.life.signal(signal) {
            true => Outcome::Answer(Reply::Ok),
            false => not_running(),
        },
        Request::Resize { exec, height, width } => {
            let streams = match &exec {
                None => Some(&mut all.life.streams),
                Some(exec) => all.execs.by_id(exec),
            };
            match streams.map(|streams| streams.resize(height, width)) {
                Some(Ok(())) => Outcome::Answer(Reply::Ok),
                Some(Err(error)) => refuse(Failure::System, error),
                None => refuse(Failure::NotFound, format!("No such exec instance: {}", exec.unwrap_or_default())),
            }
        }
    }
}

/// Begun when those before it are done.
fn change(change: Change, all: &mut Parts) -> Outcome {
    match all.life.namespaces() {
        Some(_) => Outcome::Later(Waits::Change(all.networks.ask(change))),
        None => not_running(),
    }
}

fn not_running() -> Outcome {
    refuse(Failure::Conflict, "container is not running")
}

fn phase(all: &Parts) -> protocol::Phase {
    match all.life.phase() {
        Phase::Created => protocol::Phase::Created,
        Phase::Starting { .. } => protocol::Phase::Starting,
        Phase::Running { .. } => protocol::Phase::Running,
        Phase::Over => protocol::Phase::Other,
    }
}

fn stop(stop: Stop, keep: bool, tell: bool, all: &mut Parts) -> Outcome {
    if matches!(all.life.phase(), Phase::Created) {
        // The container is to be removed: nobody shall wait for its start any more.
        all.life.streams.drop_clients(&mut all.cx.watch);
        all.life.leave(&mut all.cx, &mut all.door);
        return not_running();
    }
    match all.life.stop(stop, &mut all.cx, &mut all.door) {
        true => {
            if keep {
                all.life.keep();
            }
            if tell {
                all.life.tell_stop();
            }
            Outcome::Later(Waits::End)
        }
        false => not_running(),
    }
}

fn more(mut early: Vec<u8>, bytes: &[u8], waits: impl FnOnce(Vec<u8>) -> Waits) -> Outcome {
    if early.len() + bytes.len() > MAX_EARLY {
        return refuse(Failure::Invalid, "too much input before the stream");
    }
    early.extend_from_slice(bytes);
    Outcome::Then(Reply::Ready, waits(early))
}

/// Attaches a client to the container.
fn attach_client(attach: &Attach, early: &[u8], socket: Option<OwnedFd>, all: &mut Parts) -> Outcome {
    let Some(socket) = socket else { return refuse(Failure::Invalid, "no socket came with the stream") };
    let settings = &all.life.settings;
    let replay = (attach.logs && settings.log.is_some())
        .then(|| LogReader::open(&all.cx.files.paths.log(), Selection::default()).ok())
        .flatten();
    let options = Options {
        wants: [attach.stdout, attach.stderr],
        stdin: attach.stdin && attach.stream && settings.open_stdin,
        framed: !settings.tty,
        stream: attach.stream,
        // Without a terminal the input is data, in which any byte may occur.
        detach: (settings.tty && attach.stdin)
            .then(|| detach::parse(&attach.detach_keys).ok().map(Detach::new))
            .flatten(),
        replay,
    };
    let stays = attach.stream || options.replay.is_some();
    let mut client = match Client::new(socket, options) {
        Ok(client) => client,
        Err(error) => return refuse(Failure::Invalid, error),
    };
    match stays {
        true => all.life.streams.attach(client, early, &mut all.cx),
        false => client.finish(),
    }
    Outcome::Answer(Reply::Ok)
}

/// A session is to be started: at once if detached, else when its stream comes.
fn exec_announced(start: &ExecStart, all: &mut Parts) -> Outcome {
    let id = &start.exec_id;
    let mut record = match all.cx.files.exec(id) {
        Ok(record) => record,
        Err(state::Error::Missing(_)) => return refuse(Failure::NotFound, format!("No such exec instance: {id}")),
        // Of descriptors, for one.
        Err(error) => return refuse(Failure::System, error),
    };
    let Some(init) = all.life.pid() else {
        return refuse(Failure::Conflict, format!("container {} is not running", all.cx.files.id));
    };
    if exec_exists(id, all) {
        return refuse(Failure::Conflict, format!("exec {id} has already been started"));
    }
    if start.console_size.is_some() {
        record.console_size = start.console_size;
    }
    record.attach_stdin &= !start.detach;
    record.raw = start.raw;
    let at = match all.execs.announce(record, &*all.life.launcher, init, &mut all.cx) {
        Ok(at) => at,
        Err(refusal) => return refuse(refusal.failure, refusal.message),
    };
    if !start.detach {
        return Outcome::Then(Reply::Ready, Waits::Exec(at, Vec::new()));
    }
    all.execs.start(at, None, &mut all.cx);
    Outcome::Later(Waits::ExecStart(at))
}

fn exec_exists(id: &str, all: &mut Parts) -> bool {
    all.execs.by_id(id).is_some() || all.cx.files.exec_has_state(id)
}

/// An announced session's stream has come.
fn exec_attached(at: usize, early: &[u8], socket: Option<OwnedFd>, all: &mut Parts) -> Outcome {
    let over = || refuse(Failure::Conflict, "the exec session has ended with its container");
    let Some(record) = all.execs.announced(at) else { return over() };
    let detach = (record.tty && record.attach_stdin).then(|| detach::parse(&record.detach_keys).ok());
    let options = Options {
        wants: [record.attach_stdout, record.attach_stderr],
        stdin: record.attach_stdin,
        framed: !record.raw.unwrap_or(record.tty),
        stream: true,
        detach: detach.flatten().map(Detach::new),
        replay: None,
    };
    let client = socket.ok_or_else(|| "no socket came with the stream".to_owned());
    match client.and_then(|socket| Client::new(socket, options).map_err(|error| error.to_string())) {
        Ok(client) => match all.execs.start(at, Some((client, early)), &mut all.cx) {
            true => Outcome::Answer(Reply::Ok),
            false => over(),
        },
        Err(error) => {
            all.execs.abandon(at, &mut all.cx);
            refuse(Failure::Invalid, error)
        }
    }
}
