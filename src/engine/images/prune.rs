//! Removes images that nobody uses.

use crate::engine::Engine;
use crate::image::{Error, Result};
use crate::model::filters::{FilterError, Filters};
use crate::model::reference::Reference;
use crate::model::time;
use crate::state::events::Event;

use super::list::{ListOptions, by_image};
use super::remove::{Removal, RemovedImages};
use super::using::{self, User};

impl Engine {
    /// Removes images that no container uses: those without a name, with `dangling=false` all. Of one that is in use, the
    /// names go by which no container was made; one name stays in any case.
    ///
    /// # Errors
    /// Invalid parameter for an unknown filter or value.
    pub fn prune_images(&self, filters: &Filters) -> Result<RemovedImages> {
        filters.allow(&["dangling", "label", "label!", "until"])?;
        let only_dangling = filters.flag("dangling")?.unwrap_or(true);
        if filters.get("until").len() > 1 {
            return Err(Error::Invalid("more than one until filter specified".to_owned()));
        }
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
            let users: Vec<&User> = users.iter().filter(|user| user.image_id == meta.id).collect();
            let young = until.is_some_and(|until| meta.created > until);
            let labels = filters.labels(&meta.labels) && filters.without_labels(&meta.labels);
            let tagged = own.iter().any(|name| name.tag().is_some());
            if young || !labels || (only_dangling && (tagged || !users.is_empty())) {
                continue;
            }
            let kept = kept(own, &users);
            // By name where it has names, so that the last one takes the image with it.
            let targets = match own {
                [] if users.is_empty() => vec![meta.id.clone()],
                own => own.iter().filter(|name| !stays(name, &kept)).map(ToString::to_string).collect(),
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

/// Those of an image's names that its users know it by; the last one if they know it by its id.
fn kept<'a>(own: &'a [Reference], users: &[&User]) -> Vec<&'a Reference> {
    let mut kept: Vec<&Reference> = own.iter().filter(|name| users.iter().any(|user| user.named(name))).collect();
    if kept.is_empty() && !users.is_empty() {
        let mut sorted: Vec<&Reference> = own.iter().collect();
        sorted.sort_by_key(|name| (name.tag().is_some(), name.to_string()));
        kept.extend(sorted.pop());
    }
    kept
}

/// Names with digests stay with the tag that they came with.
fn stays(name: &Reference, kept: &[&Reference]) -> bool {
    kept.iter().any(|kept| *kept == name || (name.tag().is_none() && kept.name() == name.name()))
}
