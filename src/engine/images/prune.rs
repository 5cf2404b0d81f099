//! Removes images that nobody uses.

use crate::engine::Engine;
use crate::image::{Error, Result};
use crate::model::filters::{FilterError, Filters};
use crate::model::time;
use crate::state::events::Event;

use super::list::{ListOptions, by_image};
use super::remove::{Removal, RemovedImages};
use super::using;

impl Engine {
    /// Removes images that no container uses: those without a name, with `dangling=false` all.
    ///
    /// # Errors
    /// Invalid parameter for an unknown filter or value.
    pub fn prune_images(&self, filters: &Filters) -> Result<RemovedImages> {
        filters.allow(&["dangling", "label", "label!", "until"])?;
        let only_dangling = filters.flag("dangling")?.unwrap_or(true);
        let mut until = None;
        for text in filters.get("until") {
            let bad = || FilterError::Value("until".to_owned(), text.clone());
            until = Some(time::parse_moment(text, time::now()).ok_or_else(bad)?);
        }
        let candidates = self.list_images(&ListOptions { all: false, ..ListOptions::default() })?;
        let names = by_image(self.image_store()?.refs()?);
        let mut removal = Removal::begin(self)?;
        let users = using::all(self.home())?;
        for image in candidates {
            let meta = &image.meta;
            let own = names.get(&meta.id).map(Vec::as_slice).unwrap_or_default();
            let used = users.iter().any(|user| user.image_id == meta.id);
            let young = until.is_some_and(|until| meta.created > until);
            let labels = filters.labels(&meta.labels) && filters.without_labels(&meta.labels);
            if used || young || !labels || (only_dangling && own.iter().any(|name| name.tag().is_some())) {
                continue;
            }
            // By name where it has names, so that the last one takes the image with it.
            let targets = match own {
                [] => vec![meta.id.clone()],
                own => own.iter().map(ToString::to_string).collect(),
            };
            for target in targets {
                match removal.remove(&target, false, true) {
                    Err(Error::Conflict(_) | Error::Missing(_)) | Ok(()) => {}
                    Err(err) => tracing::warn!("image not pruned: {err}"),
                }
            }
        }
        let removed = removal.end(self)?;
        let attributes = [("reclaimed".to_owned(), removed.reclaimed.to_string())].into();
        self.tell(&Event::new("image", "prune", "", attributes));
        Ok(removed)
    }
}
