//! Names of images on disk: one file each, in `refs/`.

use std::fs;
use std::io;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use crate::model::ids::hex;
use crate::model::reference::{Reference, sha256_hex};
use crate::state::atomic::{self, Durability};
use crate::sys::regular;

use super::meta::Descriptor;
use super::{Error, Result, Store};

/// Longest file name that is a readable name; beyond it a hash stands for it.
const MAX_FILE_NAME: usize = 200;

/// A name and the image that it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ref {
    /// The name, with a tag or a digest.
    pub name: Reference,
    /// The image's id, `sha256:…`.
    pub id: String,
    /// What the name means to a registry: a manifest, or an index that has the image's among others. None: the image
    /// was made here, or came without.
    pub target: Option<Descriptor>,
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
    pub fn read_ref(&self, name: &Reference) -> Result<Option<Ref>> {
        let path = self.ref_path(name);
        match regular::read_to_string(&path) {
            Ok(text) => Ok(parse(&text).filter(|there| there.name == *name)),
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
            let Ok(bytes) = regular::read(&path) else { continue };
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
            .filter_map(|path| parse(&regular::read_to_string(&path).ok()?))
            .collect();
        refs.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(refs)
    }

    /// The tags of a repository, in order.
    ///
    /// # Errors
    /// As [`Store::refs`].
    pub fn tags_of(&self, repository: &Reference) -> Result<Vec<Ref>> {
        let mut tags = self.refs()?;
        tags.retain(|one| one.name.name() == repository.name() && one.name.tag().is_some());
        Ok(tags)
    }

    /// Gives a name to an image. The caller holds the lock.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write_ref(&self, one: &Ref) -> Result<()> {
        let mut text = format!("{} {}", one.id, one.name);
        // A type with a space in it would be another field: no registry's type has one.
        if let Some(target) = one.target.as_ref().filter(|target| !target.media_type.contains(char::is_whitespace)) {
            text.push_str(&format!(" {} {} {}", target.digest, target.size, target.media_type));
        }
        text.push('\n');
        Ok(atomic::write(&self.ref_path(&one.name), text.as_bytes(), Durability::Disk)?)
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

/// Reads `id name`, of before names had targets, or `id name digest size type`.
fn parse(text: &str) -> Option<Ref> {
    let mut words = text.trim_end_matches('\n').split(' ');
    let (id, name) = (words.next()?, words.next()?);
    sha256_hex(id)?;
    let target = match words.next() {
        None => None,
        Some(digest) => {
            sha256_hex(digest)?;
            let size = words.next()?.parse().ok()?;
            Some(Descriptor {
                digest: digest.to_owned(),
                size,
                media_type: words.next().unwrap_or_default().to_owned(),
            })
        }
    };
    Some(Ref { name: Reference::parse(name).ok()?, id: id.to_owned(), target })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::paths::Home;

    #[test]
    fn names_keep_their_targets_and_old_ones_are_read() {
        let dir = tempfile::tempdir().expect("directory");
        let home = Home { data: dir.path().join("data"), run: dir.path().join("run") };
        let store = Store::open(&home).expect("store");
        let name = Reference::parse("a.example/b:c").expect("name");
        let id = format!("sha256:{}", "1".repeat(64));
        let digest = format!("sha256:{}", "2".repeat(64));
        for media_type in ["application/x", ""] {
            let target = Descriptor { media_type: media_type.to_owned(), digest: digest.clone(), size: 7 };
            let one = Ref { name: name.clone(), id: id.clone(), target: Some(target) };
            store.write_ref(&one).expect("write");
            assert_eq!(store.read_ref(&name).expect("read"), Some(one));
        }
        fs::write(store.ref_path(&name), format!("{id} {name}\n")).expect("write");
        assert_eq!(store.refs().expect("names"), [Ref { name, id, target: None }]);
    }
}
