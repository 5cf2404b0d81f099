//! A container's log.

use std::os::fd::{AsFd, BorrowedFd};

use super::run::Run;
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

/// A log being read. [`Logs::read`] may have more when one of [`Logs::wakes`] is readable.
#[derive(Debug)]
pub struct Logs {
    /// Whether it is a terminal's.
    pub tty: bool,
    options: LogOptions,
    reader: LogReader,
    /// What a follower is told by: changes of the log, and the end.
    follow: Option<(Inotify, Run)>,
}

/// How a round of reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// There is more at once.
    More,
    /// Nothing for now: wait until a descriptor is readable.
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
        let follow = match options.follow {
            true => {
                let changes = Inotify::new().map_err(Error::system("cannot watch the log"))?;
                let mask = Mask::MODIFY | Mask::CREATE | Mask::MOVED_TO | Mask::MOVE_SELF | Mask::DELETE_SELF;
                changes.watch(&paths.data, mask).map_err(Error::system("cannot watch the log"))?;
                let run = Run::ask(self, &view.record.id)?;
                // A monitor may live that nobody has told to start.
                self.container(&view.record.id)?.state.is_running().then_some((changes, run))
            }
            false => None,
        };
        let reader = LogReader::open(&paths.log(), options.selection.clone())?;
        Ok(Logs { tty: view.record.config.tty, options, reader, follow })
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
        if self.reader.is_done() {
            return Ok(Round::End);
        }
        let Some((changes, run)) = &mut self.follow else { return Ok(Round::End) };
        changes.drain().map_err(Error::system("cannot watch the log"))?;
        // Looked at before the last read: what was printed before the end was recorded is then read.
        if run.is_over()? {
            self.follow = None;
        }
        // Something may have come between the read and the drain, and will not be told again.
        match self.read_present(&mut sink)? {
            false => Ok(Round::More),
            true if self.follow.is_none() => Ok(Round::End),
            true => {
                self.reader.rest();
                Ok(Round::Later)
            }
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

    /// What becomes readable when there may be more.
    pub fn wakes(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.follow.iter().flat_map(|(changes, run)| std::iter::once(changes.as_fd()).chain(run.answer()))
    }
}
