//! The files of an archive of images, by their names and by links.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::spool::Spooled;
use super::unpack::clean;
use super::{Error, Result};

/// Largest manifest or configuration in bytes.
const MAX_JSON: u64 = 16 << 20;
/// Indexes within indexes, links to links.
const MAX_DEPTH: usize = 16;

/// The files of an archive by their clean paths.
#[derive(Debug, Default)]
pub struct Files {
    files: BTreeMap<Vec<u8>, Spooled>,
    links: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Files {
    /// Adds a file.
    pub fn add(&mut self, path: Vec<u8>, file: Spooled) {
        self.links.remove(&path);
        self.files.insert(path, file);
    }

    /// Adds a link to another file of the archive. Links that lead out of it lead nowhere.
    pub fn add_link(&mut self, path: Vec<u8>, target: &[u8], symbolic: bool) {
        let whole = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) if symbolic => [&path[..=slash], target].concat(),
            _ => target.to_vec(),
        };
        if let Some(target) = clean(&whole) {
            self.links.insert(path, target);
        }
    }

    /// The file at a path, links followed.
    pub fn get(&self, path: &[u8]) -> Option<&Spooled> {
        let mut path = path;
        for _ in 0..MAX_DEPTH {
            match self.links.get(path) {
                Some(target) => path = target,
                None => return self.files.get(path),
            }
        }
        None
    }

    /// The file at a path that the archive refers to.
    ///
    /// # Errors
    /// [`Error::Archive`] if it is missing, or is not what its name says.
    pub fn need(&self, path: &[u8]) -> Result<&Spooled> {
        let shown = String::from_utf8_lossy(path);
        let file = self.get(path).ok_or_else(|| Error::Archive(format!("invalid archive: {shown} is missing")))?;
        match shown.strip_prefix("blobs/sha256/") {
            Some(want) if want != file.hex => {
                Err(Error::Archive(format!("invalid archive: {shown} has the digest sha256:{}", file.hex)))
            }
            _ => Ok(file),
        }
    }

    /// The bytes of a small file that the archive refers to.
    ///
    /// # Errors
    /// As [`Files::need`]; or it is too large; or those of the file system.
    pub fn read(&self, path: &[u8]) -> Result<Vec<u8>> {
        let file = self.need(path)?;
        if file.size > MAX_JSON {
            let shown = String::from_utf8_lossy(path);
            return Err(Error::Archive(format!("invalid archive: {shown} is too large")));
        }
        read(&file.path)
    }

    /// A small file of JSON that the archive refers to.
    ///
    /// # Errors
    /// As [`Files::read`]; or it is none.
    pub fn json<T: for<'de> Deserialize<'de>>(&self, path: &[u8]) -> Result<T> {
        serde_json::from_slice(&self.read(path)?)
            .map_err(|err| Error::Archive(format!("invalid archive: {}: {err}", String::from_utf8_lossy(path))))
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(Error::at(path))
}
