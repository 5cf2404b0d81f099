//! Exec sessions: further processes in a running container.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::containers::Handover;
use super::{Engine, Error, Result};
use crate::model::ids::{is_full_id, random_id};
use crate::monitor::{client, detach};
use crate::runtime::user;
use crate::state::atomic::{self, Durability};
use crate::state::container::{ContainerRecord, StateRecord, Status};
use crate::state::exec::{ExecRecord, ExecState};
use crate::state::{self, store};
use crate::sys::openat2::Root;
use crate::sys::{process, tree};

/// A session as it is on disk.
#[derive(Debug, Clone)]
pub struct ExecView {
    /// What was asked.
    pub record: ExecRecord,
    /// What happened.
    pub state: ExecState,
}

impl Engine {
    /// Creates a session. `record.container` is what the client calls the container; the ids are filled in.
    ///
    /// # Errors
    /// Not found; conflict if the container does not run; invalid parameter without a command, or for no user of the
    /// container's.
    pub fn exec_create(&self, mut record: ExecRecord) -> Result<String> {
        let view = self.container(&record.container)?;
        if record.cmd.is_empty() {
            return Err(Error::InvalidParameter("No exec command specified".to_owned()));
        }
        if detach::parse(&record.detach_keys).is_err() {
            return Err(Error::InvalidParameter(format!("Invalid escape keys ({}) provided", record.detach_keys)));
        }
        require_running(&view.record, view.state.status)?;
        if !record.user.is_empty() {
            require_user(&record.user, &view.state)?;
        }
        record.id = random_id();
        record.container = view.record.id.clone();
        let dir = self.home.container(&record.container).exec(&record.id);
        let made = (|| {
            // Not the run directory: it may have gone with its container just now, and nobody would remove it again.
            for new in [dir.parent().unwrap_or(&dir), &dir] {
                match fs::create_dir(new) {
                    Err(err) if err.kind() != io::ErrorKind::AlreadyExists => return Err(state::Error::at(new)(err)),
                    _ => {}
                }
            }
            atomic::write_json(&dir.join("exec.json"), &record, Durability::Process)?;
            let index = self.home.execs();
            fs::create_dir_all(&index).map_err(state::Error::at(&index))?;
            let target = Path::new("../containers").join(&record.container).join("execs").join(&record.id);
            let link = index.join(&record.id);
            symlink(target, &link).map_err(state::Error::at(&link))?;
            Ok::<_, state::Error>(())
        })();
        if let Err(err) = made {
            let _ = tree::remove(&dir);
            return match err {
                state::Error::Missing(_) => {
                    Err(Error::Conflict(format!("container {} is not running", record.container)))
                }
                err => Err(err.into()),
            };
        }
        self.emit(&view.record, &format!("exec_create: {}", record.cmd.join(" ")), &[("execID", record.id.clone())]);
        Ok(record.id)
    }

    /// A session's records.
    ///
    /// # Errors
    /// Not found, also after its container has been started again or removed.
    pub fn exec(&self, id: &str) -> Result<ExecView> {
        let missing = || Error::NotFound(format!("No such exec instance: {id}"));
        if !is_full_id(id) {
            return Err(missing());
        }
        let dir = self.home.execs().join(id);
        let record = match atomic::read_json(&dir.join("exec.json")) {
            Err(state::Error::Missing(_)) => return Err(missing()),
            other => other?,
        };
        let state = match atomic::read_json(&dir.join("state.json")) {
            Err(state::Error::Missing(_)) => ExecState::default(),
            other => other?,
        };
        Ok(ExecView { record, state })
    }

    /// A session's records, as its monitor has them. Whoever announced a start may have been killed before it handed over
    /// its client: such a session is over, and its client, which was told to go on, asks for its code at once.
    ///
    /// # Errors
    /// As [`Engine::exec`].
    pub fn inspect_exec(&self, id: &str) -> Result<ExecView> {
        let exec = self.exec(id)?;
        if !exec.state.running || exec.state.pid != 0 {
            return Ok(exec);
        }
        // It serves in turn: when it greets, it has seen who has gone before.
        drop(client::connect(&self.home, &exec.record.container)?);
        self.exec(id)
    }

    /// The sessions of a container that its inspection lists: those that run.
    pub fn exec_ids(&self, container: &str) -> Vec<String> {
        let dir = self.home.container(container).run.join("execs");
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let ids = entries.filter_map(|entry| entry.file_name().into_string().ok());
        ids.filter(|id| self.exec(id).is_ok_and(|exec| exec.state.exit_code.is_none())).collect()
    }

    /// Announces a session's start with streams: it starts when the client's socket is handed over. `raw`: the client
    /// reads the stream as a terminal's, whether the session has one or not.
    ///
    /// # Errors
    /// Not found; conflict if the container does not run, or the session has been started.
    pub fn exec_start(&self, id: &str, console_size: Option<[u32; 2]>, raw: bool) -> Result<Handover> {
        let monitor = self.startable(id)?;
        Ok(Handover::new(monitor.exec(id, console_size, raw)?, raw))
    }

    /// Starts a session without streams.
    ///
    /// # Errors
    /// As [`Engine::exec_start`]; and what the runtime said.
    pub fn exec_start_detached(&self, id: &str, console_size: Option<[u32; 2]>) -> Result<()> {
        let monitor = self.startable(id)?;
        monitor.exec_detached(id, console_size)?;
        Ok(())
    }

    fn startable(&self, id: &str) -> Result<client::Connection> {
        let exec = self.exec(id)?;
        if exec.state.pid != 0 || exec.state.exit_code.is_some() {
            return Err(Error::Conflict(format!("exec session {id} has already run")));
        }
        let record = store::load(&self.home, &exec.record.container)?;
        let state = self.view(&record.id)?.state;
        require_running(&record, state.status)?;
        let gone = || Error::Conflict(format!("container {} is not running", record.id));
        client::connect(&self.home, &record.id)?.ok_or_else(gone)
    }

    /// Sets the size of a session's terminal.
    ///
    /// # Errors
    /// Not found, or conflict if it does not run.
    pub fn exec_resize(&self, id: &str, height: u16, width: u16) -> Result<()> {
        let exec = self.exec(id)?;
        let record = store::load(&self.home, &exec.record.container)?;
        self.resize_terminal(&record, Some(id), height, width)
    }
}

/// Whether there is such a user, or group, in a container that runs. Looked up anew when the session starts.
fn require_user(user: &str, state: &StateRecord) -> Result<()> {
    // One that has just ended is found out at the start; and what was opened was that process's, if it lives now.
    let Ok(root) = Root::open(Path::new(&format!("/proc/{}/root", state.pid))) else { return Ok(()) };
    if !process::lives(state.pid, state.pid_start) {
        return Ok(());
    }
    user::resolve(&root, user, &[]).map(drop).map_err(|err| Error::InvalidParameter(err.message))
}

fn require_running(record: &ContainerRecord, status: Status) -> Result<()> {
    match status {
        Status::Running => Ok(()),
        Status::Paused => {
            Err(Error::Conflict(format!("container {} is paused, unpause the container before exec", record.name)))
        }
        _ => Err(Error::Conflict(format!("container {} is not running", record.id))),
    }
}
