//! Endpoints that give and take images as archives.

use std::io::Write;

use schemars::JsonSchema;
use serde::Deserialize;

use super::images::decode_platform;
use crate::api::route::routes;
use crate::api::types::images::ByName;
use crate::api::types::progress::ProgressLine;
use crate::api::{ApiError, Cx, JsonLines, Output, Path, Query, Stream, Tar, Upload, compat};
use crate::engine::{self, Engine};
use crate::image::outcome::Progress;
use crate::image::platform::Platform;

/// Query of `GET /images/{name}/get`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SaveQuery {
    /// Of images for several machines, those for these, each an OCI platform in JSON: one before API 1.52.
    pub platform: Vec<String>,
}

/// `GET /images/{name}/get`
pub async fn save(cx: Cx, path: Path<ByName>, q: Query<SaveQuery>) -> Result<Stream<Tar>, ApiError> {
    stream(cx, vec![path.0.name], q.0.platform).await
}

/// Query of `GET /images/get`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SaveManyQuery {
    /// Names, ids, or unambiguous beginnings of ids; a name without a tag means all tags of its repository.
    pub names: Vec<String>,
    /// Of images for several machines, those for these, each an OCI platform in JSON: one before API 1.52.
    pub platform: Vec<String>,
}

/// `GET /images/get`
pub async fn save_many(cx: Cx, q: Query<SaveManyQuery>) -> Result<Stream<Tar>, ApiError> {
    stream(cx, q.0.names, q.0.platform).await
}

async fn stream(cx: Cx, names: Vec<String>, platforms: Vec<String>) -> Result<Stream<Tar>, ApiError> {
    let platforms = chosen_platforms(&cx, platforms)?;
    if names.is_empty() {
        return Err(ApiError::bad_request("no image is named that should be saved"));
    }
    cx.stream(move |engine: &Engine, out: &mut Output| {
        let archive = engine.save_images(&names, &platforms)?;
        out.flush()?;
        archive.write(out).map_err(engine::Error::from)
    })
    .await
}

fn chosen_platforms(cx: &Cx, platforms: Vec<String>) -> Result<Vec<Platform>, ApiError> {
    compat::archive_platforms(cx.version(), platforms)?.iter().map(|text| decode_platform(text)).collect()
}

/// Query of `POST /images/load`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LoadQuery {
    /// Tell only what was loaded: so unless it is false.
    pub quiet: Option<bool>,
    /// Of images for several machines, those for these, each an OCI platform in JSON: one before API 1.52.
    pub platform: Vec<String>,
}

/// `POST /images/load`
pub async fn load(cx: Cx, q: Query<LoadQuery>, body: Upload) -> Result<Stream<JsonLines<ProgressLine>>, ApiError> {
    let platforms = chosen_platforms(&cx, q.0.platform)?;
    let quiet = q.0.quiet.unwrap_or(true);
    let load = move |engine: &Engine, out: &mut Output| {
        // A client that is gone does not break off what it asked for: its archive is whole by then or fails by itself.
        let mut tell = |progress: Progress| {
            if let Some(line) = ProgressLine::of(progress, quiet) {
                let _ = out.json(&line);
            }
        };
        let loaded = engine.load_images(body, &platforms, &mut tell);
        // As in dockerd, whatever is wrong with an archive is told in the stream: clients look for it there.
        let _ = out.flush();
        loaded?;
        Ok(())
    };
    cx.stream(load).await
}

routes! { tag "Image";
    GET "/images/get" since 24 "Save images as one archive" => save_many, fails [404];
    GET "/images/{name:.*}/get" since 24 "Save an image as an archive" => save, fails [404];
    POST "/images/load" since 24 "Load images from an archive" => load;
}
