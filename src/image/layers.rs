//! Unpacks one layer of whatever compression into a directory of its own.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::holder;
use crate::state::atomic::{self, Durability};

use super::compress::{self, Format, Hashing};
use super::meta::{LayerRecord, LayerRef};
use super::spool::{Spool, Spooled};
use super::unpack::{Privilege, UnpackError, Unpacked, unpack};
use super::{Error, Result};

const BUFFER: usize = 1 << 20;

/// A layer unpacked, not yet in its place.
#[derive(Debug)]
pub struct Extracted {
    /// The directory that has `diff/` in it.
    pub dir: PathBuf,
    /// Hash of the unpacked archive, `sha256:…`; none if the archive was not packed: then it is the blob's own.
    pub diff_id: Option<String>,
    /// How it was packed.
    pub format: Format,
    /// What came of it.
    pub unpacked: Unpacked,
}

impl Extracted {
    /// Writes the layer's record into its directory: from then on it is one, and can be moved to its place.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn seal(&self, layer: &LayerRef, parent: &str) -> Result<()> {
        let record = LayerRecord {
            diff_id: layer.diff_id.clone(),
            parent: parent.to_owned(),
            size: self.unpacked.size,
            blob: layer.blob.clone(),
            ids: map_id()?,
            notes: self.unpacked.notes.clone(),
        };
        Ok(atomic::write_json(&self.dir.join("layer.json"), &record, Durability::Process)?)
    }
}

/// The name of this process's id maps.
///
/// # Errors
/// /proc is not there.
pub fn map_id() -> Result<String> {
    holder::map_id().map_err(Error::at(Path::new("/proc/self/uid_map")))
}

/// Unpacks a layer into `dir/diff`; `dir` must not exist. On an error its owner removes it.
///
/// # Errors
/// [`Error::Unpack`], [`Error::Read`], or those of the file system.
pub fn extract(archive: impl Read + Send, dir: &Path, privilege: &Privilege) -> Result<Extracted> {
    let diff = dir.join("diff");
    fs::DirBuilder::new().recursive(true).mode(0o755).create(&diff).map_err(Error::at(&diff))?;
    // The root of the container shows this mode, whatever the umask is.
    fs::set_permissions(&diff, fs::Permissions::from_mode(0o755)).map_err(Error::at(&diff))?;
    let root = File::open(&diff).map_err(Error::at(&diff))?;
    let (format, plain) = compress::plain(archive).map_err(|err| Error::Unpack(UnpackError::Read(err)))?;
    let (unpacked, diff_id) = match format {
        Format::Plain => (unpack(plain, root.into(), privilege.clone())?, None),
        _ => {
            let mut hashing = Hashing::new(plain);
            let unpacked = unpack(&mut hashing, root.into(), privilege.clone())?;
            // The hash is of all bytes, those after the archive's end mark too.
            (unpacked, Some(hashing.finish().map_err(|err| Error::Unpack(UnpackError::Read(err)))?))
        }
    };
    Ok(Extracted { dir: dir.to_owned(), diff_id, format, unpacked })
}

/// The same from a file.
///
/// # Errors
/// As [`extract`].
pub fn extract_file(archive: &Path, dir: &Path) -> Result<Extracted> {
    let file = File::open(archive).map_err(Error::at(archive))?;
    extract(file, dir, &Privilege::of_this_process())
}

/// A layer's archive in a form that a manifest can name: there is none for xz and bzip2, and few readers know them. Those
/// are unpacked to `place`; whoever made the archive gave them without a manifest, so no digest of theirs is lost.
///
/// # Errors
/// [`Error::Read`] for a bad archive, or those of the file system.
pub fn nameable(file: &Spooled, place: &Path) -> Result<Spooled> {
    if Format::of_file(&file.path)?.has_media_type() {
        return Ok(file.clone());
    }
    let packed = File::open(&file.path).map_err(Error::at(&file.path))?;
    let (_, mut plain) = compress::plain(packed).map_err(Error::Read)?;
    let (mut spool, mut buffer) = (Spool::create(place)?, vec![0; BUFFER]);
    loop {
        match plain.read(&mut buffer).map_err(Error::Read)? {
            0 => return Ok(spool.finish()),
            count => spool.write(&buffer[..count])?,
        }
    }
}
