//! Image endpoints.

use schemars::JsonSchema;
use serde::Deserialize;

use super::registry::asker;
use crate::api::json;
use crate::api::route::routes;
use crate::api::types::images::{ByName, DeleteItem, HistoryItem, ImageInspect, ImageSummary, ImagesPruneReply};
use crate::api::types::progress::ProgressLine;
use crate::api::{ApiError, Cx, Empty, JsonLines, Path, Query, Reply, Stream, Upload, compat};
use crate::engine::images::{ListOptions, TransferRequest, parse_platform, repository_and_tag};
use crate::engine::{self, Engine};
use crate::image::import::Import;
use crate::image::platform::Platform;
use crate::image::pull::Step;
use crate::image::staging::Staging;
use crate::model::filters::Filters;

/// Query of `GET /images/json`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ListQuery {
    /// Also images that only the making of other images left behind.
    pub all: bool,
    /// Docker's filters, as JSON.
    pub filters: Filters,
    /// Before API 1.25, a pattern for the name.
    pub filter: String,
    /// Work out how much each image shares with others: from API 1.42 on.
    #[serde(rename = "shared-size")]
    pub shared_size: bool,
    /// Tell all manifests of each image: from API 1.47 on.
    pub manifests: bool,
    /// Tell where each manifest's image came from: from API 1.54 on, and with `manifests` only.
    pub identity: bool,
    /// Digests are always told.
    pub digests: bool,
}

/// `GET /images/json`
pub async fn list(cx: Cx, q: Query<ListQuery>) -> Result<Reply<Vec<ImageSummary>>, ApiError> {
    let (q, version) = (q.0, cx.version());
    let filters = compat::images_name_filter(version, q.filters, q.filter);
    let has = compat::images_list_features(version);
    let identity = q.identity && has.identity;
    let (shared_size, manifests) = (q.shared_size && has.shared_size, q.manifests && has.manifests);
    if identity && !manifests {
        return Err(ApiError::bad_request("conflicting options: identity requires manifests=1"));
    }
    let options = ListOptions { all: q.all, filters, shared_size, manifests };
    let images = cx.run(move |engine| Ok(engine.list_images(&options)?)).await?;
    let one = |image| compat::image_summary(version, ImageSummary::of(image, identity));
    Ok(Reply(images.into_iter().map(one).collect()))
}

/// Query of `GET /images/{name}/json`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InspectQuery {
    /// Tell all its manifests: from API 1.48 on.
    pub manifests: bool,
    /// The platform, as an OCI platform in JSON, that it must be for: from API 1.49 on.
    pub platform: String,
}

/// `GET /images/{name}/json`
pub async fn inspect(cx: Cx, path: Path<ByName>, q: Query<InspectQuery>) -> Result<Reply<ImageInspect>, ApiError> {
    let version = cx.version();
    let platform = match compat::inspects_image_for_platform(version) {
        true => oci_platform(&q.platform)?,
        false => None,
    };
    let manifests = q.manifests && compat::inspects_manifests(version);
    if manifests && platform.is_some() {
        let text = "conflicting options: manifests and platform options cannot both be set";
        return Err(ApiError::bad_request(text));
    }
    let details = cx.run(move |engine| Ok(engine.inspect_image(&path.name, platform.as_ref(), manifests)?)).await?;
    Ok(Reply(compat::image_inspect(version, details.into())))
}

/// Query of `GET /images/{name}/history`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HistoryQuery {
    /// The platform, as an OCI platform in JSON, that it must be for.
    pub platform: String,
}

/// `GET /images/{name}/history`
pub async fn history(cx: Cx, path: Path<ByName>, q: Query<HistoryQuery>) -> Result<Reply<Vec<HistoryItem>>, ApiError> {
    let platform = match compat::history_for_platform(cx.version()) {
        true => oci_platform(&q.platform)?,
        false => None,
    };
    let steps = cx.run(move |engine| Ok(engine.image_history(&path.name, platform.as_ref())?)).await?;
    Ok(Reply(steps.into_iter().map(Into::into).collect()))
}

/// An OCI platform in JSON; empty is none.
pub(super) fn oci_platform(text: &str) -> Result<Option<Platform>, ApiError> {
    if text.is_empty() { Ok(None) } else { decode_platform(text).map(Some) }
}

/// An OCI platform in JSON.
pub(super) fn decode_platform(text: &str) -> Result<Platform, ApiError> {
    let platform: Platform = json::whole(text.as_bytes())
        .map_err(|err| ApiError::bad_request(format!("failed to parse platform: {err}")))?;
    match (platform.os.is_empty(), platform.architecture.is_empty()) {
        (false, false) => Ok(platform),
        (true, true) if !platform.variant.is_empty() => {
            let text = "optional platform fields provided, but OS and Architecture are missing";
            Err(ApiError::bad_request(text))
        }
        _ => Err(ApiError::bad_request("both OS and Architecture must be provided")),
    }
}

/// Query of `POST /images/{name}/tag`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TagQuery {
    /// The repository of the new name.
    pub repo: String,
    /// Its tag; empty: `latest`.
    pub tag: String,
}

/// `POST /images/{name}/tag`
pub async fn tag(cx: Cx, path: Path<ByName>, q: Query<TagQuery>) -> Result<Empty<201>, ApiError> {
    cx.run(move |engine| Ok(engine.tag_image(&path.name, &q.repo, &q.tag)?)).await?;
    Ok(Empty)
}

/// Query of `DELETE /images/{name}`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RemoveQuery {
    /// Even if it has several names or stopped containers use it.
    pub force: bool,
    /// Leave its nameless parents.
    pub noprune: bool,
    /// Only its images for these machines, each an OCI platform in JSON: from API 1.50 on, and with `force` only.
    pub platforms: Vec<String>,
}

/// `DELETE /images/{name}`
pub async fn remove(cx: Cx, path: Path<ByName>, q: Query<RemoveQuery>) -> Result<Reply<Vec<DeleteItem>>, ApiError> {
    let platforms = match compat::removes_platforms(cx.version()) {
        true => q.platforms.iter().map(|text| decode_platform(text)).collect::<Result<Vec<_>, _>>()?,
        false => Vec::new(),
    };
    if path.name.trim().is_empty() {
        return Err(ApiError::bad_request("image name cannot be blank"));
    }
    if !platforms.is_empty() && !q.force {
        return Err(ApiError::bad_request(
            "Content will be removed from all images referencing this variant. Use —-force to force delete.",
        ));
    }
    let remove = move |engine: &Engine| match platforms.as_slice() {
        [] => Ok(engine.remove_image(&path.name, q.force, !q.noprune)?),
        platforms => Ok(engine.remove_platforms(&path.name, platforms)?),
    };
    let removed = cx.run(remove).await?;
    clear(&cx, removed.leftovers);
    Ok(Reply(removed.items.into_iter().map(Into::into).collect()))
}

/// Removes files that nobody sees any more beside the answer; the process stays for it.
fn clear(cx: &Cx, leftovers: Staging) {
    let cx = cx.clone();
    tokio::spawn(async move {
        let removal = move |_: &Engine| {
            drop(leftovers);
            Ok(())
        };
        let _ = cx.run(removal).await;
    });
}

/// Query of `POST /images/prune`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PruneQuery {
    /// Docker's filters, as JSON.
    pub filters: Filters,
}

/// `POST /images/prune`
pub async fn prune(cx: Cx, q: Query<PruneQuery>) -> Result<Reply<ImagesPruneReply>, ApiError> {
    let pruned = cx.run(move |engine| Ok(engine.prune_images(&q.filters)?)).await?;
    clear(&cx, pruned.leftovers);
    let items: Vec<DeleteItem> = pruned.items.into_iter().map(Into::into).collect();
    let images_deleted = (!items.is_empty()).then_some(items);
    Ok(Reply(ImagesPruneReply { images_deleted, space_reclaimed: pruned.reclaimed }))
}

/// Query of `POST /images/create`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CreateQuery {
    /// An image to pull.
    #[serde(rename = "fromImage")]
    pub from_image: String,
    /// `-`: a root file system in the body; else the address of one.
    #[serde(rename = "fromSrc")]
    pub from_src: String,
    /// Name of the imported image.
    pub repo: String,
    /// Its tag.
    pub tag: String,
    /// A message for its history.
    pub message: String,
    /// Instructions of a Dockerfile that change its configuration.
    pub changes: Vec<String>,
    /// `os[/architecture[/variant]]`.
    pub platform: String,
}

/// `POST /images/create`
pub async fn create(cx: Cx, q: Query<CreateQuery>, body: Upload) -> Result<Stream<JsonLines<ProgressLine>>, ApiError> {
    let q = q.0;
    if !q.from_image.is_empty() {
        return pull(cx, q).await;
    }
    if q.from_src.is_empty() {
        return Err(ApiError::bad_request("one of fromImage and fromSrc is needed"));
    }
    let name = || match q.repo.as_str() {
        "" => Ok(None),
        repo => repository_and_tag(repo, &q.tag).map(Some),
    };
    let platform = || match q.platform.as_str() {
        "" => Ok(None),
        text => parse_platform(text).map(Some),
    };
    let import = Import {
        name: name().map_err(engine::Error::from)?,
        platform: platform().map_err(engine::Error::from)?,
        source: q.from_src,
        message: q.message,
        changes: q.changes,
    };
    cx.stream(move |engine, out| {
        let image = if import.source == "-" {
            engine.import_image(body, import)?
        } else {
            let gone = out.gone_owned()?;
            engine.import_from(import, Some(gone), &mut |far| drop(out.json(&ProgressLine::from(far))))?
        };
        Ok(out.json(&ProgressLine::status(image.id))?)
    })
    .await
}

async fn pull(cx: Cx, q: CreateQuery) -> Result<Stream<JsonLines<ProgressLine>>, ApiError> {
    let platform = match q.platform.as_str() {
        "" => None,
        text => Some(parse_platform(text).map_err(engine::Error::from)?),
    };
    // `docker pull -a` of old ends the name so.
    let name = q.from_image.strip_suffix(':').unwrap_or(&q.from_image).to_owned();
    let request = TransferRequest { name, tag: q.tag, platform, credentials: asker(&cx) };
    cx.stream(move |engine, out| {
        let gone = out.gone_owned()?;
        let mut tell = |step: Step| Vec::<ProgressLine>::from(step).iter().for_each(|line| drop(out.json(line)));
        engine.pull_image(request, Some(gone), &mut tell)?;
        Ok(())
    })
    .await
}

routes! { tag "Image";
    GET "/images/json" since 24 "List images" => list;
    POST "/images/create" since 24 "Pull an image from a registry, or import one from a root file system" => create, fails [403, 404];
    POST "/images/prune" since 25 "Remove images that nobody uses" => prune;
    GET "/images/{name:.*}/json" since 24 "Inspect an image" => inspect, fails [404];
    GET "/images/{name:.*}/history" since 24 "Tell how an image was made" => history, fails [404];
    POST "/images/{name:.*}/tag" since 24 "Give an image another name" => tag, fails [404, 409];
    DELETE "/images/{name:.*}" since 24 "Remove an image or a name of it" => remove, fails [404, 409];
}
