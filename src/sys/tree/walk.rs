//! Walks directory trees without recursion.

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, RawDir, SeekFrom, Stat};
use rustix::io::Errno;

use super::descent::Descent;

/// Bytes of directory entries that are read at once.
const BUFFER: usize = 32 << 10;
/// The same where directories are nested beyond [`DEEP`]: every level keeps the names of one buffer.
const BUFFER_DEEP: usize = 2 << 10;
const DEEP: usize = 64;
/// Bytes of a path that an error names.
const SHOWN: usize = 400;

/// What is done on a walk. `dir` is an open directory, `name` an entry of it.
pub trait Visitor {
    /// Anything but a directory.
    ///
    /// # Errors
    /// Are told to [`Visitor::failed`].
    fn other(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> io::Result<()>;

    /// A directory, before its entries; `dir` is the directory itself.
    ///
    /// # Errors
    /// Are told to [`Visitor::failed`], and the directory is left again.
    fn enter(&mut self, _dir: BorrowedFd<'_>, _name: &CStr) -> io::Result<()> {
        Ok(())
    }

    /// A directory that was entered, after its entries; `dir` is the one above it.
    ///
    /// # Errors
    /// Are told to [`Visitor::failed`].
    fn leave(&mut self, _dir: BorrowedFd<'_>, _name: &CStr) -> io::Result<()> {
        Ok(())
    }

    /// A directory that may not be opened; once this succeeds, it is tried again.
    ///
    /// # Errors
    /// That it stays so.
    fn denied(&mut self, _dir: BorrowedFd<'_>, _name: &CStr) -> io::Result<()> {
        Err(Errno::ACCESS.into())
    }

    /// Something failed; the error names it. The walk goes on after it if this succeeds.
    ///
    /// # Errors
    /// Ends the walk with this error.
    fn failed(&mut self, error: io::Error) -> io::Result<()> {
        Err(error)
    }
}

/// Walks everything below an open directory: of each directory what is no directory, then the directories in it.
///
/// # Errors
/// Those that the visitor does not put up with; `ESTALE` if directories were moved away under the walk.
pub fn walk(root: OwnedFd, visitor: &mut dyn Visitor) -> io::Result<()> {
    let level = Level { names: 0, cookie: 0, moved: false, ended: false };
    let buffer = vec![MaybeUninit::uninit(); BUFFER];
    let mut walk = Walk { place: Descent::new(root), levels: vec![level], names: Vec::new(), buffer, visitor };
    while walk.step()? {}
    Ok(())
}

/// A directory on the way from the root to where the walk is.
struct Level {
    /// Where the names of its directories that are still to be entered begin.
    names: usize,
    /// From where to read on in it.
    cookie: u64,
    /// Whether its descriptor is a new one, which has to be moved there.
    moved: bool,
    /// Whether all of it was read.
    ended: bool,
}

struct Walk<'a> {
    place: Descent,
    levels: Vec<Level>,
    /// For each level the names of directories that are to be entered, each with a NUL. The last name of each level but
    /// the deepest is the one that was entered.
    names: Vec<u8>,
    buffer: Vec<MaybeUninit<u8>>,
    visitor: &'a mut dyn Visitor,
}

impl Walk<'_> {
    /// Reads on, goes down, or goes up. False at the end.
    fn step(&mut self) -> io::Result<bool> {
        let Some(level) = self.levels.last() else { return Ok(false) };
        if self.names.len() > level.names {
            self.down()?;
        } else if !level.ended {
            if let Err(err) = self.read() {
                if let Some(level) = self.levels.last_mut() {
                    level.ended = true;
                }
                self.failed(err, b"")?;
            }
        } else {
            self.levels.pop();
            if self.levels.is_empty() {
                return Ok(false);
            }
            self.up()?;
        }
        Ok(true)
    }

    /// One buffer of entries.
    fn read(&mut self) -> io::Result<()> {
        let size = if self.levels.len() > DEEP { BUFFER_DEEP } else { BUFFER };
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        let dir = self.place.here();
        if std::mem::take(&mut level.moved) {
            rustix::fs::seek(dir, SeekFrom::Start(level.cookie))?;
        }
        let mut failures = Vec::new();
        let mut entries = RawDir::new(dir, &mut self.buffer[..size]);
        loop {
            match entries.next() {
                // The directory itself was removed meanwhile.
                None | Some(Err(Errno::NOENT)) => {
                    level.ended = true;
                    break;
                }
                Some(Err(err)) => return Err(err.into()),
                Some(Ok(entry)) => {
                    level.cookie = entry.next_entry_cookie();
                    let name = entry.file_name();
                    if !matches!(name.to_bytes(), b"." | b"..") {
                        match is_directory(dir, name, entry.file_type()) {
                            Ok(true) => self.names.extend_from_slice(name.to_bytes_with_nul()),
                            Ok(false) => {
                                if let Err(err) = self.visitor.other(dir, name) {
                                    failures.push((err, name.to_owned()));
                                }
                            }
                            Err(err) => failures.push((err, name.to_owned())),
                        }
                    }
                }
            }
            if entries.is_buffer_empty() || failures.len() > 16 {
                break;
            }
        }
        // Entries of the buffer that were not looked at are read again.
        level.moved |= !entries.is_buffer_empty();
        for (err, name) in failures {
            self.failed(err, name.to_bytes())?;
        }
        Ok(())
    }

    fn down(&mut self) -> io::Result<()> {
        let start = self.last_name();
        let failed = match CStr::from_bytes_with_nul(&self.names[start..]) {
            Err(_) => None,
            Ok(name) => match go_down(&mut self.place, self.visitor, name) {
                Ok(true) => {
                    self.levels.push(Level { names: self.names.len(), cookie: 0, moved: false, ended: false });
                    match self.visitor.enter(self.place.here(), name) {
                        Ok(()) => return Ok(()),
                        Err(err) => {
                            self.levels.pop();
                            if let Some(level) = self.levels.last_mut() {
                                level.moved |= self.place.up()?;
                            }
                            Some(err)
                        }
                    }
                }
                Ok(false) => None,
                Err(err) => Some(err),
            },
        };
        self.done_with(start, failed)
    }

    fn up(&mut self) -> io::Result<()> {
        let reopened = self.place.up()?;
        if let Some(level) = self.levels.last_mut() {
            level.moved |= reopened;
        }
        let start = self.last_name();
        let left =
            CStr::from_bytes_with_nul(&self.names[start..]).map(|name| self.visitor.leave(self.place.here(), name));
        self.done_with(start, left.ok().and_then(Result::err))
    }

    /// Takes the last name off, after telling what failed with it.
    fn done_with(&mut self, start: usize, failed: Option<io::Error>) -> io::Result<()> {
        let name = self.names.split_off(start);
        failed.map_or(Ok(()), |err| self.failed(err, name.strip_suffix(b"\0").unwrap_or(&name)))
    }

    /// Where the last name begins.
    fn last_name(&self) -> usize {
        let names = &self.names[..self.names.len().saturating_sub(1)];
        names.iter().rposition(|byte| *byte == 0).map_or(0, |nul| nul + 1)
    }

    /// Tells the visitor of a failure, with the path of where the walk is and of `name` in it.
    fn failed(&mut self, err: io::Error, name: &[u8]) -> io::Result<()> {
        let mut path = Vec::new();
        let above = self.levels.windows(2).map(|pair| {
            let names = &self.names[pair[0].names..pair[1].names];
            names.strip_suffix(b"\0").unwrap_or(names).rsplit(|byte| *byte == 0).next().unwrap_or_default()
        });
        for part in above.chain([name]).filter(|part| !part.is_empty()) {
            if path.len() > SHOWN {
                path.extend_from_slice(b"/...");
                break;
            }
            path.push(b'/');
            path.extend_from_slice(part);
        }
        let path = String::from_utf8_lossy(path.strip_prefix(b"/").unwrap_or(&path)).into_owned();
        self.visitor.failed(io::Error::new(err.kind(), format!("{path}: {err}")))
    }
}

/// Goes into a directory. False if it is none any more, or gone.
fn go_down(place: &mut Descent, visitor: &mut dyn Visitor, name: &CStr) -> io::Result<bool> {
    let mut result = place.down(name);
    if matches!(&result, Err(err) if err.kind() == io::ErrorKind::PermissionDenied) {
        visitor.denied(place.here(), name)?;
        result = place.down(name);
    }
    match result {
        Ok(()) => Ok(true),
        Err(err) => match Errno::from_io_error(&err) {
            Some(Errno::NOENT) => Ok(false),
            Some(Errno::NOTDIR | Errno::LOOP) => visitor.other(place.here(), name).map(|()| false),
            _ => Err(err),
        },
    }
}

fn is_directory(dir: BorrowedFd<'_>, name: &CStr, told: FileType) -> io::Result<bool> {
    if told != FileType::Unknown {
        return Ok(told == FileType::Directory);
    }
    // Not every file system says it with the name.
    Ok(stat_at(dir, name)?.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory))
}

/// What is at a name in a directory, links not followed; none if nothing is.
///
/// # Errors
/// Those of the file system.
pub fn stat_at(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<Stat>> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(err) => Err(err.into()),
    }
}
