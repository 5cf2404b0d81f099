//! What is asked of registries.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::api::route::routes;
use crate::api::types::images::ByName;
use crate::api::types::registry::{DistributionInspect, LoginReply, SearchResult};
use crate::api::{ApiError, Cx, Json, Path, Query, Reply};
use crate::engine::{self, Engine};
use crate::model::filters::Filters;
use crate::registry::Credentials;

/// Who asks a registry, by `X-Registry-Auth`; nobody without it.
pub(super) fn asker(cx: &Cx) -> Credentials {
    cx.header("x-registry-auth").map(Credentials::from_header).unwrap_or_default()
}

/// `POST /auth`
pub async fn login(cx: Cx, body: Json<Credentials>) -> Result<Reply<LoginReply>, ApiError> {
    let credentials = body.0;
    cx.run(move |engine| engine.login(credentials).map_err(engine::Error::from)).await?;
    Ok(Reply(LoginReply { status: "Login Succeeded".to_owned(), identity_token: String::new() }))
}

/// `GET /distribution/{name}/json`
pub async fn distribution(cx: Cx, path: Path<ByName>) -> Result<Reply<DistributionInspect>, ApiError> {
    let credentials = asker(&cx);
    let found = cx.run(move |engine| Ok(engine.inspect_distribution(&path.name, credentials)?)).await?;
    Ok(Reply(found.into()))
}

/// Query of `GET /images/search`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SearchQuery {
    /// What to look for; with a registry before it, there.
    pub term: String,
    /// At most so many, up to 100; 25 if it is not given.
    pub limit: i64,
    /// Docker's filters, as JSON.
    pub filters: Filters,
}

/// `GET /images/search`
pub async fn search(cx: Cx, q: Query<SearchQuery>) -> Result<Reply<Vec<SearchResult>>, ApiError> {
    let (q, credentials) = (q.0, asker(&cx));
    let search = move |engine: &Engine| Ok(engine.search_images(&q.term, q.limit, &q.filters, credentials)?);
    Ok(Reply(cx.run(search).await?.into_iter().map(Into::into).collect()))
}

routes! { tag "Distribution";
    GET "/images/search" since 24 "Search a registry" => search, fails [401];
    GET "/distribution/{name:.*}/json" since 30 "Ask a registry what it means by a name" => distribution, fails [404];
    POST "/auth" since 24 "Ask a registry whether it knows these credentials" => login, fails [401];
}
