//! A container's run, and how its end is learnt: its monitor is asked, and answers when the end is committed and cleaned
//! up after.
//!
//! A monitor that is killed answers nothing, but its socket hangs up. That is not yet its end: of a dying process's
//! descriptors one is closed after the other, its lock perhaps last. So the lock is waited for, in the kernel, and then
//! the record tells, which whoever has the lock makes true first (see [`crate::engine::reconcile`]).

use std::os::fd::{AsFd, BorrowedFd};

use crate::engine::{Engine, Error, Result};
use crate::monitor::client::{self, Connection};
use crate::monitor::protocol::{Reply, Request};
use crate::state;
use crate::state::container::StateRecord;
use crate::sys::poll::is_readable;

/// A run that is watched.
#[derive(Debug)]
pub(super) struct Run {
    engine: Engine,
    id: String,
    /// Whoever has been asked to tell of the end.
    monitor: Option<Connection>,
}

/// How a run stands.
#[derive(Debug)]
pub(super) enum Now {
    /// Its monitor lives, and will tell.
    Asked,
    /// It has just ended with this code.
    Ended(i32),
    /// What the record says, looked at after a monitor was asked, if one lives.
    Record(StateRecord),
    /// There is no such container any more.
    Removed,
}

impl Run {
    /// Asks the monitor, if one lives.
    ///
    /// # Errors
    /// It cannot take one more client.
    pub fn ask(engine: &Engine, id: &str) -> Result<Self> {
        let mut run = Self { engine: engine.clone(), id: id.to_owned(), monitor: None };
        run.ask_again()?;
        Ok(run)
    }

    fn ask_again(&mut self) -> Result<()> {
        if let Some(monitor) = client::connect(&self.engine.home, &self.id)? {
            match monitor.ask(&Request::Wait) {
                Ok(()) => self.monitor = Some(monitor),
                Err(client::Error::Gone) => {}
                Err(err) => return Err(err.into()),
            }
        }
        Ok(())
    }

    /// Whether a monitor has been asked and has not been heard.
    pub fn is_asked(&self) -> bool {
        self.monitor.is_some()
    }

    /// What becomes readable when the monitor that has been asked answers, or is no more.
    pub fn answer(&self) -> Option<BorrowedFd<'_>> {
        self.monitor.as_ref().map(AsFd::as_fd)
    }

    /// How it stands now.
    ///
    /// # Errors
    /// Those of the state, and of [`Run::ask`].
    pub fn look(&mut self) -> Result<Now> {
        if let Some(monitor) = self.monitor.take() {
            if !is_readable(&monitor) {
                self.monitor = Some(monitor);
                return Ok(Now::Asked);
            }
            // Anything else is no end: a start that failed, a monitor that left or was killed. The record tells.
            if let Ok(Reply::Exited { code }) = monitor.reply() {
                return Ok(Now::Ended(code));
            }
        }
        // In this order: an end that the record does not show yet will be answered, and what a monitor is asked that
        // came after the end of the one before it, the record shows.
        self.ask_again()?;
        match self.record() {
            Err(Error::State(state::Error::Missing(_))) => Ok(Now::Removed),
            other => other.map(Now::Record),
        }
    }

    fn record(&mut self) -> Result<StateRecord> {
        let state = self.engine.view(&self.id)?.state;
        if !state.is_running() || self.is_asked() {
            return Ok(state);
        }
        let state = self.engine.view_after_monitor(&self.id)?.state;
        if state.is_running() {
            // Then it is another run.
            self.ask_again()?;
            if !self.is_asked() {
                return Err(Error::System("the container's monitor has ended, which cannot be recorded".to_owned()));
            }
        }
        Ok(state)
    }

    /// Whether nothing runs. One that is about to be started is over, too.
    ///
    /// # Errors
    /// As [`Run::look`].
    pub fn is_over(&mut self) -> Result<bool> {
        loop {
            match self.look()? {
                Now::Asked => return Ok(false),
                Now::Ended(_) | Now::Removed => return Ok(true),
                Now::Record(state) if !state.is_running() => return Ok(true),
                Now::Record(_) => {}
            }
        }
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The container's id.
    pub fn id(&self) -> &str {
        &self.id
    }
}
