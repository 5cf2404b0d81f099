//! The `json-file` log: one JSON object a line, in Docker's own format, with rotation.
//!
//! What one read of the container's output brought is written with one write(2) wherever rotation does not come between.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::escape::{self, GROWTH, Out};
use crate::model::log::Log;
use crate::model::time::{self, Nanos};

/// A longer line is split into pieces of this many bytes, as dockerd's copier does; only the last ends with a newline.
pub const PIECE: usize = 16 * 1024;
/// Room that one entry may need: everything escaped, and what is around it.
const ENTRY_ROOM: usize = PIECE * GROWTH + 128;
/// The least size of the buffer that [`JsonLog::write`] needs.
#[cfg(test)]
pub const MIN_BUFFER: usize = 2 * ENTRY_ROOM;

const STREAMS: [&str; 2] = ["stdout", "stderr"];

/// When to rotate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes at which the file is full; none: never.
    pub max_size: Option<u64>,
    /// How many files to keep, the current one included; at least 1.
    pub max_file: u32,
}

impl Rotation {
    /// Of a container's log; none if nothing is kept.
    pub fn of(log: &Log) -> Option<Self> {
        match *log {
            Log::None => None,
            Log::JsonFile { max_size, max_file } => Some(Self { max_size, max_file: max_file.max(1) }),
        }
    }
}

/// An open log.
#[derive(Debug)]
pub struct JsonLog {
    path: PathBuf,
    file: File,
    size: u64,
    rotation: Rotation,
    /// The start of a line, by stream, whose end has not come yet.
    carry: [Vec<u8>; 2],
    /// Times in the log never go back, whatever the clock does.
    last: Nanos,
    /// A write failed half-way: the next one starts on a new line.
    torn: bool,
    /// Why the file could not be rotated. What is printed is logged all the same, and rotation tried again.
    unrotated: Option<io::Error>,
}

impl JsonLog {
    /// Opens the log for appending, making it if it is missing.
    pub fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        let size = file.seek(SeekFrom::End(0))?;
        let mut end = [b'\n'];
        if size > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut end)?;
        }
        let torn = end != *b"\n";
        Ok(Self {
            path: path.to_owned(),
            file,
            size,
            rotation,
            carry: Default::default(),
            last: 0,
            torn,
            unrotated: None,
        })
    }

    /// The unfinished line of a stream, which no reader of the file can see yet.
    pub fn unfinished(&self, stream: usize) -> &[u8] {
        &self.carry[stream]
    }

    /// Logs what a stream (0: stdout, 1: stderr) brought. `buf` is scratch space.
    pub fn write(&mut self, stream: usize, mut bytes: &[u8], buf: &mut [u8]) -> io::Result<()> {
        let suffix = self.suffix(stream);
        let mut out = Out::new(buf);
        if !self.carry[stream].is_empty() {
            let held = self.carry[stream].len();
            let piece = &bytes[..bytes.len().min(PIECE - held)];
            let end = piece.iter().position(|&byte| byte == b'\n');
            let take = end.map_or(piece.len(), |at| at + 1);
            self.carry[stream].extend_from_slice(&bytes[..take]);
            bytes = &bytes[take..];
            if end.is_none() && self.carry[stream].len() < PIECE {
                return Ok(());
            }
            let line = std::mem::take(&mut self.carry[stream]);
            self.entry(&line, &suffix, true, &mut out)?;
        }
        while !bytes.is_empty() {
            let piece = &bytes[..bytes.len().min(PIECE)];
            let taken = self.entry(piece, &suffix, piece.len() == PIECE, &mut out)?;
            if taken == 0 {
                self.carry[stream] = piece.to_vec();
                break;
            }
            bytes = &bytes[taken..];
        }
        self.flush(&mut out)?;
        self.unrotated.take().map_or(Ok(()), Err)
    }

    /// Logs unfinished lines: nothing more will come.
    pub fn finish(&mut self, buf: &mut [u8]) -> io::Result<()> {
        let mut out = Out::new(buf);
        for stream in 0..2 {
            let line = std::mem::take(&mut self.carry[stream]);
            if !line.is_empty() {
                let suffix = self.suffix(stream);
                self.entry(&line, &suffix, true, &mut out)?;
            }
        }
        self.flush(&mut out)
    }

    /// What follows the text in an entry written now.
    fn suffix(&mut self, stream: usize) -> String {
        self.last = self.last.max(time::now());
        format!("\",\"stream\":\"{}\",\"time\":\"{}\"}}\n", STREAMS[stream], time::rfc3339(self.last))
    }

    /// Adds an entry of the first line of `piece`. Returns how many bytes that took: none if the line does not end and
    /// `partial` does not allow that.
    fn entry(&mut self, piece: &[u8], suffix: &str, partial: bool, out: &mut Out<'_>) -> io::Result<usize> {
        let full = |pending: usize| self.rotation.max_size.is_some_and(|max| self.size + pending as u64 >= max);
        let rotate = full(out.len());
        if rotate || out.room() < ENTRY_ROOM {
            self.flush(out)?;
        }
        if rotate {
            self.unrotated = self.rotate().err();
        }
        let start = out.len();
        out.push(br#"{"log":""#);
        let (taken, ended) = escape::line(piece, out);
        if !ended && !partial {
            out.truncate(start);
            return Ok(0);
        }
        out.push(suffix.as_bytes());
        Ok(taken)
    }

    fn flush(&mut self, out: &mut Out<'_>) -> io::Result<()> {
        if std::mem::take(&mut self.torn) && out.len() > 0 {
            // Whatever a killed writer or a full disk left of a line: readers pass over it.
            self.file.write_all(b"\n")?;
        }
        let written = self.file.write_all(out.written());
        self.size += out.len() as u64;
        out.truncate(0);
        self.torn |= written.is_err();
        written
    }

    /// `container.log` becomes `container.log.1`, that becomes `.2` …; the oldest goes. A file moves only if its place is
    /// needed: so many files may be kept that each try of all of them would be felt. Whatever fails, or is interrupted,
    /// is done anew by the next try: the new file is there before the old one is moved.
    fn rotate(&mut self) -> io::Result<()> {
        let named = |suffix: String| {
            let mut name = self.path.clone().into_os_string();
            name.push(suffix);
            PathBuf::from(name)
        };
        if self.rotation.max_file == 1 {
            self.file.set_len(0)?;
        } else {
            let next = named(".new".to_owned());
            let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&next)?;
            let there = |n: u32| fs::symlink_metadata(named(format!(".{n}"))).is_ok();
            let first_free = (1..self.rotation.max_file - 1).find(|n| !there(*n)).unwrap_or(self.rotation.max_file - 1);
            for n in (0..first_free).rev() {
                let from = if n == 0 { self.path.clone() } else { named(format!(".{n}")) };
                match fs::rename(from, named(format!(".{}", n + 1))) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            fs::rename(next, &self.path)?;
            self.file = file;
        }
        self.size = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        dir: tempfile::TempDir,
        log: JsonLog,
        buf: Vec<u8>,
    }

    fn fixture(max_size: Option<u64>, max_file: u32) -> Fixture {
        let dir = tempfile::tempdir().expect("temporary directory");
        let log = JsonLog::open(&dir.path().join("container.log"), Rotation { max_size, max_file }).expect("open");
        Fixture { dir, log, buf: vec![0; MIN_BUFFER] }
    }

    impl Fixture {
        fn put(&mut self, stream: usize, text: &str) {
            self.log.write(stream, text.as_bytes(), &mut self.buf).expect("write");
        }
        fn lines(&self, file: &str) -> Vec<(String, String)> {
            let text = fs::read_to_string(self.dir.path().join(file)).unwrap_or_default();
            let entry = |line: &str| {
                let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
                assert!(time::parse_rfc3339(value["time"].as_str().expect("time")).is_some());
                let text = |name: &str| value[name].as_str().expect("text").to_owned();
                (text("stream"), text("log"))
            };
            text.lines().map(entry).collect()
        }
        fn logs(&self, file: &str) -> Vec<String> {
            self.lines(file).into_iter().map(|(_, log)| log).collect()
        }
    }

    #[test]
    fn lines_are_joined_across_reads() {
        let mut f = fixture(None, 1);
        f.put(0, "one\ntw");
        assert_eq!(f.log.unfinished(0), b"tw");
        f.put(1, "err\n");
        f.put(0, "o\nthree");
        f.log.finish(&mut f.buf).expect("finish");
        let expected = [("stdout", "one\n"), ("stderr", "err\n"), ("stdout", "two\n"), ("stdout", "three")];
        assert_eq!(f.lines("container.log"), expected.map(|(stream, log)| (stream.to_owned(), log.to_owned())));
        let raw = fs::read_to_string(f.dir.path().join("container.log")).expect("read");
        assert!(raw.starts_with(r#"{"log":"one\n","stream":"stdout","time":"20"#), "{raw}");
    }

    #[test]
    fn long_lines_come_in_pieces() {
        let mut f = fixture(None, 1);
        let long = "x".repeat(PIECE * 2 + 5);
        f.put(0, &format!("{long}\nend\n"));
        f.put(0, &long[..PIECE - 1]);
        f.put(0, "\n");
        f.put(0, &long[..PIECE - 1]);
        f.put(0, "yz\n");
        let lens: Vec<usize> = f.logs("container.log").iter().map(String::len).collect();
        assert_eq!(lens, [PIECE, PIECE, 6, 4, PIECE, PIECE, 2]);
    }

    #[test]
    fn all_escaped_still_fits() {
        let mut f = fixture(None, 1);
        f.put(0, &"\u{1}".repeat(PIECE * 5));
        f.put(0, "\n");
        assert_eq!(f.logs("container.log").concat().len(), PIECE * 5 + 1);
    }

    #[test]
    fn rotation_keeps_so_many_files() {
        let mut f = fixture(Some(100), 3);
        for n in 0..8 {
            f.put(0, &format!("line {n}\nsecond {n}\n"));
        }
        // An entry has more than 60 bytes: two fill a file.
        assert_eq!(f.logs("container.log"), ["line 7\n", "second 7\n"]);
        assert_eq!(f.logs("container.log.1"), ["line 6\n", "second 6\n"]);
        assert_eq!(f.logs("container.log.2"), ["line 5\n", "second 5\n"]);
        assert!(!f.dir.path().join("container.log.3").exists());
        let mut f = fixture(Some(100), 1);
        f.put(0, "a\nb\nc\n");
        assert_eq!(f.logs("container.log"), ["c\n"]);
    }

    #[test]
    fn a_rotation_touches_only_files_that_are_there() {
        // A try of each that may be kept would not end.
        let mut f = fixture(Some(1), u32::MAX);
        for n in 0..5 {
            f.put(0, &format!("{n}\n"));
        }
        let newest =
            |f: &Fixture| ["", ".1", ".2", ".3", ".4"].map(|end| f.logs(&format!("container.log{end}")).concat());
        assert_eq!(newest(&f), ["4\n", "3\n", "2\n", "1\n", "0\n"]);
        // A gap, as an interrupted rotation leaves it, is filled; what lies behind stays.
        fs::remove_file(f.dir.path().join("container.log.2")).expect("gap");
        f.put(0, "5\n");
        assert_eq!(newest(&f), ["5\n", "4\n", "3\n", "1\n", "0\n"]);
    }

    #[test]
    fn a_rotation_that_fails_is_tried_again_and_loses_nothing() {
        let mut f = fixture(Some(100), 3);
        let path = |name: &str| f.dir.path().join(name);
        // No room for the new file; then an obstacle to a rename, which has left a gap before it.
        for obstacle in ["container.log.new", "container.log.2"] {
            fs::create_dir_all(path(obstacle).join("x")).expect("obstacle");
            // With the second obstacle this is told of already.
            let _ = f.log.write(0, b"one\ntwo\n", &mut f.buf);
            assert!(f.log.write(0, b"three\n", &mut f.buf).is_err());
            let _ = f.log.write(0, b"four\n", &mut f.buf);
            crate::sys::tree::remove(&path(obstacle)).expect("remove");
            f.log.write(0, b"five\n", &mut f.buf).expect("write");
            let all: Vec<String> =
                ["container.log.2", "container.log.1", "container.log"].iter().flat_map(|name| f.logs(name)).collect();
            assert!(all.ends_with(&["one\n", "two\n", "three\n", "four\n", "five\n"].map(str::to_owned)), "{all:?}");
        }
    }

    #[test]
    fn a_torn_line_is_closed() {
        let f = fixture(None, 1);
        let path = f.dir.path().join("container.log");
        fs::write(&path, r#"{"log":"to"#).expect("tear");
        let mut log = JsonLog::open(&path, Rotation { max_size: None, max_file: 1 }).expect("open");
        log.write(0, b"x\n", &mut vec![0; MIN_BUFFER]).expect("write");
        let text = fs::read_to_string(&path).expect("read");
        assert_eq!(text.lines().count(), 2, "{text}");
    }
}
