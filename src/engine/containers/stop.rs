//! Ending containers: stop, restart, kill.

use super::list::View;
use crate::engine::reconcile::freed;
use crate::engine::{Engine, Error, Result};
use crate::model::ErrorKind;
use crate::model::signal::{self, Signal};
use crate::model::time;
use crate::monitor::client;
use crate::state;
use crate::state::container::ContainerRecord;
use crate::state::events::Event;
use crate::state::lock::Lock;

/// What an end is part of.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct End {
    /// A restart: `--rm` does not apply.
    pub keep: bool,
    /// A stop, which is to be told of before the end.
    pub tell: bool,
}

impl Engine {
    /// Stops a container: its stop signal, then SIGKILL after the timeout in seconds (negative: never). The monitor
    /// keeps the time: the stop is completed even if this process is killed.
    ///
    /// # Errors
    /// Not found; not modified if it does not run; an unknown signal.
    pub fn stop(&self, name: &str, signal: Option<&str>, timeout: Option<i64>) -> Result<()> {
        let view = self.container(name)?;
        let signal = stop_signal("stop", name, signal)?;
        if !view.state.is_running() && !self.is_starting(&view.record.id) {
            return Err(Error::NotModified);
        }
        self.stop_running(&view, signal, timeout, false)
    }

    fn stop_running(&self, view: &View, signal: Option<Signal>, timeout: Option<i64>, keep: bool) -> Result<()> {
        let record = &view.record;
        let settings = record.settings().unwrap_or_default();
        let signal = signal.unwrap_or(settings.stop_signal);
        let timeout = timeout.unwrap_or(settings.stop_timeout).clamp(-1, i64::MAX / time::SECOND);
        self.emit(record, "kill", &[("signal", signal.to_string())]);
        let told = self.end(view, signal, timeout, End { keep, tell: true })?;
        if !told {
            self.emit(record, "stop", &[]);
        }
        Ok(())
    }

    /// Whether a starter of the container is at work. It may hang, and can be ended then.
    fn is_starting(&self, id: &str) -> bool {
        matches!(client::connect(&self.home, id), Ok(Some(monitor)) if monitor.is_starting())
    }

    /// Ends a start that is under way.
    pub(super) fn end_start(&self, id: &str) -> Result<()> {
        if let Some(monitor) = client::connect(&self.home, id)?
            && monitor.is_starting()
        {
            // Nothing runs then: that is a refusal.
            let _ = monitor.stop(signal::KILL, -1, false, false);
        }
        Ok(())
    }

    /// Stops a container if it runs, and starts it.
    ///
    /// # Errors
    /// As [`Engine::stop`] and [`Engine::start`].
    pub fn restart(&self, name: &str, signal: Option<&str>, timeout: Option<i64>) -> Result<()> {
        let view = self.container(name)?;
        let signal = stop_signal("restart", name, signal)?;
        if view.state.is_running() {
            // A container that is to be removed at its end is not removed in between.
            self.stop_running(&view, signal, timeout, true)?;
        }
        match self.start(&view.record.id) {
            Ok(()) | Err(Error::NotModified) => {}
            Err(err) => return Err(err),
        }
        self.emit(&view.record, "restart", &[]);
        Ok(())
    }

    /// Sends a signal; none: SIGKILL, whose effect is waited for.
    ///
    /// # Errors
    /// Not found; an unknown signal; conflict if it does not run.
    pub fn kill(&self, name: &str, signal: Option<&str>) -> Result<()> {
        let refused = |why: &dyn std::fmt::Display| format!("cannot kill container: {name}: {why}");
        let view = match self.container(name) {
            Err(Error::NotFound(why)) => return Err(Error::NotFound(refused(&why))),
            other => other?,
        };
        let asked = signal.filter(|text| !text.is_empty());
        let signal = asked.map(parse_signal).transpose().map_err(|why| Error::InvalidParameter(refused(&why)))?;
        let signal = signal.unwrap_or(signal::KILL);
        let not_running = || Error::Conflict(refused(&format_args!("container {} is not running", view.record.id)));
        let starting = !view.state.is_running() && signal == signal::KILL && self.is_starting(&view.record.id);
        if !view.state.is_running() && !starting {
            return Err(not_running());
        }
        let Some(monitor) = client::connect(&self.home, &view.record.id)? else { return Err(not_running()) };
        self.emit(&view.record, "kill", &[("signal", signal.to_string())]);
        if signal == signal::KILL {
            // Its own second SIGKILL would be another event.
            return self.end(&view, signal, -1, End::default()).map(drop);
        }
        match monitor.signal(signal) {
            Err(err) if matches!(err.kind(), ErrorKind::Conflict) => Err(not_running()),
            other => Ok(other?),
        }
    }

    /// Has the monitor end the container, and waits until the end is recorded. True if the monitor tells of it as of a
    /// stop.
    pub(super) fn end(&self, view: &View, signal: Signal, timeout: i64, end: End) -> Result<bool> {
        let mut told = false;
        if let Some(monitor) = client::connect(&self.home, &view.record.id)? {
            told = end.tell && monitor.tells_of_stops();
            match monitor.stop(signal, timeout, end.keep, end.tell) {
                Ok(_) => return Ok(told),
                // It ended by itself just before, or the monitor was killed: the record tells.
                Err(err) if matches!(err.kind(), ErrorKind::Conflict) => told = false,
                Err(err) => return Err(err.into()),
            }
        }
        match self.view_after_monitor(&view.record.id) {
            Ok(after) if after.state.is_running() => Err(Error::System("the container does not end".to_owned())),
            Ok(_) | Err(Error::State(state::Error::Missing(_))) => Ok(told),
            Err(err) => Err(err),
        }
    }

    /// Whether a monitor lives that has the container's process.
    pub(super) fn monitor_says_running(&self, id: &str) -> bool {
        let held = Lock::is_held(&self.home.container(id).monitor_lock()).unwrap_or(true);
        held && matches!(client::connect(&self.home, id), Ok(Some(monitor)) if monitor.is_running())
    }

    /// Has an idle monitor (of a container that clients attached to and nobody started) leave. Returns its lock: the
    /// container has been taken away before, so no other one comes.
    pub(super) fn without_monitor(&self, id: &str) -> Result<Option<Lock>> {
        let path = self.home.container(id).monitor_lock();
        if Lock::look(&path)?.is_none() {
            return Ok(None);
        }
        if let Some(monitor) = client::connect(&self.home, id)? {
            // An idle monitor has nothing to stop: it leaves, and its clients with it.
            let _ = monitor.stop(signal::KILL, 0, false, false);
        }
        freed(&path)
    }

    /// Tells the event log of a container.
    pub(in crate::engine) fn emit(&self, record: &ContainerRecord, action: &str, extra: &[(&str, String)]) {
        self.tell(&Event::container(record, action, extra));
    }
}

fn parse_signal(text: &str) -> Result<Signal, String> {
    signal::parse(text).ok_or_else(|| match text.parse::<u32>() {
        Ok(number) if number > 0 => format!("the linux daemon does not support signal {number}"),
        _ => format!("invalid signal: {text}"),
    })
}

/// The signal that a stop or a restart asks for.
fn stop_signal(verb: &str, name: &str, asked: Option<&str>) -> Result<Option<Signal>> {
    let refused = |why| Error::InvalidParameter(format!("cannot {verb} container: {name}: {why}"));
    asked.map(parse_signal).transpose().map_err(refused)
}
