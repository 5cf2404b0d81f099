//! How a monitor comes to be: detached from its launcher, alone with its container, small.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::container::Container;
use super::context::Context;
use super::door::Door;
use super::execs::Execs;
use super::files::{Files, complain};
use super::launch::Launcher;
use super::life::Life;
use super::parts::Parts;
use super::settings::Settings;
use super::supervisor::Supervisor;
use crate::holder;
use crate::model::ids;
use crate::monitor::client::READY;
use crate::state::lock::Lock;
use crate::state::paths::Home;
use crate::state::store;
use crate::sys::{fdpass, memory, process, spawn};

/// How long a new monitor waits for one that has closed its door but not ended yet.
const CHANGE_OF_GUARD: Duration = Duration::from_secs(10);

/// The role `pierless monitor ID`; `words` are those behind `monitor`.
pub fn role(mut words: impl Iterator<Item = String>) -> ExitCode {
    let Some(id) = words.next().filter(|id| ids::is_full_id(id)) else {
        eprintln!("pierless monitor: this is an internal command");
        return ExitCode::from(2);
    };
    spawn::close_strays();
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
    match main(home, &id, Box::new(launcher)) {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// The monitor's `main`: in the user's namespaces already, with no thread, standard output connected to the launcher.
/// Returns the process's exit code.
pub fn main(home: Home, id: &str, launcher: Box<dyn Launcher>) -> i32 {
    memory::thrifty_allocator();
    if let Err(error) = spawn::detach() {
        tell(&error.to_string());
        return 1;
    }
    let run = home.container(id).run;
    let supervisor = match prepare(home, id, launcher) {
        Ok(supervisor) => supervisor,
        Err(error) => {
            tell(&error.to_string());
            return 1;
        }
    };
    tell(READY);
    // From here on nobody listens.
    let silenced = spawn::silence_stdio();
    let Some(supervisor) = supervisor else { return 0 };
    memory::trim();
    if let Err(error) = silenced.and_then(|()| supervisor.run()) {
        complain(&run, &error.to_string());
        return 1;
    }
    0
}

/// Takes the container's lock and listens; none if another monitor lives.
fn prepare(home: Home, id: &str, launcher: Box<dyn Launcher>) -> io::Result<Option<Supervisor>> {
    std::env::set_current_dir("/")?;
    spawn::become_subreaper()?;
    let record = store::load(&home, id).map_err(io::Error::other)?;
    let paths = home.container(id);
    fs::create_dir_all(&paths.run)?;
    let Some(lock) = take_lock(&paths.monitor_lock(), &paths.monitor_socket())? else { return Ok(None) };
    let listener = fdpass::listen(&paths.monitor_socket())?;
    // After listening: whoever removes the container takes its record away first and then sends its monitor off.
    if !store::has_record(&paths) {
        // Removed between the two looks; what was made here would be nobody's.
        let _ = store::remove_run(&home, id);
        return Err(io::ErrorKind::NotFound.into());
    }
    let state = store::load_state(&home, id).map_err(io::Error::other)?;
    let mut cx = Context::new(Files::new(home, id))?;
    let door = Door::new(listener, lock, &mut cx.watch)?;
    let life = Life::new(Settings::of(&record), launcher, state);
    Supervisor::new(Parts { cx, door, life, execs: Execs::default() }).map(Some)
}

/// The lock; none once its holder is found to listen. One that holds it and does not listen is just ending, or just
/// beginning.
fn take_lock(lock: &Path, socket: &Path) -> io::Result<Option<Lock>> {
    let since = Instant::now();
    loop {
        match Lock::try_exclusive(lock) {
            Ok(Some(lock)) => return Ok(Some(lock)),
            Ok(None) => {}
            // The directory went with a container that is being removed.
            Err(error) => return Err(io::Error::other(error)),
        }
        if fdpass::connect(socket).is_ok() {
            return Ok(None);
        }
        if since.elapsed() > CHANGE_OF_GUARD {
            return Err(io::Error::other("another monitor holds the container's lock, but does not listen"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Says something to the launcher.
fn tell(what: &str) {
    let _ = io::stdout().write_all(what.as_bytes());
    let _ = io::stdout().flush();
}
