//! Where everything of the image store is, and how it is read.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::model::reference::sha256_hex;
use crate::state;
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
        let mut made = false;
        for dir in dirs.into_iter().filter(|dir| !dir.is_dir()) {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(Error::at(&dir))?;
            made = true;
        }
        if made {
            atomic::sync(&[&home.data, &store.root, &store.root.join("blobs")])?;
        }
        Ok(store)
    }

    /// The user's directories.
    pub fn home(&self) -> &Home {
        &self.home
    }

    pub(super) fn layers_dir(&self) -> PathBuf {
        self.home.layers()
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

    pub(super) fn partial_dir(&self) -> PathBuf {
        self.root.join("partial")
    }

    /// The directory of an unpacked layer: a lower directory for overlayfs.
    pub fn layer_diff(&self, chain: &str) -> PathBuf {
        self.home.layer_diff(chain)
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
        sha256_hex(id).ok_or_else(|| Error::Missing(id.to_owned()))?;
        match Self::read_meta(&self.meta_path(id)) {
            Err(state::Error::Missing(_)) => Err(Error::Missing(id.to_owned())),
            other => Ok(other?),
        }
    }

    /// Reads the record of an image; one of another image than its name says is no record.
    pub(super) fn read_meta(path: &Path) -> state::Result<ImageMeta> {
        let meta: ImageMeta = atomic::read_json(path)?;
        if sha256_hex(&meta.id).is_some_and(|hex| path.file_stem().is_some_and(|stem| stem == hex)) {
            return Ok(meta);
        }
        let source = serde::de::Error::custom("it is not of this image");
        Err(state::Error::Corrupt { path: path.to_owned(), source })
    }

    /// The records of all images. One that vanishes meanwhile or cannot be read is passed over, the latter with a
    /// warning: [`Store::set_aside`] takes it away.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn metas(&self) -> Result<Vec<ImageMeta>> {
        let mut metas = Vec::new();
        for path in Self::list(&self.meta_dir())? {
            match Self::read_meta(&path) {
                Ok(meta) => metas.push(meta),
                Err(state::Error::Missing(_)) => {}
                Err(err) => tracing::warn!("image record passed over: {err}"),
            }
        }
        Ok(metas)
    }

    /// Takes away what stands in the place of a record and can never be read: then nothing refers to what it referred to,
    /// and its image can be loaded again. A person finds it in `unreadable/`. The caller holds the lock.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn set_aside(&self, path: &Path, why: &dyn std::fmt::Display) -> Result<()> {
        let aside = self.root.join("unreadable");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&aside).map_err(Error::at(&aside))?;
        let target = aside.join(path.file_name().unwrap_or_default());
        tracing::warn!("set aside as {}: {why}", target.display());
        fs::rename(path, &target).map_err(Error::at(path))
    }

    /// The file of an image's record, by its id.
    pub(super) fn meta_path(&self, id: &str) -> PathBuf {
        self.meta_dir().join(format!("{}.json", sha256_hex(id).unwrap_or(id)))
    }

    /// The boot in which the store was last gone through as a whole: after a loss of power there may be anything in it.
    pub(super) fn swept_in(&self) -> PathBuf {
        self.root.join("swept-in-boot")
    }

    /// Makes what was done to names and records survive a loss of power.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn sync_names(&self) -> Result<()> {
        Ok(atomic::sync(&[&self.meta_dir(), &self.refs_dir()])?)
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
        Ok(atomic::write_json(&self.meta_path(&meta.id), meta, Durability::Disk)?)
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
