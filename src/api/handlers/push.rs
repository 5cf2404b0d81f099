//! Pushing images, and what is stated about them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::images::oci_platform;
use super::registry::asker;
use crate::api::route::routes;
use crate::api::types::images::ByName;
use crate::api::types::progress::ProgressLine;
use crate::api::types::registry::AttestationStatement;
use crate::api::{ApiError, Cx, JsonLines, Path, Query, Reply, Stream, compat};
use crate::engine;
use crate::engine::images::TransferRequest;
use crate::image::attestations::Wanted;
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
    let request = TransferRequest { name, tag, platform, credentials: asker(&cx) };
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

/// Query of `GET /images/{name}/attestations`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AttestationsQuery {
    /// The one machine whose image is meant, as an OCI platform in JSON; none: this one.
    pub platform: Vec<String>,
    /// Kinds of statements; none: all.
    pub r#type: Vec<String>,
    /// Bring the statements, too.
    pub statement: bool,
}

/// `GET /images/{name}/attestations`
pub async fn attestations(
    cx: Cx,
    path: Path<ByName>,
    q: Query<AttestationsQuery>,
) -> Result<Reply<Vec<AttestationStatement>>, ApiError> {
    let (q, credentials) = (q.0, asker(&cx));
    let platform = match q.platform.as_slice() {
        [] => None,
        [one] => oci_platform(one)?,
        _ => return Err(ApiError::bad_request("only one platform value is currently supported")),
    };
    let kinds = q.r#type.iter().map(|kind| kind.trim().to_owned()).filter(|kind| !kind.is_empty()).collect();
    let wanted = Wanted { platform, kinds, bodies: q.statement };
    let found = cx.run(move |engine| Ok(engine.image_attestations(&path.name, &wanted, credentials)?)).await?;
    Ok(Reply(found.into_iter().map(Into::into).collect()))
}

routes! { tag "Image";
    GET "/images/{name:.*}/attestations" since 55 "Tell what is stated about an image" => attestations, fails [401, 404];
    POST "/images/{name:.*}/push" since 24 "Push an image to a registry" => push, fails [404];
}
