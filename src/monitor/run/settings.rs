//! What the monitor must know of the container all the time; the rest is read when it is needed.

use super::log::Rotation;
use super::streams::Shape;
use crate::state::container::ContainerRecord;

/// The container's settings that its monitor keeps.
#[derive(Debug)]
pub struct Settings {
    /// Its output is a terminal's.
    pub tty: bool,
    /// It has an input.
    pub open_stdin: bool,
    /// The input ends with the first client's.
    pub stdin_once: bool,
    /// To be removed at its end.
    pub auto_remove: bool,
    /// What asks it to end.
    pub stop_signal: i32,
    /// Seconds from that to SIGKILL; negative: never.
    pub stop_timeout: i64,
    /// Rows and columns of the terminal at the start.
    pub console_size: Option<(u16, u16)>,
    /// Log rotation; none: no log.
    pub log: Option<Rotation>,
}

impl Settings {
    /// From the record.
    pub fn of(record: &ContainerRecord) -> Self {
        let config = &record.config;
        // What an old record's texts do not tell any more is the default.
        let settings = record.settings().unwrap_or_default();
        Self {
            tty: config.tty,
            open_stdin: config.open_stdin,
            stdin_once: config.stdin_once,
            auto_remove: record.host_config.auto_remove,
            stop_signal: settings.stop_signal,
            stop_timeout: settings.stop_timeout,
            console_size: cells(record.host_config.console_size),
            log: Rotation::of(&settings.log),
        }
    }

    /// The container's own streams.
    pub fn shape(&self) -> Shape {
        Shape { tty: self.tty, stdin: self.open_stdin, stdin_once: self.stdin_once, size: self.console_size }
    }
}

/// Rows and columns as the kernel counts them; none if one of them is 0.
pub fn cells([rows, columns]: [u32; 2]) -> Option<(u16, u16)> {
    let cells = |n| u16::try_from(n).unwrap_or(u16::MAX);
    (rows > 0 && columns > 0).then(|| (cells(rows), cells(columns)))
}
