//! Reads a tar archive as a stream: headers with all their extensions (ustar, GNU, pax, old and new sparse forms).
//!
//! Own code, because extraction needs what general readers leave out: sparse files of all forms without writing their
//! holes, limits on extension headers, and paths as raw bytes that nobody has touched yet.

use std::io::{self, Read};
use std::mem;

use super::pax::{MAX_FRAGMENTS, Pax, invalid};

const BLOCK: usize = 512;
/// Largest extension header (long name, pax records) in bytes; Go's reader has the same.
const MAX_EXTENSION: u64 = 1 << 20;
/// Most bytes of all the extension headers of one entry.
const MAX_EXTENSIONS: u64 = 4 * MAX_EXTENSION;

/// A sparse file's length and its fragments: offset and length of each.
type Sparse = (u64, Vec<(u64, u64)>);

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// Another name of an earlier entry.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

/// One entry's header.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Its path as written.
    pub path: Vec<u8>,
    /// Target of a link as written.
    pub link: Vec<u8>,
    /// Length of the file in bytes, holes included.
    pub size: u64,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time: seconds since 1970.
    pub mtime: i64,
    /// Nanoseconds beside them.
    pub mtime_nanos: u32,
    /// A device's major and minor number.
    pub device: (u32, u32),
    /// Extended attributes, name and value.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the stored bytes of a sparse file belong: offset and length.
    pub fragments: Option<Vec<(u64, u64)>>,
}

/// A tar archive being read. [`Read`] gives the stored bytes of the current entry.
#[derive(Debug)]
pub struct Entries<R> {
    inner: R,
    remaining: u64,
    padding: u64,
}

impl<R: Read> Entries<R> {
    /// Starts at the beginning of an archive.
    pub fn new(inner: R) -> Self {
        Self { inner, remaining: 0, padding: 0 }
    }

    /// The next entry; none at the end. What is left of the current entry's bytes is skipped.
    ///
    /// # Errors
    /// `InvalidData` for a malformed header, `UnexpectedEof` for a truncated archive, and the source's own.
    pub fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        let (mut pax, mut long_name, mut long_link) = (Pax::default(), None, None);
        let mut extensions = 0u64;
        loop {
            self.skip_rest()?;
            let Some(block) = self.header_block()? else { return Ok(None) };
            let flag = block[156];
            let size = u64::try_from(number(&block[124..136])?).map_err(|_| invalid("negative size in tar header"))?;
            if b"xgLK".contains(&flag) {
                extensions = extensions.saturating_add(size);
                if extensions > MAX_EXTENSIONS {
                    return Err(invalid("tar extension headers too large"));
                }
            }
            match flag {
                b'x' => pax.parse(&self.extension(size)?)?,
                // As Docker has it: what is said of all entries is said of none. It is git's comment, mostly.
                b'g' => drop(self.extension(size)?),
                b'L' => long_name = Some(until_nul(&self.extension(size)?).to_vec()),
                b'K' => long_link = Some(until_nul(&self.extension(size)?).to_vec()),
                _ => return self.entry(&block, size, pax, long_name, long_link).map(Some),
            }
        }
    }

    fn entry(
        &mut self,
        block: &[u8; BLOCK],
        header_size: u64,
        mut pax: Pax,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> io::Result<Entry> {
        let path = pax.path.take().or(long_name).unwrap_or_else(|| header_path(block));
        let link = pax.link.take().or(long_link).unwrap_or_else(|| until_nul(&block[157..257]).to_vec());
        if path.contains(&0) || link.contains(&0) {
            return Err(invalid("tar entry with a NUL byte in its name"));
        }
        let kind = match block[156] {
            // Archives older than POSIX mark directories by a slash alone.
            0 if path.ends_with(b"/") => Kind::Directory,
            b'0' | 0 | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::Char,
            b'4' => Kind::Block,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => return Err(invalid(format!("unhandled tar entry type {:?}", char::from(other)))),
        };
        let stored = if kind == Kind::File { pax.size.unwrap_or(header_size) } else { 0 };
        self.remaining = stored;
        self.padding = stored.wrapping_neg() % BLOCK as u64;
        let mut entry = Entry {
            kind,
            path,
            link,
            size: stored,
            mode: number(&block[100..108])? as u32 & 0o7777,
            uid: pax.uid.map_or_else(|| id(&block[108..116]), Ok)?,
            gid: pax.gid.map_or_else(|| id(&block[116..124]), Ok)?,
            mtime: pax.mtime.map_or_else(|| number(&block[136..148]), |(seconds, _)| Ok(seconds))?,
            mtime_nanos: pax.mtime.map_or(0, |(_, nanos)| nanos),
            device: (0, 0),
            xattrs: mem::take(&mut pax.xattrs),
            fragments: None,
        };
        if matches!(kind, Kind::Char | Kind::Block) {
            entry.device = (number(&block[329..337])? as u32, number(&block[337..345])? as u32);
        }
        if kind == Kind::File {
            let sparse = if block[156] == b'S' { Some(self.gnu_map(block)?) } else { self.pax_map(&mut pax)? };
            if let Some((size, map)) = sparse {
                check_map(&map, size, self.remaining)?;
                (entry.size, entry.fragments) = (size, Some(map));
            }
            if let Some(name) = pax.sparse_name.take() {
                entry.path = name;
            }
        }
        Ok(entry)
    }

    /// Real size and map of a file in GNU tar's old sparse form; continuation blocks precede the data.
    fn gnu_map(&mut self, block: &[u8; BLOCK]) -> io::Result<Sparse> {
        let mut map = Vec::new();
        let unsigned = |field: &[u8]| u64::try_from(number(field)?).map_err(|_| invalid("negative sparse map"));
        let mut take = |slots: &[u8]| -> io::Result<()> {
            for slot in slots.as_chunks::<24>().0 {
                if slot[0] != 0 {
                    map.push((unsigned(&slot[..12])?, unsigned(&slot[12..])?));
                }
            }
            if map.len() > MAX_FRAGMENTS { Err(invalid("sparse file in too many fragments")) } else { Ok(()) }
        };
        take(&block[386..482])?;
        let mut more = block[482] != 0;
        while more {
            let mut extension = [0u8; BLOCK];
            self.inner.read_exact(&mut extension)?;
            take(&extension[..504])?;
            more = extension[504] != 0;
        }
        Ok((unsigned(&block[483..495])?, map))
    }

    /// Real size and map of a file in one of pax's sparse forms.
    fn pax_map(&mut self, pax: &mut Pax) -> io::Result<Option<Sparse>> {
        let Some(size) = pax.sparse_size else { return Ok(None) };
        if !pax.sparse_in_data {
            return Ok((!pax.sparse_map.is_empty()).then(|| (size, mem::take(&mut pax.sparse_map))));
        }
        // Version 1.0: decimal numbers, one a line, in front of the data, filled up to a whole block.
        let (mut numbers, mut number, mut want) = (Vec::new(), 0u64, None::<usize>);
        while want.is_none_or(|want| numbers.len() < want) {
            let mut block = [0u8; BLOCK];
            self.read_exact(&mut block)?;
            for byte in block {
                match byte {
                    b'0'..=b'9' => {
                        let digit = u64::from(byte - b'0');
                        number = number
                            .checked_mul(10)
                            .and_then(|tens| tens.checked_add(digit))
                            .ok_or_else(|| invalid("sparse map number too large"))?;
                    }
                    b'\n' if want.is_none() => {
                        if number > MAX_FRAGMENTS as u64 {
                            return Err(invalid("sparse file in too many fragments"));
                        }
                        want = Some(mem::take(&mut number) as usize * 2);
                    }
                    b'\n' => numbers.push(mem::take(&mut number)),
                    _ => return Err(invalid("malformed sparse map")),
                }
                if want == Some(numbers.len()) {
                    break;
                }
            }
        }
        Ok(Some((size, numbers.as_chunks::<2>().0.iter().map(|pair| (pair[0], pair[1])).collect())))
    }

    /// The next header, none at the end: a block of zeros, or the end of the input exactly between two entries.
    fn header_block(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let mut block = [0u8; BLOCK];
        let mut have = 0;
        while have < BLOCK {
            match self.inner.read(&mut block[have..]) {
                Ok(0) if have == 0 => return Ok(None),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => have += count,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(err),
            }
        }
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if !checksum_fits(&block) {
            return Err(invalid("invalid tar header"));
        }
        Ok(Some(block))
    }

    fn extension(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > MAX_EXTENSION {
            return Err(invalid("tar extension header too large"));
        }
        self.remaining = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
        let mut data = vec![0; size as usize];
        self.read_exact(&mut data)?;
        Ok(data)
    }

    fn skip_rest(&mut self) -> io::Result<()> {
        let left = mem::take(&mut self.remaining) + mem::take(&mut self.padding);
        if left > 0 && io::copy(&mut self.inner.by_ref().take(left), &mut io::sink())? < left {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

impl<R: Read> Read for Entries<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let limit = buffer.len().min(usize::try_from(self.remaining).unwrap_or(usize::MAX));
        if limit == 0 {
            return Ok(0);
        }
        let count = self.inner.read(&mut buffer[..limit])?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive is truncated"));
        }
        self.remaining -= count as u64;
        Ok(count)
    }
}

/// A numeric field: octal digits, or base 256 if the first byte's top bit is set.
fn number(field: &[u8]) -> io::Result<i64> {
    if field[0] & 0x80 != 0 {
        let negative = field[0] & 0x40 != 0;
        let first = if negative { i64::from(field[0]) | !0xff } else { i64::from(field[0] & 0x7f) };
        return field[1..].iter().try_fold(first, |value, byte| {
            value.checked_mul(256).map(|value| value | i64::from(*byte)).ok_or_else(|| invalid("number too large"))
        });
    }
    let text = until_nul(field).trim_ascii();
    if text.is_empty() {
        return Ok(0);
    }
    let text = std::str::from_utf8(text).map_err(|_| invalid("invalid number in tar header"))?;
    i64::from_str_radix(text, 8).map_err(|_| invalid("invalid number in tar header"))
}

fn id(field: &[u8]) -> io::Result<u32> {
    u32::try_from(number(field)?).map_err(|_| invalid("owner out of range in tar header"))
}

fn until_nul(field: &[u8]) -> &[u8] {
    &field[..field.iter().position(|byte| *byte == 0).unwrap_or(field.len())]
}

fn header_path(block: &[u8; BLOCK]) -> Vec<u8> {
    let name = until_nul(&block[..100]);
    let prefix = until_nul(&block[345..500]);
    // GNU's magic has other fields where POSIX has the prefix.
    if &block[257..263] == b"ustar\0" && !prefix.is_empty() {
        return [prefix, b"/", name].concat();
    }
    name.to_vec()
}

/// Whether a block looks like a tar header, by its checksum; bytes are unsigned in POSIX, signed in some old writers.
pub fn checksum_fits(block: &[u8]) -> bool {
    if block.len() < BLOCK {
        return false;
    }
    let Ok(want) = number(&block[148..156]) else { return false };
    let masked = |at: usize| if (148..156).contains(&at) { b' ' } else { block[at] };
    let unsigned: i64 = (0..BLOCK).map(|at| i64::from(masked(at))).sum();
    let signed: i64 = (0..BLOCK).map(|at| i64::from(masked(at).cast_signed())).sum();
    want == unsigned || want == signed
}

fn check_map(map: &[(u64, u64)], size: u64, stored: u64) -> io::Result<()> {
    let mut end = 0u64;
    let mut sum = 0u64;
    for (offset, length) in map {
        let next = offset.checked_add(*length).filter(|next| *offset >= end && *next <= size);
        end = next.ok_or_else(|| invalid("malformed sparse map"))?;
        sum += length;
    }
    if sum != stored { Err(invalid("sparse map does not fit the stored data")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_both_bases() {
        assert_eq!(number(b"0000644\0").expect("octal"), 0o644);
        assert_eq!(number(b"   644 \0").expect("padded"), 0o644);
        assert_eq!(number(b"\x80\0\0\0\0\0\x01\0").expect("base 256"), 256);
        assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xfe").expect("negative"), -2);
        assert!(number(b"9\0").is_err());
    }

    #[test]
    fn truncation_and_garbage_are_errors() {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(3000);
        header.set_mode(0o644);
        builder.append_data(&mut header, "x".repeat(300), &[7u8; 3000][..]).expect("append");
        let archive = builder.into_inner().expect("archive");
        let mut whole = Entries::new(&archive[..]);
        let entry = whole.next_entry().expect("read").expect("entry");
        assert_eq!((entry.path.len(), entry.size), (300, 3000));
        assert!(whole.next_entry().expect("read").is_none());
        for cut in [100, 600, 1500, 1600, 2600, 4000] {
            let mut entries = Entries::new(&archive[..cut]);
            let end = std::iter::from_fn(|| entries.next_entry().transpose()).find_map(Result::err);
            assert!(end.is_some(), "cut at {cut}");
        }
        assert!(Entries::new(&[b'a'; 512][..]).next_entry().is_err());
    }
}
