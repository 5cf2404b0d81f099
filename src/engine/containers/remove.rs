//! Removing containers.

use super::list::ListOptions;
use super::stop::End;
use crate::engine::{Engine, Error, Result};
use crate::model::filters::Filters;
use crate::model::ids::short;
use crate::model::{signal, time};
use crate::state::atomic::Durability;
use crate::state::container::{ContainerRecord, Status};
use crate::state::events::Event;
use crate::state::lock::Lock;
use crate::state::{self, store};

impl Engine {
    /// Removes a container; with force, ends it first.
    ///
    /// # Errors
    /// Not found; conflict if it runs and `force` is not given.
    pub fn remove(&self, name: &str, force: bool) -> Result<()> {
        let id = self.find(name)?;
        let paths = self.home.container(&id);
        if force {
            // A start that hangs keeps the lock.
            self.end_start(&id)?;
        }
        let _lock = Lock::exclusive(&paths.verb_lock()).map_err(Error::vanished(name))?;
        let view = self.view(&id).map_err(Error::vanished(name))?;
        // Its monitor knows better than its record, if that could not be written or cannot be read.
        if view.state.is_running() || self.monitor_says_running(&id) {
            if !force {
                return Err(Error::Conflict(format!(
                    "cannot remove container \"{name}\": container is running: stop the container before removing or \
                     force remove"
                )));
            }
            self.emit(&view.record, "kill", &[("signal", signal::KILL.to_string())]);
            self.end(&view, signal::KILL, -1, End::default())?;
        }
        if view.state.status == Status::Dead {
            self.end_dead(&id)?;
        }
        self.take(&view.record).map_err(|err| match err {
            Error::State(err) => Error::vanished(name)(err),
            err => err,
        })
    }

    /// Takes away a container that does not run. The caller has its lock.
    pub(super) fn take(&self, record: &ContainerRecord) -> Result<()> {
        let id = &record.id;
        let temporary = record.host_config.auto_remove;
        let durability = if temporary { Durability::Process } else { Durability::Disk };
        match store::take_away(&self.home, id, &record.name, durability) {
            // `--rm` was quicker, and has told of it.
            Err(state::Error::Missing(_)) if temporary => return Ok(()),
            other => other?,
        }
        self.emit(record, "destroy", &[]);
        // It no longer exists, so no monitor comes any more. One may be there: an attach needs it before a start.
        match self.without_monitor(id) {
            Ok(_alone) => store::remove_remains(&self.home, id)?,
            Err(err) => tracing::warn!(container = %short(id), "files are left for the next process: {err}"),
        }
        self.sweep_layers_of(&record.image_id);
        Ok(())
    }

    /// Removes all containers that do not run. Returns their ids and the bytes that this freed.
    ///
    /// # Errors
    /// An unknown filter.
    pub fn prune(&self, filters: &Filters) -> Result<(Vec<String>, i64)> {
        filters.allow(&["label", "label!", "until"])?;
        let until = filters.until(time::now())?;
        let (mut removed, mut freed) = (Vec::new(), 0);
        for view in self.list(&ListOptions { all: true, ..ListOptions::default() })? {
            let record = &view.record;
            // One that cannot be read is not thrown away unasked.
            let chosen = !view.state.is_running()
                && view.state.status != Status::Dead
                && until.is_none_or(|until| record.created < until)
                && filters.labels(&record.config.labels)
                && filters.without_labels(&record.config.labels);
            if !chosen {
                continue;
            }
            let size = self.size_rw(&record.id);
            match self.remove(&record.id, false) {
                Ok(()) => {
                    removed.push(record.id.clone());
                    freed += size;
                }
                // Gone, or started, since it was listed.
                Err(Error::NotFound(_) | Error::Conflict(_)) => {}
                Err(err) => tracing::warn!(container = %short(&record.id), "not pruned: {err}"),
            }
        }
        let attributes = [("reclaimed".to_owned(), freed.to_string())].into();
        self.tell(&Event::new("container", "prune", "", attributes));
        Ok((removed, freed))
    }
}
