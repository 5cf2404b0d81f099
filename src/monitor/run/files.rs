//! The container's files as its monitor uses them: records, events, complaints.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use crate::model::time;
use crate::state::atomic::{self, Durability};
use crate::state::container::{ContainerRecord, StateRecord};
use crate::state::events::{self, Event};
use crate::state::exec::{ExecRecord, ExecState};
use crate::state::paths::{ContainerPaths, Home};
use crate::state::{self, ending, store};
use crate::sys::tree;

/// One container's files.
#[derive(Debug)]
pub struct Files {
    /// Where all state is.
    pub home: Home,
    /// The container's id.
    pub id: String,
    /// The container's paths.
    pub paths: ContainerPaths,
}

impl Files {
    /// Those of this container.
    pub fn new(home: Home, id: &str) -> Self {
        Self { paths: home.container(id), id: id.to_owned(), home }
    }

    /// Appends an event of the container; its attributes are read anew, for it may have been renamed.
    pub fn emit(&self, action: &str, extra: &[(&str, String)]) {
        self.tell(action, |record| vec![Event::container(record, action, extra)]);
    }

    /// Appends events in their order. `what` is for complaints.
    pub fn tell(&self, what: &str, events: impl FnOnce(&ContainerRecord) -> Vec<Event>) {
        let appended = store::load(&self.home, &self.id).and_then(|record| {
            let mut events = events(&record).into_iter();
            events.try_for_each(|event| events::append(&self.home, &event))
        });
        if let Err(error) = appended {
            self.complain(&format!("event {what}: {error}"));
        }
    }

    /// Writes what went wrong to `monitor.log`: nobody else is there to be told.
    pub fn complain(&self, what: &str) {
        complain(&self.paths.run, what);
    }

    /// Commits that nothing runs any more.
    pub fn commit_exit(&self, state: &StateRecord) {
        if let Err(error) = ending::commit_exit(&self.home, &self.id, state) {
            self.complain(&format!("state.json: {error}"));
        }
    }

    /// `--rm`. Somebody else may be removing it at the same time.
    pub fn remove(&self) {
        let Ok(record) = store::load(&self.home, &self.id) else { return };
        let tell = || {
            if let Err(error) = events::append(&self.home, &Event::container(&record, "destroy", &[])) {
                self.complain(&format!("event destroy: {error}"));
            }
        };
        match store::remove(&self.home, &self.id, &record.name, Durability::Process, tell) {
            Ok(()) | Err(state::Error::Missing(_)) => {}
            Err(error) => self.complain(&format!("removal: {error}")),
        }
    }

    /// What was asked of an exec session.
    ///
    /// # Errors
    /// There is none, or its record cannot be read now.
    pub fn exec(&self, id: &str) -> state::Result<ExecRecord> {
        atomic::read_json(&self.paths.exec(id).join("exec.json"))
    }

    /// Whether an exec session has been started before.
    pub fn exec_has_state(&self, id: &str) -> bool {
        self.paths.exec(id).join("state.json").exists()
    }

    /// Writes what happened to an exec session.
    pub fn commit_exec(&self, id: &str, state: &ExecState) {
        let path = self.paths.exec(id).join("state.json");
        if let Err(error) = atomic::write_json(&path, state, Durability::Process) {
            self.complain(&format!("exec {id}: {error}"));
        }
    }

    /// Removes the records of exec sessions that ended so long ago; true if there are others that have ended.
    pub fn expire_execs(&self, age: Duration) -> bool {
        let mut others = false;
        for entry in fs::read_dir(self.paths.run.join("execs")).into_iter().flatten().flatten() {
            let path = entry.path().join("state.json");
            let ended = atomic::read_json(&path).is_ok_and(|state: ExecState| state.exit_code.is_some());
            let modified = fs::metadata(&path).and_then(|meta| meta.modified());
            match modified.map(|at| at.elapsed().unwrap_or_default()) {
                Ok(since) if ended && since >= age => {
                    let _ = fs::remove_file(self.home.execs().join(entry.file_name()));
                    let _ = tree::remove(&entry.path());
                }
                _ => others |= ended,
            }
        }
        others
    }
}

/// Appends what went wrong to `monitor.log`.
pub fn complain(run: &Path, what: &str) {
    if let Ok(mut file) = OpenOptions::new().append(true).create(true).open(run.join("monitor.log")) {
        let _ = file.write_all(format!("{} {what}\n", time::rfc3339(time::now())).as_bytes());
    }
}
