//! Pax records: what extension headers of a tar archive say about the next entry.

use std::io;

/// Most fragments of a sparse file.
pub const MAX_FRAGMENTS: usize = 1 << 16;

/// For archives that are not what they should be.
pub fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

/// What pax records say; each overrides the header's field.
#[derive(Debug, Clone, Default)]
pub struct Pax {
    /// The entry's path.
    pub path: Option<Vec<u8>>,
    /// A link's target.
    pub link: Option<Vec<u8>>,
    /// Bytes stored.
    pub size: Option<u64>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Modification time: seconds and nanoseconds.
    pub mtime: Option<(i64, u32)>,
    /// Extended attributes, name and value.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The path of a sparse file.
    pub sparse_name: Option<Vec<u8>>,
    /// Its length, holes included.
    pub sparse_size: Option<u64>,
    /// Whether its map stands before its data.
    pub sparse_in_data: bool,
    /// Its map otherwise: offset and length.
    pub sparse_map: Vec<(u64, u64)>,
    sparse_offset: u64,
}

impl Pax {
    /// Takes in the records of one header.
    ///
    /// # Errors
    /// `InvalidData` for what is malformed.
    pub fn parse(&mut self, mut data: &[u8]) -> io::Result<()> {
        let malformed = || invalid("malformed pax record");
        while !data.is_empty() {
            let space = data.iter().position(|byte| *byte == b' ').ok_or_else(malformed)?;
            let length: usize = ascii(&data[..space]).ok_or_else(malformed)?;
            let record = data.get(space + 1..length).ok_or_else(malformed)?;
            let record = record.strip_suffix(b"\n").ok_or_else(malformed)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(malformed)?;
            self.set(&record[..equals], &record[equals + 1..]).ok_or_else(malformed)?;
            data = &data[length..];
        }
        Ok(())
    }

    /// None if the value does not fit the key. Unknown keys say nothing about the file's content and are passed over.
    fn set(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            self.xattrs.retain(|(have, _)| have != name);
            self.xattrs.push((name.to_vec(), value.to_vec()));
            return Some(());
        }
        match key {
            b"path" => self.path = (!value.is_empty()).then(|| value.to_vec()),
            b"linkpath" => self.link = (!value.is_empty()).then(|| value.to_vec()),
            b"size" => self.size = Some(length(value)?),
            b"uid" => self.uid = Some(ascii(value)?),
            b"gid" => self.gid = Some(ascii(value)?),
            b"mtime" => self.mtime = Some(pax_time(value)?),
            b"GNU.sparse.major" => self.sparse_in_data = value == b"1",
            b"GNU.sparse.name" => self.sparse_name = Some(value.to_vec()),
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => self.sparse_size = Some(length(value)?),
            b"GNU.sparse.offset" => self.sparse_offset = ascii(value)?,
            b"GNU.sparse.numbytes" => self.sparse_map.push((self.sparse_offset, ascii(value)?)),
            b"GNU.sparse.map" => {
                let numbers: Option<Vec<u64>> = value.split(|byte| *byte == b',').map(ascii).collect();
                self.sparse_map = numbers?.as_chunks::<2>().0.iter().map(|pair| (pair[0], pair[1])).collect();
            }
            _ => {}
        }
        (self.sparse_map.len() <= MAX_FRAGMENTS).then_some(())
    }
}

fn ascii<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A length in bytes; no file system has longer files.
fn length(text: &[u8]) -> Option<u64> {
    ascii(text).filter(|length| i64::try_from(*length).is_ok())
}

/// Decimal seconds with an optional fraction, possibly negative.
fn pax_time(value: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(value).ok()?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = seconds.parse().ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos: u32 = format!("{fraction:0<9.9}").parse().ok()?;
    match (text.starts_with('-'), nanos) {
        (true, 1..) => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanos)),
        _ => Some((seconds, nanos)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_fractions_and_signs() {
        assert_eq!(pax_time(b"-1.25"), Some((-2, 750_000_000)));
        assert_eq!(pax_time(b"12.5"), Some((12, 500_000_000)));
        assert_eq!(pax_time(b"12.x"), None);
    }
}
