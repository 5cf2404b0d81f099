//! What a killed monitor could not finish.

use std::time::Duration;

use super::{Engine, Error, Result};
use crate::model::signal;
use crate::model::time;
use crate::state::atomic::Durability;
use crate::state::container::{StateRecord, Status};
use crate::state::lock::Lock;
use crate::state::{self, store};
use crate::sys::{pidfd, process};

/// Exit code of a container whose end nobody saw: as after SIGKILL.
const LOST: i32 = 128 + signal::KILL;

impl Engine {
    /// The container's state, after finishing what a killed monitor left: a record that says running while no
    /// monitor holds the container's lock.
    pub(super) fn reconcile(&self, id: &str) -> Result<StateRecord> {
        let state = store::load_state(&self.home, id)?;
        if !state.is_running() {
            return Ok(state);
        }
        let paths = self.home.container(id);
        if Lock::is_held(&paths.monitor_lock())? {
            return Ok(state);
        }
        std::fs::create_dir_all(&paths.run).map_err(state::Error::at(&paths.run))?;
        // Having the monitor's lock makes this process the state's one writer; without it another one is at it.
        let Some(_lock) = Lock::try_exclusive(&paths.monitor_lock())? else {
            return Ok(store::load_state(&self.home, id)?);
        };
        let mut state = store::load_state(&self.home, id)?;
        if !state.is_running() {
            if !paths.record().exists() {
                // It has gone since the first look, and the lock was made anew.
                let _ = store::remove_run(&self.home, id);
            }
            return Ok(state);
        }
        let same_boot = process::boot_id().is_ok_and(|boot| boot == state.boot_id);
        if same_boot {
            kill_init(&state)?;
        }
        state.status = Status::Exited;
        state.pid = 0;
        state.finished_at = time::now();
        state.exit_code = LOST;
        state.error = match same_boot {
            true => "the container's monitor was killed".to_owned(),
            false => "the machine was restarted".to_owned(),
        };
        state.exits += 1;
        if let Err(err) = store::save_state(&self.home, id, &state, Durability::Disk) {
            // A full disk: who looks sees the end, and can remove the container to have room again. It is recorded, and
            // told of, when there is some.
            tracing::warn!(container = %id, "{}; that cannot be recorded: {err}", state.error);
            return Ok(state);
        }
        let record = store::load(&self.home, id)?;
        self.emit(&record, "die", &[("exitCode", LOST.to_string())]);
        store::remove_execs(&self.home, id);
        tracing::warn!(container = %id, "{}; recorded as exited with {LOST}", state.error);
        if record.host_config.auto_remove {
            store::remove(&self.home, id, &record.name)?;
            self.emit(&record, "destroy", &[]);
        }
        Ok(state)
    }
}

/// Ends an orphaned init, and with it every process in its pid namespace.
fn kill_init(state: &StateRecord) -> Result<()> {
    let Ok(pidfd) = pidfd::open(state.pid) else { return Ok(()) };
    // The pid may be another process's by now; its start time tells. The descriptor was opened before, so what is
    // compared is what would be killed.
    if process::start_time(state.pid).ok() != Some(state.pid_start) {
        return Ok(());
    }
    pidfd::send_signal(&pidfd, signal::KILL).map_err(Error::system("cannot end the orphaned container"))?;
    pidfd::wait_exit(&pidfd, Duration::from_secs(10)).map_err(Error::system("the orphaned container does not end"))?;
    Ok(())
}
