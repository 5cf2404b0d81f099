//! Waiting for a container's end.
//!
//! The monitor answers who asks it, once the end is committed and cleaned up after (see [`super::run`]). A container that
//! does not run has none: the next start, and a removal, are seen in its directory with inotify(7), where both are a
//! rename(2). One that is removed as it ends takes its record along; its exit code is then in the event log, which is
//! written before.

use std::os::fd::BorrowedFd;

use super::run::{Now, Run};
use crate::engine::{Engine, Error, Result};
use crate::state::events;
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

/// A wait under way. [`Waiter::poll`] may have an answer when one of [`Waiter::wakes`] is readable.
#[derive(Debug)]
pub struct Waiter {
    run: Run,
    condition: Condition,
    /// The answer, if it was there from the beginning: a monitor may live all the same, that nobody has told to start.
    over: Option<i32>,
    /// Ends before the wait began.
    exits: u64,
    /// The last exit code that was seen.
    last: Option<i32>,
    /// Tells of what happens while no monitor lives; none where that is not waited for.
    changes: Option<Inotify>,
}

impl Engine {
    /// Begins to wait: whatever happens after this call is seen.
    ///
    /// # Errors
    /// Not found; the monitor cannot take one more client.
    pub fn wait(&self, name: &str, condition: Condition) -> Result<Waiter> {
        let id = self.find(name)?;
        let missing = |err: std::io::Error| match err.kind() {
            std::io::ErrorKind::NotFound => Error::no_container(name),
            _ => Error::System(format!("cannot watch the container: {err}")),
        };
        let changes = match condition {
            Condition::NotRunning => None,
            _ => {
                let changes = Inotify::new().map_err(Error::system("cannot watch the container"))?;
                let mask = Mask::MOVED_TO | Mask::MOVE_SELF | Mask::DELETE_SELF;
                changes.watch(&self.home.container(&id).data, mask).map_err(missing)?;
                Some(changes)
            }
        };
        let run = Run::ask(self, &id)?;
        let state = self.view(&id).map_err(Error::vanished(name))?.state;
        let last = (state.exits > 0).then_some(state.exit_code);
        let over = (condition == Condition::NotRunning && !state.is_running()).then_some(state.exit_code);
        Ok(Waiter { over, run, condition, exits: state.exits, last, changes })
    }
}

impl Waiter {
    /// The exit code, if the end has come.
    ///
    /// # Errors
    /// Those of the state; the monitor cannot take one more client.
    pub fn poll(&mut self) -> Result<Option<i32>> {
        if self.over.is_some() {
            return Ok(self.over);
        }
        if let Some(changes) = &self.changes {
            changes.drain().map_err(Error::system("cannot watch the container"))?;
        }
        loop {
            match self.run.look()? {
                Now::Asked => return Ok(None),
                Now::Removed => return Ok(Some(self.after_removal())),
                Now::Ended(code) => {
                    self.last = Some(code);
                    if self.condition != Condition::Removed {
                        return Ok(self.last);
                    }
                }
                Now::Record(state) => {
                    let ended = state.exits > self.exits;
                    if ended {
                        self.last = Some(state.exit_code);
                    }
                    match self.condition {
                        Condition::NotRunning if ended || !state.is_running() => return Ok(Some(state.exit_code)),
                        Condition::NextExit if ended => return Ok(self.last),
                        _ if self.run.is_asked() => {}
                        _ => return Ok(None),
                    }
                }
            }
        }
    }

    /// The container is gone: its last end is in the event log, or it never ran.
    fn after_removal(&self) -> i32 {
        let code = events::last(&self.run.engine().home, self.run.id(), "die")
            .and_then(|event| event.actor.attributes.get("exitCode")?.parse().ok());
        code.or(self.last).unwrap_or(0)
    }

    /// What becomes readable when there is something to see: the monitor's answer, or else a change.
    pub fn wakes(&self) -> Option<BorrowedFd<'_>> {
        self.run.answer().or_else(|| self.changes.as_ref().map(std::os::fd::AsFd::as_fd))
    }
}
