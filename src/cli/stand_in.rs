//! What stands in for systemd where no `systemctl --user` answers: it holds the API's socket and starts `serve` on the
//! first connection, waits until that has gone idle, and so on.
//!
//! Who it is, the kernel tells: it holds a POSIX record lock on `stand-in.lock`, and F_GETLK names the holder.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, poll};

use super::Error;
use crate::engine;
use crate::state::paths::Home;
use crate::sys::spawn;

/// As systemd's TriggerLimitBurst= and TriggerLimitIntervalSec=: a program that fails before it accepts must not be
/// started for ever.
const BURST: usize = 20;
const INTERVAL: Duration = Duration::from_secs(2);

/// The first descriptor that socket activation passes.
const LISTEN_FDS_START: i32 = 3;

/// Starts a stand-in in the background and returns once it listens; at once if there is one.
pub fn start(home: &Home) -> Result<(), Error> {
    home.make().map_err(engine::Error::from)?;
    if holder(home)?.is_some() {
        return Ok(());
    }
    let log_path = home.run.join("serve.log");
    let log = File::options().create(true).append(true).open(&log_path).map_err(Error::at(&log_path))?;
    let mut child = Command::new(program()?)
        .arg("stand-in")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(Error::doing("start the stand-in"))?;
    let mut said = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut said).map_err(Error::doing("hear from the stand-in"))?;
    }
    // Another `up` may have been quicker: then this one ended, and that one stands.
    if said.is_empty() && holder(home)?.is_none() {
        return Err(Error::StandIn { log: log_path });
    }
    Ok(())
}

/// Ends the stand-in, and an API process that it started. True if there was one.
pub fn stop(home: &Home) -> Result<bool, Error> {
    let Some(pid) = holder(home)? else { return Ok(false) };
    // It leads a process group; monitors have left it.
    killpg(pid, Signal::SIGTERM).map_err(|error| Error::doing("end the stand-in")(error.into()))?;
    let patience = Instant::now() + Duration::from_secs(5);
    while holder(home)?.is_some() {
        if Instant::now() > patience {
            let _ = killpg(pid, Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(true)
}

/// The role itself: never returns while all is well.
pub fn hold(home: &Home) -> Result<(), Error> {
    let _ = nix::unistd::setsid();
    // What a person's shell had open is not its to keep, and one that is number 3 would be in the socket's place.
    spawn::close_strays();
    let lock = lock_file(home)?;
    if fcntl(&lock, FcntlArg::F_SETLK(&record(libc::F_WRLCK as libc::c_short))).is_err() {
        return Ok(());
    }
    let path = home.socket();
    let listener = bind(&path).map_err(Error::at(&path))?;
    let mut stdout = io::stdout();
    stdout.write_all(b"listening\n").and_then(|()| stdout.flush()).map_err(Error::doing("answer"))?;
    let null = File::options().write(true).open("/dev/null").map_err(Error::doing("open /dev/null"))?;
    nix::unistd::dup2_stdout(&null).map_err(|error| Error::doing("let go of stdout")(error.into()))?;

    let mut starts: Vec<Instant> = Vec::new();
    loop {
        let mut waiting = [PollFd::new(&listener, PollFlags::IN)];
        match poll(&mut waiting, None) {
            Err(rustix::io::Errno::INTR) => continue,
            result => result.map_err(|error| Error::doing("wait for a connection")(error.into()))?,
        };
        let now = Instant::now();
        starts.retain(|start| now.duration_since(*start) < INTERVAL);
        starts.push(now);
        // That it could not be started is a failed start like another: a host without a process left for a moment must
        // not cost the socket.
        match activate(&listener) {
            Ok(ended) if ended.success() => drop(starts.pop()),
            Ok(ended) => eprintln!("pierless: the API ended by itself: {ended}"),
            Err(error) => eprintln!("pierless: {error}"),
        }
        if starts.len() >= BURST {
            return Err(Error::Burst);
        }
    }
}

/// Starts `serve` with the socket and waits for its end.
fn activate(listener: &UnixListener) -> Result<std::process::ExitStatus, Error> {
    let socket = listener.as_fd().try_clone_to_owned().map_err(Error::doing("copy the socket"))?;
    Command::new(program()?).arg("activated").stdin(socket).status().map_err(Error::doing("start the API"))
}

/// In the new process: puts the socket where LISTEN_FDS says it is, and becomes `serve`. A role of its own because
/// LISTEN_PID must name a process that only exists now.
pub fn become_serve() -> Result<(), Error> {
    let socket = rustix::io::fcntl_dupfd_cloexec(io::stdin(), LISTEN_FDS_START)
        .map_err(|error| Error::doing("take the socket")(error.into()))?;
    if socket.as_raw_fd() != LISTEN_FDS_START {
        return Err(Error::doing("take the socket")(io::Error::other("descriptor 3 is taken")));
    }
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::empty())
        .map_err(|error| Error::doing("pass the socket")(error.into()))?;
    let null = File::open("/dev/null").map_err(Error::doing("open /dev/null"))?;
    nix::unistd::dup2_stdin(&null).map_err(|error| Error::doing("let go of stdin")(error.into()))?;
    let error = Command::new(program()?)
        .arg("serve")
        .env("LISTEN_PID", std::process::id().to_string())
        .env("LISTEN_FDS", "1")
        .exec();
    Err(Error::doing("become the API")(error))
}

/// Listens at `path`, which only its owner may open. A socket that nobody answers at is replaced.
fn bind(path: &Path) -> io::Result<UnixListener> {
    match UnixStream::connect(path) {
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody else listens here")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(_) => fs::remove_file(path)?,
    }
    let listener = UnixListener::bind(path)?;
    // The folder is the owner's alone, so nobody can have connected before this.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

fn program() -> Result<std::path::PathBuf, Error> {
    std::env::current_exe().map_err(Error::doing("find this program"))
}

fn lock_file(home: &Home) -> Result<File, Error> {
    let path = home.run.join("stand-in.lock");
    File::options().create(true).truncate(false).write(true).open(&path).map_err(Error::at(&path))
}

fn record(kind: libc::c_short) -> libc::flock {
    libc::flock { l_type: kind, l_whence: libc::SEEK_SET as libc::c_short, l_start: 0, l_len: 0, l_pid: 0 }
}

/// Who stands in now, if anybody does.
fn holder(home: &Home) -> Result<Option<Pid>, Error> {
    if !home.run.join("stand-in.lock").exists() {
        return Ok(None);
    }
    let file = lock_file(home)?;
    let mut lock = record(libc::F_WRLCK as libc::c_short);
    fcntl(&file, FcntlArg::F_GETLK(&mut lock)).map_err(|error| Error::doing("look for a stand-in")(error.into()))?;
    Ok((i32::from(lock.l_type) != libc::F_UNLCK && lock.l_pid > 0).then(|| Pid::from_raw(lock.l_pid)))
}
