//! Reading a container's `json-file` log: from a moment, from so many lines before the end, across rotated files, and
//! again whenever more has been written.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Error, Result};
use crate::model::scan::find;
use crate::model::time::{self, Nanos};
use crate::sys::regular;

/// Bytes read at once.
const BLOCK: usize = 256 * 1024;
/// A line longer than this is no log entry (dockerd's pieces have 16 KiB, six times that if all is escaped).
const LONGEST: usize = 4 << 20;

/// Which stream an entry is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout = 1,
    /// Standard error.
    Stderr = 2,
}

/// One entry: a line, or a piece of a long one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Which stream it is of.
    pub stream: Stream,
    /// What was printed; a whole line ends with its newline.
    pub bytes: &'a [u8],
    time: &'a str,
}

impl Entry<'_> {
    /// The same with nine digits of fraction, as `docker logs --timestamps` prints it.
    pub fn timestamp(&self) -> String {
        let text = self.time.trim_end_matches('Z');
        let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
        format!("{seconds}.{fraction:0<9}Z")
    }
}

/// What to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only entries not older than this.
    pub since: Option<Nanos>,
    /// Only entries not newer than this.
    pub until: Option<Nanos>,
    /// Only so many entries before the present end (and all that come).
    pub tail: Option<u64>,
}

/// Reads a log, entry by entry.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    selection: Selection,
    file: Option<File>,
    /// Where the next block of the file begins.
    offset: u64,
    buf: Vec<u8>,
    /// The part of `buf` that has not been returned.
    start: usize,
    end: usize,
    text: Vec<u8>,
    done: bool,
}

impl LogReader {
    /// Opens the log at `path` (`…/container.log`; rotated files are its neighbours `.1`, `.2` …). A log that is not
    /// there yet is empty.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(path: &Path, selection: Selection) -> Result<Self> {
        let (file, offset) = start_of(path, selection.tail).map_err(Error::at(path))?;
        let path = path.to_owned();
        let buf = Vec::new();
        Ok(Self { path, selection, file, offset, buf, start: 0, end: 0, text: Vec::new(), done: false })
    }

    /// Whether an entry past `until` was met: nothing more will come.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// The next entry; none at the present end. After that the call may be repeated when the log's directory has
    /// changed. Lines that are no entries are passed over.
    pub fn next_entry(&mut self) -> Option<Entry<'_>> {
        loop {
            let (from, to) = self.next_line()?;
            let Some(line) = Line::parse(&self.buf[from..to], &mut self.text) else { continue };
            if self.selection.since.is_some() || self.selection.until.is_some() {
                let at = time::parse_rfc3339(line.time).unwrap_or_default();
                if self.selection.since.is_some_and(|since| at < since) {
                    continue;
                }
                if self.selection.until.is_some_and(|until| at > until) {
                    self.done = true;
                    return None;
                }
            }
            // Parsed again for the borrow checker's sake would cost; the bounds in `buf` are kept instead.
            let (stream, time) = (line.stream, line.time_range);
            let time = std::str::from_utf8(&self.buf[from + time.0..from + time.1]).unwrap_or_default();
            return Some(Entry { stream, bytes: &self.text, time });
        }
    }

    /// Gives back the room to read in, but for what is held of an unfinished line: at rest a reader is small.
    pub fn rest(&mut self) {
        self.buf.drain(..self.start);
        self.buf.truncate(self.end - self.start);
        self.buf.shrink_to_fit();
        (self.start, self.end) = (0, self.buf.len());
        self.text = Vec::new();
    }

    /// Bounds in `buf` of the next whole line, without its newline.
    fn next_line(&mut self) -> Option<(usize, usize)> {
        if self.done {
            return None;
        }
        let mut looked = self.start;
        loop {
            if let Some(at) = find(&self.buf[looked..self.end], |byte| byte == b'\n') {
                let line = (self.start, looked + at);
                self.start = line.1 + 1;
                return Some(line);
            }
            if !self.fill() {
                return None;
            }
            // `fill` has moved the held part to the front, or dropped it with its file.
            looked = self.start;
        }
    }

    /// Reads on behind the held part; false at the present end of everything.
    fn fill(&mut self) -> bool {
        loop {
            if self.file.is_none() {
                self.file = regular::open(&self.path).ok();
                self.offset = 0;
            }
            let Some(file) = &self.file else { return false };
            self.buf.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            if self.end > LONGEST {
                self.end = 0;
            }
            if self.buf.len() < self.end + BLOCK {
                self.buf.resize(self.end + BLOCK, 0);
            }
            match file.read_at(&mut self.buf[self.end..], self.offset) {
                Ok(0) => {}
                Ok(read) => {
                    self.offset += read as u64;
                    self.end += read;
                    return true;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return false,
            }
            let Ok(here) = file.metadata() else { return false };
            if here.size() < self.offset {
                // Rotation with a single file: it was emptied.
                self.offset = 0;
                self.end = 0;
                continue;
            }
            if fs::metadata(&self.path).is_ok_and(|there| there.ino() == here.ino()) {
                return false;
            }
            // Rotated. The writer appended nothing to this file after that, but it may have before, after our look.
            if file.metadata().is_ok_and(|meta| meta.size() > self.offset) {
                continue;
            }
            // None: the newest has not been made yet, if its writer lives.
            let Some(next) = successor(&self.path, here.ino()) else { return false };
            self.file = Some(next);
            self.offset = 0;
            self.end = 0;
        }
    }
}

/// `path.n`; `path` itself for 0.
fn numbered(path: &Path, n: u32) -> PathBuf {
    if n == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{n}"));
    PathBuf::from(name)
}

/// The numbers of the files that are there, ascending. An interrupted rotation leaves a gap, which hides nothing.
fn numbers(path: &Path) -> Vec<u32> {
    let (Some(dir), Some(own)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return vec![];
    };
    let names = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let number = |name: std::ffi::OsString| match name.to_str()?.strip_prefix(own)? {
        "" => Some(0),
        // Nothing but what a rotation writes: no `.01`.
        rest => rest.strip_prefix('.')?.parse().ok().filter(|n: &u32| *n > 0 && rest[1..] == n.to_string()),
    };
    let mut numbers: Vec<u32> = names.filter_map(number).collect();
    numbers.sort_unstable();
    numbers
}

/// The file after the one with this inode; the oldest if that is gone.
fn successor(path: &Path, inode: u64) -> Option<File> {
    // Each further round is another rotation's doing.
    loop {
        let numbers = numbers(path);
        let (oldest, is_it) = (numbers.last().copied().unwrap_or(0), |n: u32| {
            fs::metadata(numbered(path, n)).is_ok_and(|meta| meta.ino() == inode)
        });
        // One beyond the oldest: files move up while this looks, in the same direction.
        let Some(place) = numbers.iter().copied().filter(|n| *n > 0).chain([oldest + 1]).find(|n| is_it(*n)) else {
            // As with dockerd, only the log of the engine tells, and a reader that is so slow gets what is still kept.
            tracing::warn!("{}: rotated away before a reader was through: output may be missing there", path.display());
            return regular::open(&numbered(path, oldest)).ok();
        };
        let next = numbers.iter().rev().copied().find(|n| *n < place).unwrap_or(0);
        let file = regular::open(&numbered(path, next)).ok();
        if is_it(place) {
            return file;
        }
    }
}

/// File and offset at which the last `tail` entries begin; without it the oldest file's start.
fn start_of(path: &Path, tail: Option<u64>) -> io::Result<(Option<File>, u64)> {
    let open = |n| match regular::open(&numbered(path, n)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    };
    let numbers = numbers(path);
    let oldest = numbers.last().copied().unwrap_or(0);
    let Some(mut missing) = tail else { return Ok((open(oldest)?, 0)) };
    for n in numbers {
        let Some(file) = open(n)? else { continue };
        match tail_offset(&file, &mut missing)? {
            0 if missing > 0 && n < oldest => {}
            offset => return Ok((Some(file), offset)),
        }
    }
    Ok((None, 0))
}

/// Where the last `missing` lines of a file begin; takes the number of lines found off `missing`.
fn tail_offset(file: &File, missing: &mut u64) -> io::Result<u64> {
    let mut buf = vec![0; 64 * 1024];
    let size = file.metadata()?.size();
    let mut end = size;
    // The newline that ends the last line begins none; what comes behind it is not an entry yet.
    let mut newlines = 0;
    while end > 0 {
        let from = end.saturating_sub(buf.len() as u64);
        let block = &mut buf[..(end - from) as usize];
        file.read_exact_at(block, from)?;
        for (at, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            if newlines == *missing {
                *missing = 0;
                return Ok(from + at as u64 + 1);
            }
            newlines += 1;
        }
        end = from;
    }
    *missing -= newlines;
    Ok(0)
}

/// A parsed line; its text is in the caller's buffer.
struct Line<'a> {
    stream: Stream,
    time: &'a str,
    time_range: (usize, usize),
}

impl<'a> Line<'a> {
    /// Reads the format that this engine writes; anything else that dockerd could have written takes the long way.
    fn parse(line: &'a [u8], text: &mut Vec<u8>) -> Option<Self> {
        text.clear();
        Self::fast(line, text).or_else(|| Self::slow(line, text))
    }

    fn fast(line: &'a [u8], text: &mut Vec<u8>) -> Option<Self> {
        let mut rest = line.strip_prefix(br#"{"log":""#)?;
        loop {
            let at = find(rest, |byte| byte == b'"' || byte == b'\\')?;
            text.extend_from_slice(&rest[..at]);
            let escape = rest[at] == b'\\';
            rest = &rest[at + 1..];
            if !escape {
                break;
            }
            let (&letter, after) = rest.split_first()?;
            rest = after;
            match letter {
                b'n' => text.push(b'\n'),
                b'r' => text.push(b'\r'),
                b't' => text.push(b'\t'),
                b'"' | b'\\' | b'/' => text.push(letter),
                b'u' => {
                    let (digits, after) = rest.split_at_checked(4)?;
                    rest = after;
                    let code = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
                    // A surrogate is half a character: the long way joins them.
                    let character = char::from_u32(code)?;
                    text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                _ => return None,
            }
        }
        let rest = rest.strip_prefix(br#","stream":"std"#)?;
        let (stream, rest) = match rest.split_at_checked(3)? {
            (b"out", rest) => (Stream::Stdout, rest),
            (b"err", rest) => (Stream::Stderr, rest),
            _ => return None,
        };
        let time = rest.strip_prefix(br#"","time":""#)?.strip_suffix(br#""}"#)?;
        let from = line.len() - 2 - time.len();
        Some(Self { stream, time: std::str::from_utf8(time).ok()?, time_range: (from, line.len() - 2) })
    }

    fn slow(line: &'a [u8], text: &mut Vec<u8>) -> Option<Self> {
        #[derive(Deserialize)]
        struct Fields<'a> {
            #[serde(default)]
            log: String,
            stream: &'a str,
            time: &'a str,
        }
        let fields: Fields<'a> = serde_json::from_slice(line).ok()?;
        text.clear();
        text.extend_from_slice(fields.log.as_bytes());
        let stream = match fields.stream {
            "stdout" => Stream::Stdout,
            "stderr" => Stream::Stderr,
            _ => return None,
        };
        let from = fields.time.as_ptr().addr().checked_sub(line.as_ptr().addr())?;
        Some(Self { stream, time: fields.time, time_range: (from, from + fields.time.len()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn line(text: &str, stream: &str, second: u32) -> String {
        let log = serde_json::to_string(text).expect("JSON");
        format!("{{\"log\":{log},\"stream\":\"{stream}\",\"time\":\"2026-01-01T00:00:{second:02}.5Z\"}}\n")
    }

    fn rest(reader: &mut LogReader) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(entry) = reader.next_entry() {
            all.push(String::from_utf8(entry.bytes.to_vec()).expect("text"));
        }
        all
    }

    fn read(path: &Path, selection: Selection) -> Vec<String> {
        rest(&mut LogReader::open(path, selection).expect("open"))
    }

    #[test]
    fn follows_what_is_written() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("container.log");
        let mut reader = LogReader::open(&path, Selection::default()).expect("open");
        assert_eq!(reader.next_entry(), None);
        let first = line("a \"quoted\" ü\t\n", "stderr", 1);
        fs::write(&path, &first).expect("write");
        let entry = reader.next_entry().expect("entry");
        assert_eq!((entry.stream, entry.bytes), (Stream::Stderr, "a \"quoted\" ü\t\n".as_bytes()));
        assert_eq!(entry.timestamp(), "2026-01-01T00:00:01.500000000Z");
        assert_eq!(entry.time, "2026-01-01T00:00:01.5Z");
        let mut file = File::options().append(true).open(&path).expect("open");
        let second = line("b\n", "stdout", 2);
        file.write_all(&second.as_bytes()[..20]).expect("half");
        assert_eq!(rest(&mut reader), [""; 0]);
        file.write_all(&second.as_bytes()[20..]).expect("other half");
        file.write_all(b"garbage\n").expect("garbage");
        assert_eq!(rest(&mut reader), ["b\n"]);
        // Rotated twice before the reader looks again.
        let name = |n| numbered(&path, n);
        file.write_all(line("c\n", "stdout", 3).as_bytes()).expect("write");
        fs::rename(&path, name(1)).expect("rotate");
        fs::write(&path, line("d\n", "stdout", 4)).expect("write");
        fs::rename(name(1), name(2)).expect("rotate");
        fs::rename(&path, name(1)).expect("rotate");
        fs::write(&path, line("e\n", "stdout", 5)).expect("write");
        assert_eq!(rest(&mut reader), ["c\n", "d\n", "e\n"]);
        assert_eq!(read(&path, Selection::default()).len(), 5);
        for (tail, expected) in [(0, ""), (1, "e\n"), (2, "d\ne\n"), (3, "c\nd\ne\n"), (9, "\"")] {
            let got = read(&path, Selection { tail: Some(tail), ..Selection::default() }).concat();
            assert!(got == expected || (tail == 9 && got.contains(expected)), "{tail}: {got}");
        }
        fs::write(&path, line("f\n", "stdout", 6)).expect("emptied and written");
        assert!(rest(&mut reader).len() <= 1);
    }

    #[test]
    fn a_gap_in_the_numbers_hides_nothing() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("container.log");
        for (n, text) in [(5, "a\n"), (2, "b\n"), (0, "c\n")] {
            fs::write(numbered(&path, n), line(text, "stdout", 1)).expect("write");
        }
        for odd in [".new", ".x", ".07", "1", ".-1"] {
            fs::write(format!("{}{odd}", path.display()), "no log").expect("write");
        }
        assert_eq!(read(&path, Selection::default()), ["a\n", "b\n", "c\n"]);
        assert_eq!(read(&path, Selection { tail: Some(3), ..Selection::default() }), ["a\n", "b\n", "c\n"]);
        // Killed between two renames, with a reader at the file that was the newest.
        let mut reader = LogReader::open(&path, Selection { tail: Some(0), ..Selection::default() }).expect("open");
        assert_eq!(rest(&mut reader), [""; 0]);
        fs::rename(&path, numbered(&path, 1)).expect("rotate");
        assert_eq!(rest(&mut reader), [""; 0]);
        assert_eq!(read(&path, Selection::default()), ["a\n", "b\n", "c\n"]);
        fs::write(&path, line("d\n", "stdout", 2)).expect("write");
        assert_eq!(rest(&mut reader), ["d\n"]);
    }

    #[test]
    fn a_torn_line_costs_itself_only() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("container.log");
        for torn in [r#"{"log":"to"#, "\0\0\0"] {
            fs::write(&path, format!("{}{torn}\n{}", line("a", "stdout", 1), line("b", "stdout", 2))).expect("write");
            assert_eq!(read(&path, Selection::default()), ["a", "b"]);
        }
    }

    #[test]
    fn between_moments() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("container.log");
        let text: String = (1..9).map(|n| line(&format!("{n}"), "stdout", n)).collect();
        fs::write(&path, text).expect("write");
        let at = |second| time::parse_rfc3339(&format!("2026-01-01T00:00:{second:02}Z"));
        let selection = Selection { since: at(3), until: at(6), tail: None };
        let mut reader = LogReader::open(&path, selection).expect("open");
        assert_eq!(rest(&mut reader), ["3", "4", "5"]);
    }

    #[test]
    fn takes_what_other_writers_wrote() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("container.log");
        let odd = r#"{"log":"\ud83d\ude00 \b","stream":"stdout","attrs":{"tag":"x"},"time":"2026-01-01T00:00:01Z"}"#;
        fs::write(&path, format!("{odd}\n\n{{}}\n{}", line("x", "stdout", 2))).expect("write");
        assert_eq!(read(&path, Selection::default()), ["😀 \u{8}", "x"]);
    }

    #[test]
    fn lines_longer_than_a_block() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("container.log");
        let long = "y".repeat(BLOCK + 100);
        fs::write(&path, line(&long, "stdout", 1) + &line("z", "stdout", 2)).expect("write");
        assert_eq!(read(&path, Selection::default()), [&long[..], "z"]);
        assert_eq!(read(&path, Selection { tail: Some(2), ..Selection::default() }), [&long[..], "z"]);
    }
}
