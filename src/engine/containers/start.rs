//! Starting a container.

use std::fs;
use std::path::Path;

use super::support::is_own_socket;
use crate::engine::{Engine, Error, Result};
use crate::model::ErrorKind;
use crate::monitor::client;
use crate::monitor::protocol::Failure;
use crate::state::container::{ContainerRecord, Status};
use crate::state::lock::Lock;

impl Engine {
    /// Starts a container: has its monitor, a new one if there is none, start it, and waits for the answer.
    ///
    /// # Errors
    /// Not found; not modified if it runs; invalid parameter if its command cannot be run (its exit code is then 126
    /// or 127, as after a failed exec).
    pub fn start(&self, name: &str) -> Result<()> {
        let id = self.find(name)?;
        let _lock = Lock::exclusive(&self.home.container(&id).verb_lock()).map_err(Error::vanished(name))?;
        let view = self.view(&id).map_err(Error::vanished(name))?;
        if view.state.is_running() {
            return Err(Error::NotModified);
        }
        if view.state.status == Status::Dead {
            return Err(Error::Conflict(format!(
                "container {id} cannot be started, only removed: {}",
                view.state.error
            )));
        }
        self.prepare(&view.record)?;
        match client::start(&self.home, &id) {
            Ok(_pid) => Ok(()),
            Err(client::Error::Failed { failure, message }) => Err(start_error(failure, &message)),
            Err(err) => Err(err.into()),
        }
    }

    /// What a start needs on disk beside the record.
    fn prepare(&self, record: &ContainerRecord) -> Result<()> {
        for mode in [&record.host_config.network_mode, &record.host_config.pid_mode, &record.host_config.ipc_mode] {
            if let Some(other) = mode.strip_prefix("container:") {
                let other = self.container(other)?;
                if !other.state.is_running() {
                    return Err(Error::Conflict(format!(
                        "cannot join namespace of a non running container: container /{} is {}",
                        other.record.name,
                        other.state.status.as_str()
                    )));
                }
            }
        }
        self.write_etc(record)?;
        let binds = record.host_config.binds.iter().flatten().filter_map(|bind| bind.split(':').next());
        let mounts = record.host_config.mounts.iter().flatten().filter(|mount| {
            mount.r#type == "bind" && mount.bind_options.as_ref().is_some_and(|options| options.create_mountpoint)
        });
        for source in binds.chain(mounts.map(|mount| mount.source.as_str())) {
            if !is_own_socket(&self.home, source) {
                make_source(Path::new(source))?;
            }
        }
        Ok(())
    }
}

/// A missing source of a bind is made, as a directory.
fn make_source(source: &Path) -> Result<()> {
    if fs::symlink_metadata(source).is_ok() {
        return Ok(());
    }
    fs::create_dir_all(source)
        .map_err(|err| Error::System(format!("error while creating mount source path '{}': {err}", source.display())))
}

fn start_error(kind: Failure, message: &str) -> Error {
    let text = format!("failed to create task for container: failed to create shim task: {message}: unknown");
    match kind.kind() {
        ErrorKind::InvalidParameter => Error::InvalidParameter(text),
        ErrorKind::Conflict => Error::Conflict(message.to_owned()),
        ErrorKind::NotModified => Error::NotModified,
        _ => Error::System(text),
    }
}
