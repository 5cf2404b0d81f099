//! What is asked of registries.

use crate::api::route::routes;
use crate::api::types::images::ByName;
use crate::api::types::registry::{DistributionInspect, LoginReply};
use crate::api::{ApiError, Cx, Json, Path, Reply};
use crate::engine;
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

routes! { tag "Distribution";
    GET "/distribution/{name:.*}/json" since 30 "Ask a registry what it means by a name" => distribution, fails [404];
    POST "/auth" since 24 "Ask a registry whether it knows these credentials" => login, fails [401];
}
