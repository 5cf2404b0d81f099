//! A container's log.

use std::os::fd::{AsFd, BorrowedFd};

use crate::engine::{Engine, Error, Result};
use crate::state::logfile::{Entry, LogReader, Selection, Stream};
use crate::sys::inotify::{Inotify, Mask};

/// What of a log to read.
#[derive(Debug, Clone, Default)]
pub struct LogOptions {
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Go on with what comes, until the container ends.
    pub follow: bool,
    /// Which times, and how many of the last lines.
    pub selection: Selection,
}

/// A log being read. Readable when [`Logs::next_entry`] may have more.
#[derive(Debug)]
pub struct Logs {
    engine: Engine,
    id: String,
    /// Whether it is a terminal's.
    pub tty: bool,
    options: LogOptions,
    reader: LogReader,
    inotify: Inotify,
    ended: bool,
}

/// How a round of reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// There is more at once.
    More,
    /// Nothing for now: wait until the descriptor is readable.
    Later,
    /// Nothing any more.
    End,
}

impl Engine {
    /// Begins to read a container's log.
    ///
    /// # Errors
    /// Not found; invalid parameter if no stream is chosen; not implemented if the log driver keeps nothing to read.
    pub fn logs(&self, name: &str, options: LogOptions) -> Result<Logs> {
        if !options.stdout && !options.stderr {
            return Err(Error::InvalidParameter("Bad parameters: you must choose at least one stream".to_owned()));
        }
        let view = self.container(name)?;
        if view.record.host_config.log_config.r#type == "none" {
            return Err(Error::NotImplemented("configured logging driver does not support reading".to_owned()));
        }
        let paths = self.home.container(&view.record.id);
        let inotify = Inotify::new().map_err(Error::system("cannot watch the log"))?;
        if options.follow {
            let mask = Mask::MODIFY | Mask::CREATE | Mask::MOVED_TO | Mask::MOVE_SELF | Mask::DELETE_SELF;
            inotify.watch(&paths.data, mask).map_err(Error::system("cannot watch the log"))?;
        }
        let reader = LogReader::open(&paths.log(), options.selection.clone())?;
        let (id, tty) = (view.record.id.clone(), view.record.config.tty);
        Ok(Logs { engine: self.clone(), id, tty, options, reader, inotify, ended: false })
    }
}

impl Logs {
    /// Gives the next entries of the chosen streams to `sink`, until that says it has enough (false) or there are no
    /// more for now.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn read(&mut self, mut sink: impl FnMut(&Entry<'_>) -> bool) -> Result<Round> {
        if !self.read_present(&mut sink)? {
            return Ok(Round::More);
        }
        if self.ended || !self.options.follow {
            return Ok(Round::End);
        }
        self.inotify.drain().map_err(Error::system("cannot watch the log"))?;
        // As a wait does: the lock file of a monitor that is killed is closed, and nothing else tells of it.
        let _ = self.inotify.watch(&self.engine.home.container(&self.id).run, Mask::CLOSE_WRITE);
        // Looked at before the last read: what was printed before the end was recorded is then read.
        self.ended = !self.engine.view(&self.id).is_ok_and(|view| view.state.is_running());
        // Something may have come between the read and the drain, and will not be told again.
        match self.read_present(&mut sink)? {
            false => Ok(Round::More),
            true if self.ended => Ok(Round::End),
            true => Ok(Round::Later),
        }
    }

    /// Returns whether the present end was reached.
    fn read_present(&mut self, sink: &mut impl FnMut(&Entry<'_>) -> bool) -> Result<bool> {
        while let Some(entry) = self.reader.next_entry() {
            let chosen = match entry.stream {
                Stream::Stdout => self.options.stdout,
                Stream::Stderr => self.options.stderr,
            };
            if chosen && !sink(&entry) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl AsFd for Logs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
