//! How a monitor comes to be: detached from its launcher, alone with its container, small.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use super::container::Container;
use super::context::Context;
use super::door::Door;
use super::files::{Files, complain};
use super::launch::Launcher;
use super::life::Life;
use super::parts::Parts;
use super::settings::Settings;
use super::supervisor::Supervisor;
use crate::cgroup;
use crate::holder;
use crate::model::ids;
use crate::monitor::client::{ANOTHER, READY};
use crate::state::atomic::Durability;
use crate::state::claim;
use crate::state::lock::Lock;
use crate::state::paths::{ContainerPaths, Home};
use crate::state::store;
use crate::sys::{fdpass, memory, process, spawn};

/// The role `pierless monitor ID`; `words` are those behind `monitor`.
pub fn role(mut words: impl Iterator<Item = String>) -> ExitCode {
    let id = words.next().filter(|id| ids::is_full_id(id) && holder::program::is_sealed(io::stderr()));
    let Some(id) = id else {
        eprintln!("pierless monitor: this is an internal command");
        return ExitCode::FAILURE;
    };
    spawn::close_strays();
    process::usual_context();
    process::set_name(c"pierless");
    let home = Home::from_env(holder::host_uid());
    let entered = match holder::enter(&home) {
        Ok(entered) => entered,
        Err(error) => {
            tell(&error.to_string());
            return ExitCode::FAILURE;
        }
    };
    process::leave_session_keyring();
    let launcher = Container::new(&home, &id, entered);
    // Its first client, if this was launched by one.
    let first = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).ok().filter(|fd| {
        rustix::net::sockopt::socket_type(fd).is_ok_and(|kind| kind == rustix::net::SocketType::SEQPACKET)
    });
    match main(home, &id, Box::new(launcher), first) {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// The monitor's `main`: in the user's namespaces already, with no thread, standard output connected to the launcher,
/// which may be its first client. Returns the process's exit code.
pub fn main(home: Home, id: &str, launcher: Box<dyn Launcher>, first: Option<OwnedFd>) -> i32 {
    memory::thrifty_allocator();
    if let Err(error) = detach(&home, id) {
        tell(&error.to_string());
        return 1;
    }
    let paths = home.container(id);
    let left = home.clone();
    let supervisor = match prepare(home.clone(), id, launcher, first) {
        Ok(supervisor) => supervisor,
        Err(error) => {
            tell(&error.to_string());
            return 1;
        }
    };
    tell(if supervisor.is_some() { READY } else { ANOTHER });
    // From here on nobody listens.
    let silenced = spawn::silence_stdio();
    let Some(supervisor) = supervisor else { return 0 };
    memory::trim();
    let run = paths.run.clone();
    std::panic::set_hook(Box::new(move |panic| complain(&run, &panic.to_string())));
    let ran = std::panic::catch_unwind(AssertUnwindSafe(|| silenced.and_then(|()| supervisor.run())));
    let why = match ran {
        Ok(Ok(())) => {
            cgroup::sweep(&left, id);
            return 0;
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it panicked".to_owned(),
    };
    // Whatever runs is ended, and its end recorded, by the next pierless process that looks; why is left for it.
    let why = format!("the container's monitor failed: {why}; see {}", paths.run.join("monitor.log").display());
    complain(&paths.run, &why);
    if let Ok(mut state) = store::load_state(&home, id) {
        state.error = why;
        let _ = store::save_state(&home, id, &state, Durability::Process);
    }
    1
}

/// Detaches this process, in a cgroup of its own if there is a place for it.
fn detach(home: &Home, id: &str) -> io::Result<()> {
    let place = cgroup::find(home);
    let group = place.as_ref().and_then(|place| place.monitor(id).ok());
    spawn::detach(group.as_ref().map(AsFd::as_fd))?;
    if let Some(place) = place
        && cgroup::group::of_monitor(id).is_none()
        && let Err(error) = place.fetch(id, std::process::id().cast_signed())
    {
        complain(&home.container(id).run, &format!("cgroup: {error}"));
    }
    Ok(())
}

/// Takes the container's lock and listens; none if another monitor lives.
fn prepare(
    home: Home,
    id: &str,
    launcher: Box<dyn Launcher>,
    first: Option<OwnedFd>,
) -> io::Result<Option<Supervisor>> {
    std::env::set_current_dir("/")?;
    spawn::become_subreaper()?;
    let record = store::load(&home, id).map_err(io::Error::other)?;
    let paths = home.container(id);
    fs::create_dir_all(&paths.run)?;
    // Only one at a time begins, so that whoever has the lock either listens or is about to end.
    let beginning = Lock::exclusive(&paths.monitor_gate()).map_err(io::Error::other)?;
    let Some(lock) = take_lock(&paths)? else { return Ok(None) };
    // Before anybody is told of it: a lock that is held by nobody known counts as supervised.
    claim::take(&lock)?;
    let listener = fdpass::listen(&paths.monitor_socket())?;
    drop(beginning);
    // After listening: whoever removes the container takes its record away first and then sends its monitor off.
    if !store::has_record(&paths) {
        // Removed between the two looks; what was made here would be nobody's.
        let _ = store::remove_run(&home, id);
        return Err(io::ErrorKind::NotFound.into());
    }
    let state = store::load_state(&home, id).map_err(io::Error::other)?;
    let mut cx = Context::new(Files::new(home, id))?;
    let mut door = Door::new(listener, lock, &mut cx.watch)?;
    if let Some(first) = first {
        rustix::io::ioctl_fionbio(&first, true)?;
        door.admit(first, &mut cx.watch);
    }
    let life = Life::new(Settings::of(&record), launcher, state);
    Supervisor::new(Parts::new(cx, door, life)).map(Some)
}

/// The lock; none if its holder listens. One that has it and does not listen is about to end: that is waited for.
fn take_lock(paths: &ContainerPaths) -> io::Result<Option<Lock>> {
    let path = paths.monitor_lock();
    // An error: the directory went with a container that is being removed.
    match Lock::try_exclusive(&path).map_err(io::Error::other)? {
        Some(lock) => Ok(Some(lock)),
        None if fdpass::connect(&paths.monitor_socket()).is_ok() => Ok(None),
        None => Lock::exclusive(&path).map(Some).map_err(io::Error::other),
    }
}

/// Says something to the launcher.
fn tell(what: &str) {
    spawn::say(rustix::stdio::stdout(), what);
}
