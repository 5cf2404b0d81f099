//! What `/proc/PID/mountinfo` tells (proc_pid_mountinfo(5)).

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The mount that a path is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where it is mounted.
    pub point: PathBuf,
    /// Whether it shows others what is mounted on it.
    pub shared: bool,
}

/// The mount that `path`, whose links are followed, is on as the process `pid` (or `self`) sees it.
///
/// # Errors
/// No such path or process.
pub fn of(path: &Path, pid: &str) -> io::Result<Place> {
    let path = fs::canonicalize(path)?;
    let text = fs::read(format!("/proc/{pid}/mountinfo"))?;
    find(&text, &path).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Whether the process `pid` (or `self`) sees, at one of these points, a mount of something whose path has this part: as
/// the directory that is shown there, or as one of a file system's options.
///
/// # Errors
/// No such process, or it may not be looked at.
pub fn has(pid: &str, points: &[&str], part: &[u8]) -> io::Result<bool> {
    let text = fs::read(format!("/proc/{pid}/mountinfo"))?;
    let is_there = |line: &&[u8]| {
        let point = line.split(|byte| *byte == b' ').nth(4);
        point.is_some_and(|point| points.iter().any(|one| one.as_bytes() == point))
    };
    let mut lines = text.split(|byte| *byte == b'\n').filter(is_there);
    Ok(lines.any(|line| line.windows(part.len()).any(|window| window == part)))
}

/// The deepest mount point above a path; of several in one place the last one, which covers the others.
fn find(mountinfo: &[u8], path: &Path) -> Option<Place> {
    let places =
        mountinfo.split(|byte| *byte == b'\n').filter_map(parse).filter(|place| path.starts_with(&place.point));
    places.max_by_key(|place| place.point.components().count())
}

fn parse(line: &[u8]) -> Option<Place> {
    let mut fields = line.split(|byte| *byte == b' ');
    let point = unescape(fields.nth(4)?);
    let optional = fields.skip(1).take_while(|field| *field != b"-");
    let shared = optional.into_iter().any(|field| field.starts_with(b"shared:"));
    Some(Place { point: PathBuf::from(OsString::from_vec(point)), shared })
}

/// Spaces and the like are written as a backslash and three octal digits.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| byte == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(code) => {
                out.push(code);
                rest = &after[3..];
            }
            None => {
                out.push(byte);
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_one() {
        let text = b"1 0 8:1 / / rw - ext4 x rw\n2 1 8:2 / /a rw,relatime shared:3 - ext4 x rw\n\
            3 2 8:3 / /a/b\\040c rw master:3 - ext4 x rw\n";
        let found = |path: &str| find(text, Path::new(path)).expect("found");
        assert_eq!(found("/a/x"), Place { point: "/a".into(), shared: true });
        assert_eq!(found("/a/b c/d"), Place { point: "/a/b c".into(), shared: false });
        assert_eq!(found("/ab").point, Path::new("/"));
        assert!(of(Path::new("/proc/self"), "self").is_ok());
    }
}
