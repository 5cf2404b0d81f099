//! Verifies the whole store, and mends what can be mended: what a failing disk, or a person, did to it.
//!
//! ```text
//! blobs      each against its digest; a wrong one is set aside, so that a load or a pull brings it again
//! records    those that cannot be read are set aside; of the others, whether all that they need is here
//! layers     each against what its archive makes of it; one that differs is unpacked anew
//! names      those whose images are lost are told, and go
//! ```
//!
//! Everything is read without a lock, beside whoever works with the store. Before something is moved, the lock is taken
//! and the thing looked at again: what somebody has replaced meanwhile is theirs.

mod finding;
mod layers;
mod print;

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::model::ids::short;
use crate::model::reference::sha256_hex;
use crate::state;

use super::compress::Hashing;
use super::garbage;
use super::meta::ImageMeta;
use super::refs::Ref;
use super::{Error, Result, Store};

pub use finding::{Finding, Outcome};

/// How much was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checked {
    /// Blobs.
    pub blobs: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Images.
    pub images: u64,
    /// Layers.
    pub layers: u64,
    /// Names.
    pub names: u64,
}

/// Verifies everything, and tells what it finds.
///
/// # Errors
/// Those of the file system.
pub fn check(store: &Store, tell: &mut dyn FnMut(Finding)) -> Result<Checked> {
    let mut checked = Checked::default();
    for path in Store::list(&store.blobs_dir())? {
        if let Some(bytes) = blob(store, &path, tell)? {
            checked.blobs += 1;
            checked.bytes += bytes;
        }
    }
    let refs = store.refs()?;
    let mut images = Vec::new();
    for path in Store::list(&store.meta_dir())? {
        images.extend(record(store, &path, &refs, tell)?);
    }
    checked.images = images.len() as u64;
    checked.layers = layers::check(store, &images, tell)?;
    for one in &refs {
        checked.names += 1;
        name(store, one, tell)?;
    }
    // What is left without an owner goes, names of lost images among it.
    garbage::sweep(store)?;
    Ok(checked)
}

/// Its bytes, if it is one and is sound.
fn blob(store: &Store, path: &Path, tell: &mut dyn FnMut(Finding)) -> Result<Option<u64>> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let digest = format!("sha256:{name}");
    let file = match File::open(path) {
        Ok(file) => file,
        // Somebody removed it meanwhile.
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(Error::at(path)(err)),
    };
    let seen = file.metadata().map_err(Error::at(path))?;
    // A disk that cannot read it is as good as a wrong content.
    let found = match Hashing::new(file).finish() {
        Ok(have) if have == digest => return Ok(Some(seen.len())),
        Ok(have) => format!("its content has the digest {have}"),
        Err(err) => format!("it cannot be read: {err}"),
    };
    let _lock = store.lock()?;
    let same = fs::metadata(path).is_ok_and(|now| (now.dev(), now.ino()) == (seen.dev(), seen.ino()));
    if same {
        store.set_aside(path, &found)?;
        let outcome = Outcome::Mended("set aside in images/unreadable".to_owned());
        tell(Finding { what: format!("blob {digest}"), found, outcome });
    }
    Ok(None)
}

/// An image's record, if it can be read and its configuration is here.
fn record(store: &Store, path: &Path, refs: &[Ref], tell: &mut dyn FnMut(Finding)) -> Result<Option<ImageMeta>> {
    let again = || Outcome::Lost("load or pull the image again".to_owned());
    let meta = match Store::read_meta(path) {
        Ok(meta) => meta,
        Err(state::Error::Missing(_)) => return Ok(None),
        Err(err) if err.is_unreadable() => {
            let _lock = store.lock()?;
            if Store::read_meta(path).is_err_and(|err| err.is_unreadable()) {
                store.set_aside(path, &err)?;
                let what = format!("image {}", path.file_stem().unwrap_or_default().to_string_lossy());
                tell(Finding { what, found: err.to_string(), outcome: again() });
            }
            return Ok(None);
        }
        Err(err) => return Err(err.into()),
    };
    let names: Vec<String> = refs.iter().filter(|one| one.id == meta.id).map(|one| one.name.familiar()).collect();
    let shown = format!("image {} {}", short(meta.id.trim_start_matches("sha256:")), names.join(" "));
    let what = shown.trim_end().to_owned();
    if store.config(&meta.id).is_err() {
        let _lock = store.lock()?;
        // Whoever brought it meanwhile is right.
        if path.exists() && store.config(&meta.id).is_err() {
            let found = "its configuration is missing or damaged";
            store.set_aside(path, &found)?;
            tell(Finding { what, found: found.to_owned(), outcome: again() });
        }
        return Ok(None);
    }
    let lost = |digest: &&str| sha256_hex(digest).is_none_or(|hex| !store.blob(hex).exists());
    let mut missing: Vec<&str> = meta.blobs().filter(lost).collect();
    missing.dedup();
    // Again: a removal may have begun meanwhile.
    if !missing.is_empty() && path.exists() {
        let found = format!("blobs that it needs are missing: {}", missing.join(" "));
        let runs = meta.layers.iter().all(|layer| store.layer(&layer.chain).is_some());
        let how = if runs { "it runs, and cannot be saved or pushed" } else { "it does not run" };
        tell(Finding { what, found, outcome: Outcome::Lost(format!("{how}: load or pull it again")) });
    }
    Ok(Some(meta))
}

fn name(store: &Store, one: &Ref, tell: &mut dyn FnMut(Finding)) -> Result<()> {
    let gone = matches!(store.meta(&one.id), Err(Error::Missing(_)));
    // Again: it may have been removed, or given to another image.
    if gone && store.read_ref(&one.name)?.is_some_and(|now| now.id == one.id) {
        let outcome = Outcome::Lost("the name goes: load or pull the image again".to_owned());
        let found = format!("its image {} is not there", short(one.id.trim_start_matches("sha256:")));
        tell(Finding { what: format!("name {}", one.name.familiar()), found, outcome });
    }
    Ok(())
}
