//! Names of images on disk: one file each, in `refs/`.

use std::fs;
use std::io;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use crate::model::ids::hex;
use crate::model::reference::{Reference, sha256_hex};
use crate::state::atomic::{self, Durability};

use super::{Error, Result, Store};

/// Longest file name that is a readable name; beyond it a hash stands for it.
const MAX_FILE_NAME: usize = 200;

/// A name and the image that it means.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ref {
    /// The name, with a tag or a digest.
    pub name: Reference,
    /// The image's id, `sha256:…`.
    pub id: String,
}

/// The file of a name. No comma can be in a name, so it can stand for the slash.
fn file_name(name: &str) -> String {
    if name.len() <= MAX_FILE_NAME { name.replace('/', ",") } else { hex(&Sha256::digest(name.as_bytes())) }
}

impl Store {
    fn ref_path(&self, name: &Reference) -> PathBuf {
        self.refs_dir().join(file_name(&name.to_string()))
    }

    /// The image that a name (with a tag or a digest) means.
    ///
    /// # Errors
    /// Those of the file system; absence is none.
    pub fn read_ref(&self, name: &Reference) -> Result<Option<String>> {
        let path = self.ref_path(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(parse(&text).filter(|there| there.name == *name).map(|there| there.id)),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(err) => Err(Error::at(&path)(err)),
        }
    }

    /// Takes away names that mean none of these images, and files that are no names. The caller holds the lock.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn remove_dangling(&self, has: impl Fn(&str) -> bool) -> Result<()> {
        for path in Self::list(&self.refs_dir())? {
            let Ok(bytes) = fs::read(&path) else { continue };
            let named = parse(&String::from_utf8_lossy(&bytes));
            if named.as_ref().is_some_and(|one| has(&one.id)) {
                continue;
            }
            let name = named.map_or_else(|| path.display().to_string(), |one| one.name.to_string());
            tracing::warn!("removed a name without an image: {name}");
            fs::remove_file(&path).map_err(Error::at(&path))?;
        }
        Ok(())
    }

    /// All names, in order. Unreadable files are passed over.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn refs(&self) -> Result<Vec<Ref>> {
        let mut refs: Vec<Ref> = Self::list(&self.refs_dir())?
            .into_iter()
            .filter_map(|path| parse(&fs::read_to_string(path).ok()?))
            .collect();
        refs.sort();
        Ok(refs)
    }

    /// Gives a name to an image. The caller holds the lock.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write_ref(&self, name: &Reference, id: &str) -> Result<()> {
        Ok(atomic::write(&self.ref_path(name), format!("{id} {name}\n").as_bytes(), Durability::Disk)?)
    }

    /// Takes a name away; it may be gone already. The caller holds the lock, and syncs.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn remove_ref(&self, name: &Reference) -> Result<()> {
        let path = self.ref_path(name);
        match fs::remove_file(&path) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => Err(Error::at(&path)(err)),
            _ => Ok(()),
        }
    }
}

fn parse(text: &str) -> Option<Ref> {
    let (id, name) = text.trim_end().split_once(' ')?;
    sha256_hex(id)?;
    Some(Ref { name: Reference::parse(name).ok()?, id: id.to_owned() })
}
