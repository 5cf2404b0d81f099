//! `pierless run`: create, attach, start, carry the streams, hand on the exit code, in the order that `docker run` has.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::{SigSet, Signal};

use super::args::{PullWhen, Run};
use super::terminal::RawMode;
use super::{Error, pull};
use crate::engine::containers::{AttachOptions, Condition, CreateRequest, Created, Waiter};
use crate::engine::images::parse_platform;
use crate::engine::{self, Engine};
use crate::image;
use crate::model::config::ContainerConfig;
use crate::model::host_config::HostConfig;
use crate::monitor::client;
use crate::sys::poll::readable_before;

/// Exit code of a container that could not be made or started, as `docker run` has it.
const CANNOT: u8 = 125;
/// The keys that leave a container running.
const DETACH_KEYS: [u8; 2] = [0x10, 0x11];

/// Runs a container; gives the exit code for the shell.
pub fn run(engine: &Engine, options: Run) -> Result<u8, Error> {
    match run_inner(engine, options) {
        Err(Error::Engine(error)) => {
            eprintln!("pierless: {error}");
            Ok(start_failure(&error))
        }
        other => other,
    }
}

/// 126 and 127 tell a shell that a command cannot be run, or is not there.
fn start_failure(error: &engine::Error) -> u8 {
    match error {
        engine::Error::Monitor(client::Error::Failed { failure, .. }) => {
            u8::try_from(failure.exit_code()).ok().filter(|code| [126, 127].contains(code)).unwrap_or(CANNOT)
        }
        _ => CANNOT,
    }
}

fn run_inner(engine: &Engine, options: Run) -> Result<u8, Error> {
    let (detach, interactive, tty, rm) = (options.detach, options.interactive, options.tty, options.rm);
    let created = create(engine, options)?;
    for warning in &created.warnings {
        eprintln!("WARNING: {warning}");
    }
    let id = created.id;
    if detach {
        engine.start(&id).inspect_err(|_| discard(engine, &id, rm))?;
        println!("{id}");
        return Ok(0);
    }
    let begun = start_attached(engine, &id, interactive, rm);
    let (waiter, ours, signals) = begun.inspect_err(|_| discard(engine, &id, rm))?;
    let raw = if tty && interactive { RawMode::enter() } else { None };
    if tty {
        resize(engine, &id);
    }
    pass_signals(engine.clone(), id, signals, tty);
    let detached = Arc::new(AtomicBool::new(false));
    if interactive {
        send_stdin(ours.try_clone().map_err(Error::doing("copy a stream"))?, tty, Arc::clone(&detached));
    }
    let received = if tty { copy_raw(&ours) } else { copy_frames(&ours) };
    drop(raw);
    received.map_err(Error::doing("read the container's output"))?;
    if detached.load(Ordering::Relaxed) {
        return Ok(0);
    }
    Ok(u8::try_from(end(waiter)?).unwrap_or(u8::MAX))
}

/// Starts it once somebody waits for its end and has its streams. The signals that are to be passed on are blocked.
fn start_attached(
    engine: &Engine,
    id: &str,
    interactive: bool,
    rm: bool,
) -> Result<(Waiter, UnixStream, SigSet), Error> {
    let waiter = engine.wait(id, if rm { Condition::Removed } else { Condition::NextExit })?;
    let handover = engine.attach(
        id,
        &AttachOptions { stdin: interactive, stdout: true, stderr: true, stream: true, ..AttachOptions::default() },
    )?;
    let (ours, theirs) = UnixStream::pair().map_err(Error::doing("make a stream"))?;
    handover.complete(theirs.as_fd(), &[])?;
    drop(theirs);
    // Set before any thread exists, so that all of them leave these signals to the one that passes them on.
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2] {
        signals.add(signal);
    }
    signals.add(Signal::SIGWINCH);
    signals.thread_block().map_err(|error| Error::doing("block signals")(error.into()))?;
    engine.start(id)?;
    Ok((waiter, ours, signals))
}

/// Creates it, and pulls the image where that is wanted.
fn create(engine: &Engine, options: Run) -> Result<Created, Error> {
    let (when, quiet, platform) = (options.pull, options.quiet, options.platform.clone());
    let request = request(options)?;
    let image = request.config.image.clone();
    let pull = || pull::fetch(engine, &image, false, platform.as_deref(), quiet);
    if when == PullWhen::Always {
        pull()?;
    }
    match engine.create(request.clone()) {
        Err(engine::Error::Image(image::Error::Missing(name) | image::Error::OtherPlatform { name, .. }))
            if when == PullWhen::Missing =>
        {
            if !quiet {
                eprintln!("Unable to find image '{name}' locally");
            }
            pull()?;
            Ok(engine.create(request)?)
        }
        other => Ok(other?),
    }
}

/// What was created for one start that failed goes again, if it was to go at its end.
fn discard(engine: &Engine, id: &str, rm: bool) {
    if rm {
        // The monitor may have removed it already.
        let _ = engine.remove(id, true);
    }
}

fn request(options: Run) -> Result<CreateRequest, Error> {
    let here = std::env::current_dir().map_err(Error::doing("find the current folder"))?;
    let env = options.env.into_iter().filter_map(|entry| match entry.contains('=') {
        true => Some(entry),
        false => std::env::var(&entry).ok().map(|value| format!("{entry}={value}")),
    });
    let binds = options.volume.into_iter().map(|volume| match volume.split_once(':') {
        // Only a path can be relative; the rest is for the engine to judge.
        Some((source, rest)) if source.starts_with('.') => format!("{}:{rest}", absolute(&here, source).display()),
        _ => volume,
    });
    let labels = options.label.into_iter().map(|label| match label.split_once('=') {
        Some((name, value)) => (name.to_owned(), value.to_owned()),
        None => (label, String::new()),
    });
    let platform = options.platform.as_deref().map(parse_platform).transpose().map_err(engine::Error::from)?;
    Ok(CreateRequest {
        name: options.name.unwrap_or_default(),
        platform: platform.map(|platform| platform.to_string()).unwrap_or_default(),
        config: ContainerConfig {
            image: options.image,
            cmd: (!options.command.is_empty()).then_some(options.command),
            entrypoint: options.entrypoint.map(|entrypoint| vec![entrypoint]),
            env: Some(env.collect()),
            working_dir: options.workdir.unwrap_or_default(),
            user: options.user.unwrap_or_default(),
            hostname: options.hostname.unwrap_or_default(),
            labels: labels.collect(),
            tty: options.tty,
            open_stdin: options.interactive,
            stdin_once: options.interactive && !options.detach,
            attach_stdin: options.interactive && !options.detach,
            attach_stdout: !options.detach,
            attach_stderr: !options.detach,
            ..ContainerConfig::default()
        },
        host_config: HostConfig {
            binds: Some(binds.collect()),
            auto_remove: options.rm,
            network_mode: options.network.unwrap_or_else(|| "default".to_owned()),
            init: options.init.then_some(true),
            readonly_rootfs: options.read_only,
            ..HostConfig::default()
        },
        ..CreateRequest::default()
    })
}

fn absolute(here: &std::path::Path, path: &str) -> PathBuf {
    here.join(path).components().filter(|part| *part != std::path::Component::CurDir).collect()
}

/// Tells the container's terminal how large ours is.
fn resize(engine: &Engine, id: &str) {
    if let Ok(size) = rustix::termios::tcgetwinsize(io::stdout())
        && let Err(error) = engine.resize(id, size.ws_row, size.ws_col)
    {
        tracing::debug!("cannot resize: {error}");
    }
}

/// In a thread of its own, until the process ends.
fn pass_signals(engine: Engine, id: String, signals: SigSet, tty: bool) {
    thread::spawn(move || {
        while let Ok(signal) = signals.wait() {
            if signal == Signal::SIGWINCH {
                if tty {
                    resize(&engine, &id);
                }
            } else if let Err(error) = engine.kill(&id, Some(signal.as_str())) {
                tracing::debug!("cannot pass on {signal}: {error}");
            }
        }
    });
}

/// Copies standard input in a thread of its own; its end is the container's end of input only.
fn send_stdin(mut stream: UnixStream, tty: bool, detached: Arc<AtomicBool>) {
    thread::spawn(move || {
        let mut buffer = [0; 65536];
        let mut last = 0;
        loop {
            let length = io::stdin().lock().read(&mut buffer).unwrap_or(0);
            for byte in &buffer[..length] {
                // Told before it is sent: the monitor answers by closing the stream.
                if tty && [last, *byte] == DETACH_KEYS {
                    detached.store(true, Ordering::Relaxed);
                }
                last = *byte;
            }
            if length == 0 || stream.write_all(&buffer[..length]).is_err() {
                let _ = stream.shutdown(Shutdown::Write);
                return;
            }
        }
    });
}

fn copy_raw(mut stream: &UnixStream) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let mut buffer = [0; 65536];
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        out.write_all(&buffer[..length])?;
        out.flush()?;
    }
}

/// Takes Docker's frames apart: a byte for the stream, three of zero, the length in big-endian order, the bytes.
fn copy_frames(stream: &UnixStream) -> io::Result<()> {
    let mut stream = io::BufReader::with_capacity(65536, stream);
    let mut head = [0; 8];
    loop {
        match stream.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        }
        let length = u64::from(u32::from_be_bytes([head[4], head[5], head[6], head[7]]));
        let mut frame = (&mut stream).take(length);
        if head[0] == 2 {
            io::copy(&mut frame, &mut io::stderr().lock())?;
        } else {
            let mut out = io::stdout().lock();
            io::copy(&mut frame, &mut out)?;
            out.flush()?;
        }
    }
}

/// Waits for the end.
fn end(mut waiter: Waiter) -> Result<i32, Error> {
    loop {
        if let Some(exit) = waiter.poll()? {
            return Ok(exit);
        }
        wait_readable(waiter.wakes())?;
    }
}

/// Blocks until a descriptor has something to tell.
pub(super) fn wait_readable<'a>(these: impl IntoIterator<Item = BorrowedFd<'a>>) -> Result<(), Error> {
    readable_before(these, None).map(drop).map_err(Error::doing("wait"))
}
