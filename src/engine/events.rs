//! Streams of events: from the log on disk, followed by inotify.

use std::fs;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Engine, Error, Result};
use crate::model::filters::Filters;
use crate::model::time::{self, Nanos, SECOND};
use crate::state::events::{self, Event, Reader};
use crate::sys::inotify::{Inotify, Mask};

/// Which events to tell.
#[derive(Debug, Clone, Default)]
pub struct EventOptions {
    /// From when on; none: only what comes, or, with an end, all that is kept.
    pub since: Option<Nanos>,
    /// Until when; none: for ever.
    pub until: Option<Nanos>,
    /// Docker's filters.
    pub filters: Filters,
}

impl EventOptions {
    /// Of a request's texts.
    ///
    /// # Errors
    /// Invalid parameter: what is no time, or a stream that ends before it begins.
    pub fn of(since: &str, until: &str, filters: Filters) -> Result<Self> {
        let options = Self { since: moment(since)?, until: moment(until)?, filters };
        if options.since.is_some_and(|from| options.until.is_some_and(|end| end < from)) {
            let text = format!("`since` time ({since}) cannot be after `until` time ({until})");
            return Err(Error::InvalidParameter(text));
        }
        Ok(options)
    }
}

const FILTERS: &[&str] = &[
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];

/// A stream of events that has begun: what happens from now on is in it.
#[derive(Debug)]
pub struct Events {
    reader: Reader,
    inotify: Inotify,
    options: EventOptions,
}

impl Engine {
    /// Writes to the event log. That it cannot be written, to a full disk for one, keeps nobody from ending and removing
    /// things.
    pub(in crate::engine) fn tell(&self, event: &Event) {
        if let Err(err) = events::append(&self.home, event) {
            tracing::warn!(of = %event.actor.id, "event {} is lost: {err}", event.action);
        }
    }

    /// Begins a stream of events.
    ///
    /// # Errors
    /// Invalid parameter: an unknown filter.
    pub fn events(&self, options: EventOptions) -> Result<Events> {
        options.filters.allow(FILTERS)?;
        let dir = self.home.events();
        fs::create_dir_all(&dir)?;
        // The watch first: whatever is written after the reader's first look wakes it.
        let inotify = Inotify::new()?;
        inotify.watch(&dir, Mask::MODIFY | Mask::CREATE | Mask::MOVED_TO)?;
        let history = options.since.is_some() || options.until.is_some();
        let reader = if history { Reader::from_start(&self.home) } else { Reader::from_end(&self.home) };
        Ok(Events { reader, inotify, options })
    }
}

impl Events {
    /// Gives each event to `sink`, until the end that was asked for, or until `gone` hangs up.
    ///
    /// # Errors
    /// The sink's, and those of poll(2).
    pub fn follow(&mut self, gone: BorrowedFd<'_>, mut sink: impl FnMut(&Event) -> io::Result<()>) -> Result<()> {
        loop {
            // The clock before the log: an event up to then is in what is read now.
            let now = time::now();
            while let Some(event) = self.reader.next_event() {
                if self.wanted(&event) {
                    sink(&event)?;
                }
            }
            let left = self.options.until.map(|until| until.saturating_sub(now));
            if left.is_some_and(|left| left <= 0) || !self.wait(gone, left)? {
                return Ok(());
            }
        }
    }

    /// Waits for a change or for so many nanoseconds; false if the client is gone.
    fn wait(&self, gone: BorrowedFd<'_>, left: Option<Nanos>) -> Result<bool> {
        let limit = left.map(|left| Timespec { tv_sec: left / SECOND, tv_nsec: left % SECOND });
        let mut fds = [PollFd::new(&self.inotify, PollFlags::IN), PollFd::from_borrowed_fd(gone, PollFlags::IN)];
        match poll(&mut fds, limit.as_ref()) {
            Err(rustix::io::Errno::INTR) => return Ok(true),
            result => result.map_err(io::Error::from)?,
        };
        let gone = !fds[1].revents().is_empty();
        self.inotify.drain()?;
        Ok(!gone)
    }

    fn wanted(&self, event: &Event) -> bool {
        let options = &self.options;
        options.since.is_none_or(|since| event.time_nano >= since)
            && options.until.is_none_or(|until| event.time_nano <= until)
            && matches(&options.filters, event)
    }
}

/// Whether an event passes the filters: each filter must, by one of its values.
fn matches(filters: &Filters, event: &Event) -> bool {
    let attribute = |name: &str| event.actor.attributes.get(name).map_or("", String::as_str);
    let is_or_begins = |want: &str| event.actor.id.starts_with(want) || attribute("name").starts_with(want);
    let objects = ["config", "container", "network", "node", "plugin", "secret", "service", "volume"];
    filters.any("type", |want| event.kind == want)
        && filters.any("scope", |want| event.scope == want)
        && filters.any("event", |want| is_action(want, &event.action))
        && filters.any("image", |want| is_image(want, event))
        && filters.any("daemon", |want| event.kind == "daemon" && is_or_begins(want))
        && objects.iter().all(|kind| filters.any(kind, |want| event.kind == *kind && is_or_begins(want)))
        && filters.labels(&event.actor.attributes)
}

/// Three actions carry a detail after a colon: their bare names mean all of them.
fn is_action(want: &str, action: &str) -> bool {
    let detailed = ["exec_create", "exec_start", "health_status"];
    action == want || (detailed.contains(&want) && action.strip_prefix(want).is_some_and(|rest| rest.starts_with(':')))
}

/// By id or name, with or without the tag, of an image's event or of a container's image.
fn is_image(want: &str, event: &Event) -> bool {
    let attribute = if event.kind == "image" { "name" } else { "image" };
    let name = event.actor.attributes.get(attribute).map_or("", String::as_str);
    [event.actor.id.as_str(), name].iter().any(|have| *have == want || without_tag(have) == want)
}

fn without_tag(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

/// Reads a moment of a request; empty is none.
fn moment(text: &str) -> Result<Option<Nanos>> {
    match text {
        "" => Ok(None),
        _ => match time::parse_moment(text, time::now()) {
            Some(moment) => Ok(Some(moment)),
            None => Err(Error::InvalidParameter(format!("invalid time {text:?}"))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_as_docker_has_them() {
        let attributes = [("image", "docker.io/x/web:1"), ("name", "shop_web"), ("a", "b")];
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let event = Event::new("container", "exec_start: ls -l", "0123456789ab", attributes.into());
        let pass = |json: &str| matches(&Filters::parse(json).expect("filters"), &event);
        for json in [
            r#"{"container":["shop"]}"#,
            r#"{"container":["0123"],"type":["container","image"]}"#,
            r#"{"event":["exec_start"]}"#,
            r#"{"event":["die","exec_start: ls -l"]}"#,
            r#"{"image":["docker.io/x/web"]}"#,
            r#"{"image":["docker.io/x/web:1"]}"#,
            r#"{"label":["a","a=b"]}"#,
            "{}",
        ] {
            assert!(pass(json), "{json}");
        }
        for json in [
            r#"{"container":["web"]}"#,
            r#"{"event":["exec"]}"#,
            r#"{"event":["die"]}"#,
            r#"{"network":["0123"]}"#,
            r#"{"label":["a=c"]}"#,
            r#"{"type":["image"]}"#,
        ] {
            assert!(!pass(json), "{json}");
        }
    }
}
