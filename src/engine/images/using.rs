//! Which containers use which images.

use crate::image::meta::{Descriptor, ImageMeta};
use crate::image::variants::Variant;
use crate::image::{Result, Store};
use crate::model::reference::Reference;
use crate::state::lock::Lock;
use crate::state::paths::Home;
use crate::state::store;

/// A container, as far as its image is concerned.
#[derive(Debug, Clone)]
pub struct User {
    /// The container's id.
    pub id: String,
    /// Its image's id.
    pub image_id: String,
    /// What its creator called the image.
    pub image: String,
    /// Whether its process exists.
    pub running: bool,
}

impl User {
    /// Whether its creator called the image so. What is named by tag and digest has both names.
    pub(super) fn named(&self, name: &Reference) -> bool {
        Reference::parse(&self.image).is_ok_and(|whole| {
            let tagged = whole.name() == name.name() && whole.tag().is_some() && whole.tag() == name.tag();
            tagged || whole.lookup_key() == *name
        })
    }
}

/// A manifest of an image, and the containers that use it.
#[derive(Debug, Clone)]
pub struct InUse {
    /// The manifest.
    pub variant: Variant,
    /// The containers' ids.
    pub containers: Vec<String>,
}

impl InUse {
    /// All manifests of an image.
    pub(super) fn all(store: &Store, meta: &ImageMeta, target: Option<&Descriptor>, users: &[User]) -> Vec<Self> {
        let in_use = |variant: Variant| {
            let id = variant.image.as_ref().map_or("", |image| image.id.as_str());
            let containers = users.iter().filter(|user| user.image_id == id).map(|user| user.id.clone()).collect();
            Self { variant, containers }
        };
        store.variants(meta, target).into_iter().map(in_use).collect()
    }
}

/// All containers with their images. One that vanishes or cannot be read is passed over.
pub fn all(home: &Home) -> Result<Vec<User>> {
    let ids = store::ids(home)?;
    Ok(ids
        .into_iter()
        .filter_map(|id| {
            let record = store::load(home, &id).ok()?;
            let says_so = store::load_state(home, &id).is_ok_and(|state| state.is_running());
            // A container whose monitor was killed is not running, whatever its last record says.
            let running = says_so && Lock::is_held(&home.container(&id).monitor_lock()).unwrap_or(true);
            Some(User { id, image_id: record.image_id, image: record.image, running })
        })
        .collect())
}
