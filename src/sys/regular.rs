//! Reading files that may have become something else: a fifo would keep its reader for ever, a device or a file with a
//! hole of terabytes would fill its memory.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FileType, OFlags, Stat};
use rustix::io::Errno;

/// What no record or document comes near, in bytes.
const MOST: u64 = 256 << 20;

/// Beside those of every open to read: a fifo is opened at once, and then refused.
pub const FLAGS: OFlags = OFlags::NONBLOCK.union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// Opens a file to read.
///
/// # Errors
/// Those of open(2); `EISDIR`; [`io::ErrorKind::InvalidData`] for what is no file either.
pub fn open(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(FLAGS.bits()).unwrap_or_default();
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(refusal)?;
    check(&rustix::fs::fstat(&file)?)?;
    Ok(file)
}

/// Reads a whole file.
///
/// # Errors
/// As [`open`]; [`io::ErrorKind::InvalidData`] if it is too large; those of read(2).
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let flags = i32::try_from(FLAGS.bits()).unwrap_or_default();
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(refusal)?;
    let stat = rustix::fs::fstat(&file)?;
    read_opened(file.into(), &stat)
}

/// The same, as a text.
///
/// # Errors
/// As [`read`]; [`io::ErrorKind::InvalidData`] for what is no text.
pub fn read_to_string(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path)?).map_err(|err| io::Error::new(io::ErrorKind::InvalidData, err.utf8_error()))
}

/// Reads a whole file that was opened with [`FLAGS`] and then looked at.
///
/// # Errors
/// As [`read`].
pub fn read_opened(file: OwnedFd, stat: &Stat) -> io::Result<Vec<u8>> {
    check(stat)?;
    let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
    if size > MOST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "too large for what it should be"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
    File::from(file).take(MOST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What open(2) says of a socket, or of a device that nobody serves, is not a moment's want.
pub fn refusal(err: io::Error) -> io::Error {
    match Errno::from_io_error(&err) {
        Some(Errno::NXIO | Errno::NODEV) => no_file(),
        _ => err,
    }
}

fn check(stat: &Stat) -> io::Result<()> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(()),
        FileType::Directory => Err(Errno::ISDIR.into()),
        _ => Err(no_file()),
    }
}

fn no_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not a regular file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_are_read() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let at = |name: &str| dir.path().join(name);
        let kind = |name: &str| read(&at(name)).map_err(|err| err.kind());
        std::fs::write(at("file"), "text").expect("file");
        std::os::unix::fs::symlink("file", at("link")).expect("link");
        assert_eq!(kind("file").as_deref(), Ok(&b"text"[..]));
        assert_eq!(kind("link").as_deref(), Ok(&b"text"[..]));
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRUSR).expect("fifo");
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).expect("socket");
        File::create(at("huge")).and_then(|file| file.set_len(1 << 42)).expect("file");
        std::fs::create_dir(at("dir")).expect("directory");
        std::fs::write(at("bytes"), [0xff]).expect("file");
        for name in ["fifo", "socket", "huge"] {
            assert_eq!(kind(name), Err(io::ErrorKind::InvalidData), "{name}");
        }
        assert!(open(&at("fifo")).is_err() && open(&at("huge")).is_ok());
        assert_eq!(kind("dir"), Err(io::ErrorKind::IsADirectory));
        assert_eq!(kind("none"), Err(io::ErrorKind::NotFound));
        assert_eq!(read_to_string(&at("bytes")).map_err(|err| err.kind()), Err(io::ErrorKind::InvalidData));
    }
}
