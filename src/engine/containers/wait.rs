//! Waiting for a container's end.
//!
//! A wait needs no monitor and no process in between: it watches the container's directory with inotify(7), where the
//! monitor commits the end by rename(2). A container that is removed as it ends takes its record along; its exit code
//! is then in the event log, which is written before.

use std::os::fd::{AsFd, BorrowedFd};

use crate::engine::{Engine, Error, Result};
use crate::state::{self, events};
use crate::sys::inotify::{Inotify, Mask};

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// That it does not run: at once if it does not.
    NotRunning,
    /// The next end from now on.
    NextExit,
    /// That it is removed.
    Removed,
}

/// A wait under way. Readable when [`Waiter::poll`] may have an answer.
#[derive(Debug)]
pub struct Waiter {
    engine: Engine,
    id: String,
    condition: Condition,
    /// Ends before the wait began.
    exits: u64,
    /// The last exit code that was seen.
    last: Option<i32>,
    inotify: Inotify,
}

impl Engine {
    /// Begins to wait: whatever happens after this call is seen.
    ///
    /// # Errors
    /// Not found.
    pub fn wait(&self, name: &str, condition: Condition) -> Result<Waiter> {
        let id = self.find(name)?;
        let inotify = Inotify::new().map_err(Error::system("cannot watch the container"))?;
        let paths = self.home.container(&id);
        let missing = |err: std::io::Error| match err.kind() {
            std::io::ErrorKind::NotFound => Error::no_container(name),
            _ => Error::System(format!("cannot watch the container: {err}")),
        };
        inotify.watch(&paths.data, Mask::MOVED_TO | Mask::MOVE_SELF | Mask::DELETE_SELF).map_err(missing)?;
        let view = self.view(&id).map_err(Error::vanished(name))?;
        let last = (view.state.exits > 0).then_some(view.state.exit_code);
        Ok(Waiter { engine: self.clone(), id, condition, exits: view.state.exits, last, inotify })
    }
}

impl Waiter {
    /// The exit code, if the end has come.
    ///
    /// # Errors
    /// Those of the state.
    pub fn poll(&mut self) -> Result<Option<i32>> {
        self.inotify.drain().map_err(Error::system("cannot watch the container"))?;
        // A monitor that is killed cannot tell; but the kernel then closes its lock file, which was open to write.
        // The directory is made by the first start: so the watch is asked for again and again, which costs nothing.
        let _ = self.inotify.watch(&self.engine.home.container(&self.id).run, Mask::CLOSE_WRITE);
        let state = match self.engine.view(&self.id) {
            Ok(view) => view.state,
            Err(Error::State(state::Error::Missing(_))) => return Ok(Some(self.after_removal())),
            Err(err) => return Err(err),
        };
        if state.exits > self.exits {
            self.last = Some(state.exit_code);
        }
        Ok(match self.condition {
            Condition::NotRunning if !state.is_running() => Some(state.exit_code),
            Condition::NextExit if state.exits > self.exits => self.last,
            _ => None,
        })
    }

    /// The container is gone: its last end is in the event log, or it never ran.
    fn after_removal(&self) -> i32 {
        let code = events::last(&self.engine.home, &self.id, "die")
            .and_then(|event| event.actor.attributes.get("exitCode")?.parse().ok());
        code.or(self.last).unwrap_or(0)
    }
}

impl AsFd for Waiter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
