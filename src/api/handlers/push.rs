//! Pushing images.

use schemars::JsonSchema;
use serde::Deserialize;

use super::images::oci_platform;
use super::registry::asker;
use crate::api::route::routes;
use crate::api::types::images::ByName;
use crate::api::types::progress::ProgressLine;
use crate::api::{ApiError, Cx, JsonLines, Path, Query, Stream, compat};
use crate::engine;
use crate::engine::images::PushRequest;
use crate::image::push::Step;

/// Query of `POST /images/{name}/push`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PushQuery {
    /// Which tag; empty: the name's own, or all.
    pub tag: String,
    /// The one machine whose image is meant, as an OCI platform in JSON.
    pub platform: String,
}

/// `POST /images/{name}/push`
pub async fn push(
    cx: Cx,
    path: Path<ByName>,
    q: Query<PushQuery>,
) -> Result<Stream<JsonLines<ProgressLine>>, ApiError> {
    let platform = match compat::pushes_for_platform(cx.version()) {
        true => oci_platform(&q.platform)?,
        false => None,
    };
    let (name, tag) = (path.0.name, q.0.tag);
    let request = PushRequest { name, tag, platform, credentials: asker(&cx) };
    // What can be no name is told by a status, all else in the stream, as dockerd does.
    request.wanted().map_err(engine::Error::from)?;
    cx.stream(move |engine, out| {
        let gone = out.gone_owned()?;
        let mut tell = |step: Step| Vec::<ProgressLine>::from(step).iter().for_each(|line| drop(out.json(line)));
        engine.push_image(request, Some(gone), &mut tell)?;
        Ok(())
    })
    .await
}

routes! { tag "Image";
    POST "/images/{name:.*}/push" since 24 "Push an image to a registry" => push, fails [404];
}
