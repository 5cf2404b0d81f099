//! Everything about one image.

use std::path::PathBuf;

use crate::engine::Engine;
use crate::image::find::{Found, layers_of, resolve_named};
use crate::image::meta::Descriptor;
use crate::image::platform::Platform;
use crate::image::{Error, Image, Result};
use crate::model::time::{self, Nanos};

use super::list::by_image;
use super::using::{self, InUse};

/// Everything about one image.
#[derive(Debug, Clone)]
pub struct Details {
    /// The image.
    pub image: Image,
    /// Its names with tags, as people are shown them.
    pub tags: Vec<String>,
    /// Its names with digests.
    pub digests: Vec<String>,
    /// Its layers' directories, the lowest first.
    pub layers: Vec<PathBuf>,
    /// What a registry means by the name that was asked for, or the manifest that it arrived with.
    pub target: Option<Descriptor>,
    /// All its manifests, if that was asked for.
    pub manifests: Option<Vec<InUse>>,
}

/// A step in the making of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryItem {
    /// The image's id for its last step, else `<missing>`.
    pub id: String,
    /// When; 0: it does not say.
    pub created: Nanos,
    /// By which command.
    pub created_by: String,
    /// Names of the image after this step.
    pub tags: Vec<String>,
    /// Bytes of the step's layer.
    pub size: u64,
    /// A message.
    pub comment: String,
}

impl Engine {
    /// Everything about one image; of several that its name has for different machines, about the one for `platform`.
    ///
    /// # Errors
    /// Not found, also if it is there for other platforms than the one asked for.
    pub fn inspect_image(&self, name: &str, platform: Option<&Platform>, manifests: bool) -> Result<Details> {
        let store = self.image_store()?;
        let Found { image, named, target } = resolve_named(&store, name, platform)?;
        let own = image.meta.manifests.first().map(|manifest| manifest.blob.clone());
        let target = if platform.is_some() { own.or(target) } else { target.or(own) };
        let users = using::all(self.home())?;
        let manifests = manifests.then(|| InUse::all(&store, &image.meta, target.as_ref(), &users));
        // Of an image beside the one that the name means, the name is the other's.
        let names = by_image(store.refs()?).remove(&named).unwrap_or_default();
        let shown = |tagged: bool| {
            let names = names.iter().filter(move |name| name.tag().is_some() == tagged);
            names.map(|name| name.familiar()).collect()
        };
        let layers = layers_of(&store, &image.chains());
        Ok(Details { tags: shown(true), digests: shown(false), layers, target, manifests, image })
    }

    /// How an image was made, the last step first.
    ///
    /// # Errors
    /// As [`Engine::inspect_image`]; or its configuration has more steps with a layer than it has layers.
    pub fn image_history(&self, name: &str, platform: Option<&Platform>) -> Result<Vec<HistoryItem>> {
        let details = self.inspect_image(name, platform, false)?;
        let mut layers = details.image.meta.layers.iter();
        let mut steps = Vec::new();
        for step in &details.image.config.history {
            let size = match step.empty_layer {
                Some(true) => 0,
                _ => match layers.next() {
                    Some(layer) => layer.size,
                    None => return Err(Error::Archive("too many non-empty layers in History section".to_owned())),
                },
            };
            steps.push(HistoryItem {
                id: "<missing>".to_owned(),
                created: step.created.as_deref().and_then(time::parse_rfc3339).unwrap_or(0),
                created_by: step.created_by.clone().unwrap_or_default(),
                tags: Vec::new(),
                size,
                comment: step.comment.clone().unwrap_or_default(),
            });
        }
        steps.reverse();
        if let Some(last) = steps.first_mut() {
            last.id.clone_from(&details.image.meta.id);
            last.tags.clone_from(&details.tags);
        }
        Ok(steps)
    }
}
