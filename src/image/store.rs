//! Where everything of the image store is, and how it is read.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::model::reference::sha256_hex;
use crate::state::atomic::{self, Durability};
use crate::state::lock::Lock;
use crate::state::paths::Home;

use super::meta::{ImageMeta, LayerRecord};
use super::{Error, Result};

/// The image store of one user.
#[derive(Debug, Clone)]
pub struct Store {
    home: Home,
    root: PathBuf,
}

impl Store {
    /// Opens the store, making its directories if they are missing.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(home: &Home) -> Result<Self> {
        let store = Self { home: home.clone(), root: home.images() };
        let dirs = [store.blobs_dir(), store.layers_dir(), store.refs_dir(), store.meta_dir(), store.tmp_dir()];
        for dir in dirs.into_iter().filter(|dir| !dir.is_dir()) {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(Error::at(&dir))?;
        }
        Ok(store)
    }

    /// The user's directories.
    pub fn home(&self) -> &Home {
        &self.home
    }

    pub(super) fn layers_dir(&self) -> PathBuf {
        self.root.join("layers")
    }

    pub(super) fn refs_dir(&self) -> PathBuf {
        self.root.join("refs")
    }

    pub(super) fn meta_dir(&self) -> PathBuf {
        self.root.join("meta")
    }

    pub(super) fn blobs_dir(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    pub(super) fn tmp_dir(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// The directory of an unpacked layer: a lower directory for overlayfs.
    pub fn layer_diff(&self, chain: &str) -> PathBuf {
        self.layers_dir().join(chain).join("diff")
    }

    /// The file of a blob, by the hexadecimal part of its digest.
    pub fn blob(&self, hex: &str) -> PathBuf {
        self.blobs_dir().join(hex)
    }

    /// Keeps images from being deleted while an image is resolved and the record that uses it is written. Short.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn hold(&self) -> Result<Lock> {
        Ok(Lock::shared(&self.root.join("lock"))?)
    }

    /// Excludes all others who commit, delete or hold. Short.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn lock(&self) -> Result<Lock> {
        Ok(Lock::exclusive(&self.root.join("lock"))?)
    }

    /// Reads the record of an image by its id.
    ///
    /// # Errors
    /// [`Error::Missing`], or those of the file system.
    pub fn meta(&self, id: &str) -> Result<ImageMeta> {
        let hex = sha256_hex(id).ok_or_else(|| Error::Missing(id.to_owned()))?;
        match atomic::read_json(&self.meta_dir().join(format!("{hex}.json"))) {
            Err(crate::state::Error::Missing(_)) => Err(Error::Missing(id.to_owned())),
            other => Ok(other?),
        }
    }

    /// The records of all images. One that vanishes meanwhile or cannot be read is passed over, the latter with a
    /// warning.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn metas(&self) -> Result<Vec<ImageMeta>> {
        let mut metas = Vec::new();
        for path in Self::list(&self.meta_dir())? {
            match atomic::read_json(&path) {
                Ok(meta) => metas.push(meta),
                Err(crate::state::Error::Missing(_)) => {}
                Err(err) => tracing::warn!("image record passed over: {err}"),
            }
        }
        Ok(metas)
    }

    /// Ids of images (`sha256:…`) whose hexadecimal part begins so.
    pub(super) fn ids_with_prefix(&self, prefix: &str) -> Result<Vec<String>> {
        let id = |path: PathBuf| Some(format!("sha256:{}", path.file_stem()?.to_str()?));
        let fits = |id: &String| id["sha256:".len()..].starts_with(prefix);
        Ok(Self::list(&self.meta_dir())?.into_iter().filter_map(id).filter(fits).collect())
    }

    /// Commits the record of an image. The caller holds the lock.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write_meta(&self, meta: &ImageMeta) -> Result<()> {
        let hex = sha256_hex(&meta.id).unwrap_or(&meta.id);
        Ok(atomic::write_json(&self.meta_dir().join(format!("{hex}.json")), meta, Durability::Disk)?)
    }

    /// The record of a layer that is unpacked; none if it is not.
    pub fn layer(&self, chain: &str) -> Option<LayerRecord> {
        atomic::read_json(&self.layers_dir().join(chain).join("layer.json")).ok()
    }

    /// The entries of a directory, temporary files left out.
    pub(super) fn list(dir: &Path) -> Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(dir) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(Error::at(dir))?,
        };
        let visible = |entry: &fs::DirEntry| !entry.file_name().as_encoded_bytes().starts_with(b".");
        Ok(entries.flatten().filter(visible).map(|entry| entry.path()).collect())
    }
}
