//! What takes how much room.

use schemars::JsonSchema;
use serde::Deserialize;

use super::containers::sizes;
use crate::api::route::routes;
use crate::api::types::containers::Summary;
use crate::api::types::images::ImageSummary;
use crate::api::types::usage::{DiskUsage, Usage};
use crate::api::{ApiError, Cx, Query, Reply, compat};
use crate::engine::containers::ListOptions;
use crate::engine::images;

routes! { tag "System";
    GET "/system/df" since 25 "Measure what takes how much room" => usage;
}

/// What `system/df` can be asked for.
const KINDS: [&str; 4] = ["container", "image", "volume", "build-cache"];

/// Query of `GET /system/df`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct UsageQuery {
    /// What to measure: `container`, `image`, `volume`, `build-cache`; none: all.
    pub r#type: Vec<String>,
    /// Whether to tell every object: from API 1.52 on.
    pub verbose: bool,
}

async fn usage(cx: Cx, query: Query<UsageQuery>) -> Result<Reply<DiskUsage>, ApiError> {
    let version = cx.version();
    let kinds = if compat::usage_by_type(version) { query.0.r#type } else { Vec::new() };
    if let Some(unknown) = kinds.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
        return Err(ApiError::bad_request(format!("unknown object type: {unknown}")));
    }
    let shape = compat::usage_shape(version, query.0.verbose);
    let wants = move |kind: &str| kinds.is_empty() || kinds.iter().any(|other| other == kind);
    cx.run(move |engine| {
        let (mut list, mut containers, mut layers) = (None, None, 0);
        if wants("image") {
            layers = engine.layers_size()?;
            let options = images::ListOptions { shared_size: true, ..images::ListOptions::default() };
            let one = |image| compat::image_usage(version, ImageSummary::of(image, false));
            list = Some(engine.list_images(&options)?.into_iter().map(one).collect::<Vec<_>>());
        }
        if wants("container") {
            let views = engine.list(&ListOptions { all: true, ..ListOptions::default() })?;
            let one = |view| compat::container_summary(version, Summary::of(view, sizes(engine, view, true)));
            containers = Some(views.iter().map(one).collect::<Vec<_>>());
        }
        let none = |kind| wants(kind).then(Vec::new);
        let (volumes, build_cache) = (none("volume"), none("build-cache"));
        let mut usage = DiskUsage::default();
        if shape.sums {
            usage.image_usage = list.as_ref().map(|list| Usage::of_images(list, layers, shape.items));
            usage.container_usage = containers.as_ref().map(|list| Usage::of_containers(list, shape.items));
            usage.volume_usage = volumes.as_ref().map(|list| Usage::of(list, shape.items));
            usage.build_cache_usage = build_cache.as_ref().map(|list| Usage::of(list, shape.items));
        }
        if shape.lists {
            usage.layers_size = Some(layers);
            // What was not asked for is null, or left out beside sums.
            let old = !shape.sums;
            usage.images = (old || list.is_some()).then_some(list);
            usage.containers = (old || containers.is_some()).then_some(containers);
            usage.volumes = (old || volumes.is_some()).then_some(volumes);
            usage.build_cache = (old || build_cache.is_some()).then_some(build_cache);
        }
        Ok(usage)
    })
    .await
    .map(Reply)
}
