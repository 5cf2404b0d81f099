//! Compressed input: recognised by its first bytes, whatever its name or media type says.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::model::ids::hex;

use super::entries::checksum_fits;
use super::{Error, Result};

/// Bytes needed to recognise a format: one block of a tar.
pub const HEAD: usize = 512;
const BUFFER: usize = 256 << 10;

/// How a stream is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Not at all.
    Plain,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// LZMA 2 in its own container.
    Xz,
    /// Burrows' and Wheeler's, which old archives have.
    Bzip2,
}

impl Format {
    /// By a stream's first bytes.
    pub fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A skippable frame, with which zstd's seekable and chunked variants begin.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', b'Y', ..] => Self::Bzip2,
            _ => Self::Plain,
        }
    }

    /// By a file's first bytes.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn of_file(path: &Path) -> Result<Self> {
        let head = File::open(path).and_then(|mut file| head(&mut file)).map_err(Error::at(path))?;
        Ok(Self::of(&head))
    }

    /// Whether OCI has a media type for layers packed so.
    pub fn has_media_type(self) -> bool {
        matches!(self, Self::Plain | Self::Gzip | Self::Zstd)
    }

    /// Media type of a layer packed so, in OCI's words.
    pub fn layer_media_type(self) -> &'static str {
        match self {
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
            _ => "application/vnd.oci.image.layer.v1.tar",
        }
    }
}

/// Whether a stream that begins so can be a layer: packed, or a tar, possibly an empty one.
pub fn is_layer(head: &[u8]) -> bool {
    Format::of(head) != Format::Plain || checksum_fits(head) || (head.len() == HEAD && head.iter().all(|b| *b == 0))
}

/// Reads the first [`HEAD`] bytes, fewer only at the end.
///
/// # Errors
/// The source's.
pub fn head(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD);
    reader.take(HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// The plain bytes of a stream of whatever format, and that format.
///
/// # Errors
/// The source's own, and the decoder's.
pub fn plain<'a>(mut reader: impl Read + Send + 'a) -> io::Result<(Format, Box<dyn Read + Send + 'a>)> {
    let head = head(&mut reader)?;
    let format = Format::of(&head);
    let packed = BufReader::with_capacity(BUFFER, Cursor::new(head).chain(reader));
    let plain: Box<dyn Read + Send + 'a> = match format {
        Format::Plain => Box::new(packed),
        Format::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(packed)),
        Format::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(packed)?),
        Format::Xz => Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(packed)),
        Format::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(packed)),
    };
    Ok((format, plain))
}

/// Hashes what passes through.
pub struct Hashing<R> {
    inner: R,
    hash: Sha256,
}

impl<R: Read> Hashing<R> {
    /// From here on.
    pub fn new(inner: R) -> Self {
        Self { inner, hash: Sha256::new() }
    }

    /// Reads to the end; the hash of all that passed, as `sha256:…`.
    ///
    /// # Errors
    /// The source's.
    pub fn finish(mut self) -> io::Result<String> {
        let mut buffer = vec![0; BUFFER];
        while self.read(&mut buffer)? > 0 {}
        Ok(format!("sha256:{}", hex(&self.hash.finalize())))
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}
