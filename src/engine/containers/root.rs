//! A container's root file system: what it needs of its image, and how it is put together.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::engine::{Engine, Error, Result};
use crate::image::{self, Image, Store};
use crate::state::container::{ContainerRecord, Driver};

impl Engine {
    /// The image for a new container; none for one that has nothing but what is mounted there.
    ///
    /// # Errors
    /// Not found, also if it is there for another platform than the one asked for; none that is a platform.
    pub(super) fn image_for_container(&self, store: &Store, name: &str, platform: &str) -> Result<Option<Image>> {
        let platform = match platform {
            "" => None,
            asked => Some(image::platform::parse(asked)?),
        };
        if name.is_empty() {
            return Ok(None);
        }
        Ok(Some(image::resolve(store, name, platform.as_ref())?))
    }

    /// The id of an image that a filter names.
    pub(super) fn image_id(&self, name: &str) -> Result<String> {
        Ok(Store::open(&self.home)?.find(name)?)
    }

    /// Bytes in all layers of an image; 0 if it is gone.
    pub fn image_size(&self, id: &str) -> i64 {
        let meta = Store::open(&self.home).and_then(|store| store.meta(id));
        meta.map_or(0, |meta| i64::try_from(meta.size).unwrap_or(i64::MAX))
    }

    /// How root file systems are made here. Found out once a process, by mounting one.
    pub fn driver(&self) -> Driver {
        static FOUND: OnceLock<Driver> = OnceLock::new();
        *FOUND.get_or_init(|| {
            match crate::runtime::rootfs::overlay_supported(&self.home.containers(), crate::holder::is_rootless()) {
                Ok(()) => Driver::Overlay,
                Err(err) => {
                    tracing::warn!("overlayfs is refused ({err}): images are copied for each container");
                    Driver::Copy
                }
            }
        })
    }

    /// The directories of a container's read-only layers, the lowest first; none where its image was copied.
    pub fn lower_dirs(&self, record: &ContainerRecord) -> Vec<PathBuf> {
        match record.driver {
            Driver::Overlay if !record.layers.is_empty() => self.home.lower_dirs(&record.layers),
            _ => Vec::new(),
        }
    }

    /// Puts a copy of the layers into a directory.
    pub(super) fn copy_layers(&self, layers: &[String], target: &Path) -> Result<()> {
        let store = Store::open(&self.home)?;
        // Whoever creates holds the images' lock, which unpacking anew would wait for.
        if !store.are_usable(layers)? {
            let text = "the image was unpacked by other id maps: load it again".to_owned();
            return Err(Error::Conflict(text));
        }
        Ok(image::flatten::flatten(&image::find::layers_of(&store, layers), target)?)
    }
}
