//! How a monitor comes to be: detached from its launcher, alone with its container, small.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::container::Container;
use super::launch::Launcher;
use super::{Settings, Supervisor, log};
use crate::holder;
use crate::model::{ids, signal, time};
use crate::monitor::client::READY;
use crate::state::container::ContainerRecord;
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
    Supervisor::new(home, id, settings(&record), launcher, lock, listener).map(Some)
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

fn settings(record: &ContainerRecord) -> Settings {
    let config = &record.config;
    let log = &record.host_config.log_config;
    Settings {
        tty: config.tty,
        open_stdin: config.open_stdin,
        stdin_once: config.stdin_once,
        auto_remove: record.host_config.auto_remove,
        stop_signal: config.stop_signal.as_deref().and_then(signal::parse).unwrap_or(spawn::SIGTERM),
        stop_timeout: config.stop_timeout.unwrap_or(10),
        console_size: match record.host_config.console_size {
            [0, _] | [_, 0] => None,
            [rows, columns] => Some((cells(rows), cells(columns))),
        },
        log: (log.r#type != "none").then(|| log::Rotation::from_config(log)),
    }
}

/// Rows or columns as the kernel counts them.
pub fn cells(n: u32) -> u16 {
    u16::try_from(n).unwrap_or(u16::MAX)
}

/// Says something to the launcher.
fn tell(what: &str) {
    let _ = io::stdout().write_all(what.as_bytes());
    let _ = io::stdout().flush();
}

/// Appends what went wrong to `monitor.log`.
pub fn complain(run: &Path, what: &str) {
    if let Ok(mut file) = OpenOptions::new().append(true).create(true).open(run.join("monitor.log")) {
        let _ = file.write_all(format!("{} {what}\n", time::rfc3339(time::now())).as_bytes());
    }
}
