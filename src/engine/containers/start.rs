//! Starting a container.

use std::fs;

use crate::engine::{Engine, Error, Result};
use crate::image;
use crate::image::ids::accepts;
use crate::model::ErrorKind;
use crate::monitor::client;
use crate::monitor::protocol::{Failure, MOUNT_SOURCE};
use crate::state::container::{ContainerRecord, Driver, Status};
use crate::state::lock::Lock;
use crate::state::{self, store};

impl Engine {
    /// Starts a container: has its monitor, a new one if there is none, start it, and waits for the answer.
    ///
    /// # Errors
    /// Not found; not modified if it runs; invalid parameter if its command cannot be run (its exit code is then 126
    /// or 127, as after a failed exec).
    pub fn start(&self, name: &str) -> Result<()> {
        let id = self.find(name)?;
        let _lock = Lock::exclusive(&self.home.container(&id).verb_lock()).map_err(Error::vanished(name))?;
        let mut lost = false;
        loop {
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
            let launched = self.prepare(&view.record).and_then(|()| Ok(client::launch(&self.home, &id)?));
            let failed = match launched.map(|monitor| monitor.start()) {
                Ok(Ok(_pid)) => return Ok(()),
                Ok(Err(client::Error::Failed { failure, message })) => start_error(failure, &message),
                // Its monitor was killed: what is left of it is ended first. That a second one is, too, is no accident.
                Ok(Err(client::Error::Gone)) if !lost => {
                    lost = true;
                    continue;
                }
                Ok(Err(err)) => err.into(),
                Err(err) => err,
            };
            // To look ends what a killed monitor left, and removes it then.
            let is_idle = || self.view(&id).is_ok_and(|now| !now.state.is_running());
            if view.record.host_config.auto_remove && self.has_no_start(&id) && is_idle() {
                self.take(&view.record)?;
            }
            return Err(failed);
        }
    }

    /// Whether it is known that no monitor runs a container, nor is about to.
    fn has_no_start(&self, id: &str) -> bool {
        match Lock::is_held(&self.home.container(id).monitor_lock()) {
            Ok(false) => true,
            Ok(true) => matches!(
                client::connect(&self.home, id),
                Ok(Some(monitor)) if !monitor.is_running() && !monitor.is_starting()
            ),
            Err(_) => false,
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
        self.own_files(record)?;
        if record.driver == Driver::Overlay {
            self.image_store()?.renew_layers(&record.layers)?;
        }
        Ok(())
    }

    /// What the container has written, or what was copied for it, belongs to ids of the maps of that time. By others it
    /// would be somebody else's, so it is refused; where nothing has been written, the maps of now are as good.
    fn own_files(&self, record: &ContainerRecord) -> Result<()> {
        let now = image::layers::map_id()?;
        if accepts(&now, &record.ids) {
            return Ok(());
        }
        let upper = self.home.container(&record.id).upper();
        let written = fs::read_dir(&upper).map_err(state::Error::at(&upper))?.next().is_some();
        if written {
            return Err(Error::Conflict(format!(
                "the files of container {} belong to other ids than there are now ({} then, {now} now): give the user the \
                 ranges of that time back in /etc/subuid and /etc/subgid, or create it anew",
                record.id, record.ids
            )));
        }
        Ok(store::save(&self.home, &ContainerRecord { ids: now, ..record.clone() })?)
    }
}

fn start_error(kind: Failure, message: &str) -> Error {
    if message.starts_with(MOUNT_SOURCE) {
        return Error::System(message.to_owned());
    }
    let text = message.to_owned();
    match kind.kind() {
        ErrorKind::InvalidParameter => Error::InvalidParameter(text),
        ErrorKind::Conflict => Error::Conflict(message.to_owned()),
        ErrorKind::NotModified => Error::NotModified,
        _ => Error::System(text),
    }
}
