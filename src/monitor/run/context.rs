//! What every part of the monitor works with.

use std::io;
use std::os::fd::AsFd;

use super::attached::HEADER;
use super::files::Files;
use super::launch::Starter;
use super::timers::{Due, Timers};
use super::watch::Watch;
use crate::sys::memory::Buffer;
use crate::sys::{process, spawn};

/// Most bytes read from an output at once.
const READ: usize = 128 * 1024;
/// Room for what the log makes of that.
const SCRATCH: usize = 384 * 1024;

/// The monitor's two large buffers, which cost nothing at rest.
#[derive(Debug)]
pub struct Io {
    /// Where output is read to, behind room for a header.
    pub input: Buffer,
    /// Where log entries are made.
    pub scratch: Buffer,
    /// Whether they hold pages.
    pub dirty: bool,
}

impl Io {
    /// Reserves them.
    fn new() -> io::Result<Self> {
        Ok(Self { input: Buffer::new(HEADER + READ)?, scratch: Buffer::new(SCRATCH)?, dirty: false })
    }

    /// Gives their pages back.
    pub fn release(&mut self) {
        self.input.release();
        self.scratch.release();
        self.dirty = false;
    }
}

/// What the parts share: each uses it, none owns it.
#[derive(Debug)]
pub struct Context {
    /// The container's files.
    pub files: Files,
    /// What is waited for.
    pub watch: Watch,
    /// Until when.
    pub timers: Timers,
    /// Room to work.
    pub io: Io,
    /// Starters that are killed, and whose end the kernel has not told yet: their processes, and since when they are.
    pub doomed: Vec<(i32, u64)>,
}

impl Context {
    /// Nothing watched, nothing due.
    pub fn new(files: Files) -> io::Result<Self> {
        Ok(Self { files, watch: Watch::new()?, timers: Timers::default(), io: Io::new()?, doomed: Vec::new() })
    }

    /// Ends a starter, whatever it is at. What it leaves is ended when it has.
    pub fn doom(&mut self, starter: Starter) {
        self.watch.remove(starter.as_fd());
        let _ = spawn::kill(starter.pid, spawn::SIGKILL);
        self.doomed.push((starter.pid, starter.since));
    }

    /// A starter was killed that had not reported. What it leaves is ended when it has; if its end was told before, for a
    /// child that it had just forked kept its socket open, that has been done.
    pub fn mourn(&mut self, starter: Starter) {
        self.watch.remove(starter.as_fd());
        if process::children().contains(&starter.pid) {
            self.doomed.push((starter.pid, starter.since));
        }
    }

    /// The time to give the buffers back is this much after the last use.
    pub fn rest_later(&mut self, after: std::time::Duration) {
        if self.io.dirty {
            self.timers.set(Due::Rest, after);
        }
    }
}
