//! The event log: `events/events.jsonl`, one JSON object a line, appended by whoever did something.
//!
//! A line is one write(2) to a file opened with `O_APPEND`, so lines of different processes never mix. One that a full
//! disk, a kill or a loss of power tore costs itself only: whoever appends next closes it first. Past [`ROTATE_AT`] bytes
//! the file becomes `events.1.jsonl` and a new one begins; followers watch the directory.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::container::ContainerRecord;
use super::lock::Lock;
use super::paths::Home;
use super::{Error, Result};
use crate::model::time::{self, Nanos, SECOND};
use crate::sys::regular;

/// Size in bytes at which a log file is set aside; two files are kept.
pub const ROTATE_AT: u64 = 8 << 20;

/// An event in Docker's own shape, which is also the line in the log.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// `container`, `image`, `network`, `volume`, `builder` …
    #[serde(rename = "Type")]
    pub kind: String,
    /// `start`, `die`, `exec_create: ls` …
    #[serde(rename = "Action")]
    pub action: String,
    /// What it happened to.
    #[serde(rename = "Actor")]
    pub actor: Actor,
    /// Always `local`.
    pub scope: String,
    /// Seconds since 1970.
    pub time: i64,
    /// Nanoseconds since 1970.
    #[serde(rename = "timeNano")]
    pub time_nano: Nanos,
}

/// What an event happened to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Actor {
    /// Its id.
    #[serde(rename = "ID")]
    pub id: String,
    /// Its labels and what the event adds.
    #[serde(rename = "Attributes")]
    pub attributes: BTreeMap<String, String>,
}

impl Event {
    /// An event now.
    pub fn new(kind: &str, action: &str, id: &str, attributes: BTreeMap<String, String>) -> Self {
        let now = time::now();
        Self {
            kind: kind.to_owned(),
            action: action.to_owned(),
            actor: Actor { id: id.to_owned(), attributes },
            scope: "local".to_owned(),
            time: now / SECOND,
            time_nano: now,
        }
    }

    /// A container's event now, with its own attributes and these.
    pub fn container(record: &ContainerRecord, action: &str, extra: &[(&str, String)]) -> Self {
        let mut attributes = record.event_attributes();
        attributes.extend(extra.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        Self::new("container", action, &record.id, attributes)
    }
}

/// The current log file.
pub fn current(home: &Home) -> PathBuf {
    home.events().join("events.jsonl")
}

fn previous(home: &Home) -> PathBuf {
    home.events().join("events.1.jsonl")
}

/// Appends an event.
///
/// # Errors
/// Those of the file system.
pub fn append(home: &Home, event: &Event) -> Result<()> {
    let path = current(home);
    // A newline in front, in case that it is needed.
    let mut line = vec![b'\n'];
    serde_json::to_writer(&mut line, event).map_err(|source| Error::Corrupt { path: path.clone(), source })?;
    line.push(b'\n');
    let open = || OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path);
    let mut file = match open() {
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(home.events()).map_err(Error::at(&home.events()))?;
            open()
        }
        other => other,
    }
    .map_err(Error::at(&path))?;
    let size = file.metadata().map_err(Error::at(&path))?.size();
    let line = if is_torn(&file, size) { &line[..] } else { &line[1..] };
    match file.write(line) {
        Ok(written) if written == line.len() => {}
        // No room for all of it. A second write could meet another process's line.
        Ok(_) => return Err(Error::at(&path)(io::ErrorKind::StorageFull.into())),
        Err(err) => return Err(Error::at(&path)(err)),
    }
    // What was appended was told. A rotation that fails is tried again by the next one.
    if size + line.len() as u64 > ROTATE_AT
        && let Err(err) = rotate(home)
    {
        tracing::warn!("the event log grows: {err}");
    }
    Ok(())
}

/// Whether a file of this size ends within a line. If that is being written at this moment, an empty line comes of it,
/// which no reader minds.
fn is_torn(file: &File, size: u64) -> bool {
    let mut end = [b'\n'];
    let last = size.checked_sub(1).map(|at| file.read_exact_at(&mut end, at));
    last.is_some_and(|read| read.is_ok()) && end != *b"\n"
}

/// Sets the full file aside. The lock and the second look keep two processes from rotating twice.
fn rotate(home: &Home) -> Result<()> {
    let _lock = Lock::exclusive(&home.events().join("lock"))?;
    let path = current(home);
    if fs::metadata(&path).is_ok_and(|meta| meta.size() > ROTATE_AT) {
        fs::rename(&path, previous(home)).map_err(Error::at(&path))?;
    }
    Ok(())
}

/// Reads the log from its oldest line, and again after its end whenever more has been written.
#[derive(Debug)]
pub struct Reader {
    home: Home,
    file: Option<BufReader<File>>,
    partial: Vec<u8>,
}

impl Reader {
    /// From the oldest event that is kept.
    pub fn from_start(home: &Home) -> Self {
        let file = regular::open(&previous(home)).or_else(|_| regular::open(&current(home))).ok();
        Self { home: home.clone(), file: file.map(BufReader::new), partial: Vec::new() }
    }

    /// From the end: only what comes.
    pub fn from_end(home: &Home) -> Self {
        let open = |path: PathBuf| -> Option<BufReader<File>> {
            let mut file = regular::open(&path).ok()?;
            file.seek(SeekFrom::End(0)).ok()?;
            Some(BufReader::new(file))
        };
        Self { home: home.clone(), file: open(current(home)), partial: Vec::new() }
    }

    /// The next event; none at the present end. Lines that cannot be read are passed over.
    pub fn next_event(&mut self) -> Option<Event> {
        loop {
            if self.file.is_none() {
                self.file = Some(BufReader::new(regular::open(&current(&self.home)).ok()?));
            }
            let file = self.file.as_mut()?;
            // A line is written whole, but a reader may still see part of it: keep that until the rest is there.
            let read = file.by_ref().take(1 << 20).read_until(b'\n', &mut self.partial).ok()?;
            if self.partial.last() == Some(&b'\n') {
                let line = std::mem::take(&mut self.partial);
                if let Ok(event) = serde_json::from_slice(&line) {
                    return Some(event);
                }
            } else if read == 0 && !self.follow_rotation() {
                return None;
            }
        }
    }

    /// At the end of a file that has been set aside: go on with its successor. Returns whether there is one.
    fn follow_rotation(&mut self) -> bool {
        let Some(file) = &self.file else { return false };
        let inode = |path: &Path| fs::metadata(path).map(|meta| meta.ino()).ok();
        let here = file.get_ref().metadata().map(|meta| meta.ino()).ok();
        match inode(&current(&self.home)) {
            Some(there) if Some(there) != here => {
                self.partial.clear();
                self.file = None;
                true
            }
            _ => false,
        }
    }
}

/// Whether this action of this actor was told of since that moment. If the log does not reach back so far, it counts as
/// told: nobody shall be told twice.
pub fn is_told(home: &Home, id: &str, action: &str, since: Nanos) -> bool {
    let mut reader = Reader::from_start(home);
    let mut oldest = None;
    while let Some(event) = reader.next_event() {
        oldest.get_or_insert(event.time_nano);
        if event.time_nano >= since && event.actor.id == id && event.action == action {
            return true;
        }
    }
    previous(home).exists() && oldest.is_some_and(|oldest| oldest > since)
}

/// The last event of this actor with this action, if it is still in the log.
pub fn last(home: &Home, id: &str, action: &str) -> Option<Event> {
    let mut reader = Reader::from_start(home);
    let mut found = None;
    while let Some(event) = reader.next_event() {
        if event.actor.id == id && event.action == action {
            found = Some(event);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(dir: &Path) -> Home {
        Home { data: dir.join("data"), run: dir.join("run") }
    }

    #[test]
    fn appended_events_are_read_and_followed() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let home = home(dir.path());
        let event = |action: &str| Event::new("container", action, "abc", BTreeMap::new());
        let mut reader = Reader::from_start(&home);
        assert_eq!(reader.next_event(), None);
        append(&home, &event("create")).expect("append");
        assert_eq!(reader.next_event().map(|event| event.action), Some("create".into()));
        assert_eq!(reader.next_event(), None);
        append(&home, &event("die")).expect("append");
        fs::rename(current(&home), previous(&home)).expect("rotate");
        append(&home, &event("destroy")).expect("append");
        assert_eq!(reader.next_event().map(|event| event.action), Some("die".into()));
        assert_eq!(reader.next_event().map(|event| event.action), Some("destroy".into()));
        assert!(last(&home, "abc", "die").is_some());
        assert!(last(&home, "abc", "start").is_none());
    }

    #[test]
    fn a_torn_line_costs_itself_only() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let home = home(dir.path());
        let event = |action: &str| Event::new("container", action, "abc", BTreeMap::new());
        let actions = |mut reader: Reader| -> Vec<String> {
            std::iter::from_fn(|| reader.next_event()).map(|event| event.action).collect()
        };
        append(&home, &event("create")).expect("append");
        let mut follower = Reader::from_start(&home);
        assert!(follower.next_event().is_some() && follower.next_event().is_none());
        // By a kill or a full disk; by a loss of power on some file systems; as the first of all.
        for torn in ["{\"Type\":\"container\",\"Act", "\0\0\0", "{"] {
            let mut file = OpenOptions::new().append(true).open(current(&home)).expect("open");
            file.write_all(torn.as_bytes()).expect("tear");
            assert_eq!(follower.next_event(), None);
            append(&home, &event(torn)).expect("append");
            append(&home, &event("next")).expect("append");
            assert_eq!(follower.next_event().map(|event| event.action).as_deref(), Some(torn));
            assert_eq!(follower.next_event().map(|event| event.action).as_deref(), Some("next"));
        }
        assert_eq!(actions(Reader::from_start(&home)).len(), 7);
        let text = fs::read_to_string(current(&home)).expect("read");
        assert_eq!(text.lines().count(), 10, "no line more than was written or torn: {text}");
        fs::write(current(&home), "{").expect("tear");
        append(&home, &event("die")).expect("append");
        assert_eq!(actions(Reader::from_start(&home)), ["die"]);
    }

    #[test]
    fn what_was_appended_is_told_though_it_cannot_be_rotated() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let home = home(dir.path());
        let event = |action: &str| Event::new("container", action, "abc", BTreeMap::new());
        append(&home, &event("create")).expect("append");
        let file = OpenOptions::new().append(true).open(current(&home)).expect("open");
        file.set_len(ROTATE_AT).expect("grow");
        fs::create_dir_all(previous(&home).join("x")).expect("obstacle");
        append(&home, &event("start")).expect("told");
        crate::sys::tree::remove(&previous(&home)).expect("remove");
        append(&home, &event("die")).expect("told");
        assert!(previous(&home).is_file() && !current(&home).exists(), "rotated by the next one");
        let mut reader = Reader::from_start(&home);
        let actions: Vec<String> = std::iter::from_fn(|| reader.next_event()).map(|event| event.action).collect();
        assert_eq!(actions, ["create", "start", "die"]);
    }
}
