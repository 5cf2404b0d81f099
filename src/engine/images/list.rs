//! Lists images.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::Engine;
use crate::image::meta::{Descriptor, ImageMeta};
use crate::image::refs::Ref;
use crate::image::{Error, Result, Store};
use crate::model::filters::{FilterError, Filters};
use crate::model::reference::Reference;
use crate::model::time;

use super::using::InUse;
use super::{glob, using};

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Also images that only other images' making left behind.
    pub all: bool,
    /// `reference`, `dangling`, `label`, `label!`, `before`, `since`, `until`.
    pub filters: Filters,
    /// Work out how much each shares with others.
    pub shared_size: bool,
    /// Tell all manifests of each.
    pub manifests: bool,
}

/// An image in a list.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Its record.
    pub meta: ImageMeta,
    /// Its names with tags, as people are shown them.
    pub tags: Vec<String>,
    /// Its names with digests.
    pub digests: Vec<String>,
    /// Bytes of layers that other images have too, if that was asked for.
    pub shared_size: Option<u64>,
    /// How many containers use it.
    pub containers: u64,
    /// What a registry means by its first name, or what it arrived with.
    pub target: Option<Descriptor>,
    /// All its manifests, if that was asked for.
    pub manifests: Option<Vec<InUse>>,
}

impl Engine {
    /// Lists images, the newest first.
    ///
    /// # Errors
    /// Invalid parameter for an unknown filter or value; not found for an image that a filter names.
    pub fn list_images(&self, options: &ListOptions) -> Result<Vec<Summary>> {
        let filters = &options.filters;
        filters.allow(&["reference", "dangling", "label", "label!", "before", "since", "until"])?;
        let store = self.image_store()?;
        let window = Window::of(&store, filters)?;
        let dangling = filters.flag("dangling")?;
        for pattern in filters.get("reference") {
            if glob::matches(pattern, "").is_none() {
                return Err(Error::Invalid("syntax error in pattern".to_owned()));
            }
        }
        let metas = store.metas()?;
        let parents: BTreeSet<String> = metas.iter().map(|meta| meta.parent.clone()).collect();
        let refs = store.refs()?;
        // To find these is to read indexes: only where an image has no name.
        let nameless = metas.iter().any(|meta| !refs.iter().any(|one| one.id == meta.id));
        let beside = if nameless && !options.all { store.beside(&refs) } else { BTreeMap::new() };
        let mut targets: BTreeMap<String, Descriptor> = BTreeMap::new();
        for one in &refs {
            if let Some(target) = &one.target {
                targets.entry(one.id.clone()).or_insert_with(|| target.clone());
            }
        }
        let mut names = by_image(refs);
        let users = using::all(self.home())?;
        let shares = options.shared_size.then(|| count_layers(&metas));
        let mut list = Vec::new();
        for meta in metas {
            if beside.contains_key(&meta.id)
                || !window.has(&meta)
                || !filters.labels(&meta.labels)
                || !filters.without_labels(&meta.labels)
            {
                continue;
            }
            let all = names.remove(&meta.id).unwrap_or_default();
            let kept: Vec<&Reference> =
                all.iter().filter(|name| filters.any("reference", |pattern| fits(pattern, name))).collect();
            let shown = match (kept.is_empty(), dangling) {
                (true, Some(false)) => false,
                (true, _) if !filters.get("reference").is_empty() => false,
                (true, _) => options.all || !parents.contains(&meta.id),
                (false, Some(true)) => kept.iter().all(|name| name.tag().is_none()),
                (false, _) => true,
            };
            if !shown {
                continue;
            }
            let shown = |tagged: bool| {
                let kept = kept.iter().filter(move |name| name.tag().is_some() == tagged);
                kept.map(|name| name.familiar()).collect()
            };
            let shared = shares.as_ref().map(|counts| {
                let shared = meta.layers.iter().filter(|layer| counts.get(&layer.chain).is_some_and(|n| *n > 1));
                shared.map(|layer| layer.size).sum()
            });
            let containers = users.iter().filter(|user| user.image_id == meta.id).count() as u64;
            let (tags, digests) = (shown(true), shown(false));
            let target = targets.remove(&meta.id).or_else(|| Some(meta.manifests.first()?.blob.clone()));
            let manifests = options.manifests.then(|| InUse::all(&store, &meta, target.as_ref(), &users));
            list.push(Summary { tags, digests, shared_size: shared, containers, target, manifests, meta });
        }
        list.sort_by(|a, b| b.meta.created.cmp(&a.meta.created).then_with(|| a.meta.id.cmp(&b.meta.id)));
        Ok(list)
    }

    /// Bytes of all layers, each counted once.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn layers_size(&self) -> Result<u64> {
        let mut layers = BTreeMap::new();
        for meta in self.image_store()?.metas()? {
            layers.extend(meta.layers.into_iter().map(|layer| (layer.chain, layer.size)));
        }
        Ok(layers.values().sum())
    }
}

fn count_layers(metas: &[ImageMeta]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for layer in metas.iter().flat_map(|meta| &meta.layers) {
        *counts.entry(layer.chain.clone()).or_default() += 1;
    }
    counts
}

/// Names by the id of their image.
pub(super) fn by_image(refs: Vec<Ref>) -> BTreeMap<String, Vec<Reference>> {
    let mut names = BTreeMap::<String, Vec<Reference>>::new();
    for one in refs {
        names.entry(one.id).or_default().push(one.name);
    }
    names
}

/// As Docker's clients expect: the pattern is for the name as shown or in full, with or without the tag.
fn fits(pattern: &str, name: &Reference) -> bool {
    let matches = |text: &str| glob::matches(pattern, text) == Some(true);
    [name.familiar(), name.familiar_name(), name.to_string(), name.name()].iter().any(|text| matches(text))
}

/// The span of time in which an image must have been made.
struct Window {
    after: Option<i64>,
    before: Option<i64>,
}

impl Window {
    fn of(store: &Store, filters: &Filters) -> Result<Self> {
        let made = |name: &String| -> Result<i64> { Ok(store.meta(&store.find(name)?)?.created) };
        let after = filters.get("since").iter().map(made).collect::<Result<Vec<_>>>()?.into_iter().max();
        let mut before = filters.get("before").iter().map(made).collect::<Result<Vec<_>>>()?;
        for text in filters.get("until") {
            let bad = || FilterError::Value("until".to_owned(), text.clone());
            before.push(time::parse_moment(text, time::now()).ok_or_else(bad)?);
        }
        Ok(Self { after, before: before.into_iter().min() })
    }

    fn has(&self, meta: &ImageMeta) -> bool {
        self.after.is_none_or(|after| meta.created > after) && self.before.is_none_or(|before| meta.created < before)
    }
}
