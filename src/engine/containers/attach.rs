//! Attaching to a container: the monitor gets the client's own socket.

use std::os::fd::BorrowedFd;

use crate::engine::{Engine, Error, Result};
use crate::monitor::client::{self, Announced};
use crate::monitor::detach;
use crate::monitor::protocol::Attach;
use crate::state::container::ContainerRecord;
use crate::state::store;

/// What an attached client wants.
pub type AttachOptions = Attach;

/// A stream that the monitor expects: it begins when the client's socket is handed over.
#[derive(Debug)]
pub struct Handover {
    announced: Announced,
    /// Whether the stream is a terminal's: raw, not in frames.
    pub tty: bool,
}

impl Handover {
    /// Hands over the client's socket, after the answer's head was written to it, with what was already read from it.
    ///
    /// # Errors
    /// The monitor has ended.
    pub fn complete(self, socket: BorrowedFd<'_>, buffered: &[u8]) -> Result<()> {
        Ok(self.announced.hand_over(socket, buffered)?)
    }

    pub(in crate::engine) fn new(announced: Announced, tty: bool) -> Self {
        Self { announced, tty }
    }
}

/// Most bytes of a detach sequence's text: far less than a packet to a monitor holds.
const DETACH_KEYS: usize = 4096;

impl Engine {
    /// Announces an attach to the container's monitor; one is launched if there is none, for clients attach before
    /// they start. A start waits for announced attaches, so that no byte is lost.
    ///
    /// # Errors
    /// Not found; invalid parameter for detach keys that are none; conflict if it is paused.
    pub fn attach(&self, name: &str, options: &AttachOptions) -> Result<Handover> {
        let view = self.container(name)?;
        let record = &view.record;
        if options.detach_keys.len() > DETACH_KEYS {
            return Err(Error::InvalidParameter("detachKeys is too long".to_owned()));
        }
        if detach::parse(&options.detach_keys).is_err() {
            return Err(Error::InvalidParameter(format!("Invalid detach keys ({}) provided", options.detach_keys)));
        }
        let mut wanted = options.clone();
        wanted.stdin &= record.config.open_stdin;
        let mut lost = false;
        loop {
            let monitor = client::launch(&self.home, &record.id);
            if monitor.is_err() && !store::has_record(&self.home.container(&record.id)) {
                return Err(Error::no_container(name));
            }
            match monitor?.attach(wanted.clone()) {
                Ok(announced) => {
                    self.emit(record, "attach", &[]);
                    return Ok(Handover::new(announced, record.config.tty));
                }
                // It was on its way out, or has been killed: the next one is asked.
                Err(client::Error::Gone) if !lost => lost = true,
                Err(err) => return Err(err.into()),
            }
        }
    }

    /// Sets the size of a container's terminal.
    ///
    /// # Errors
    /// Not found; conflict if it does not run and nobody is attached.
    pub fn resize(&self, name: &str, height: u16, width: u16) -> Result<()> {
        let view = self.container(name)?;
        self.resize_terminal(&view.record, None, height, width)?;
        let size = [("height", height.to_string()), ("width", width.to_string())];
        self.emit(&view.record, "resize", &size);
        Ok(())
    }

    pub(in crate::engine) fn resize_terminal(
        &self,
        record: &ContainerRecord,
        exec: Option<&str>,
        height: u16,
        width: u16,
    ) -> Result<()> {
        let stopped = || Error::Conflict(format!("container {} is not running", record.id));
        let monitor = client::connect(&self.home, &record.id)?.ok_or_else(stopped)?;
        Ok(monitor.resize(exec, height, width)?)
    }
}
