//! Networks and volumes: what there is of them.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::api::route::routes;
use crate::api::types::ById;
use crate::api::types::networks::{Network, VolumeList};
use crate::api::types::system::{ByName, FiltersQuery};
use crate::api::{ApiError, Cx, Path, Query, Reply};
use crate::engine::Engine;
use crate::model::ErrorKind;

/// `GET /networks`
pub async fn list(cx: Cx, q: Query<FiltersQuery>) -> Result<Reply<Vec<Network>>, ApiError> {
    let list = move |engine: &Engine| {
        let since = engine.networks_since();
        let networks = engine.networks(&q.0.filters)?;
        Ok(networks.iter().map(|network| Network::of(network, since, &[])).collect())
    };
    cx.run(list).await.map(Reply)
}

/// Query of `GET /networks/{id}`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InspectQuery {
    /// With what a swarm knows of it; there is none.
    pub verbose: bool,
    /// `swarm`, `global` or `local`; empty: any.
    pub scope: String,
}

/// `GET /networks/{id}`
pub async fn inspect(cx: Cx, path: Path<ById>, q: Query<InspectQuery>) -> Result<Reply<Network>, ApiError> {
    let inspect = move |engine: &Engine| {
        if !matches!(q.0.scope.as_str(), "" | "local") {
            return Err(crate::engine::networks::not_found(&path.id));
        }
        let network = engine.network(&path.id)?;
        Ok(Network::of(&network, engine.networks_since(), &engine.network_containers(&network)?))
    };
    cx.run(inspect).await.map(Reply)
}

/// `GET /volumes`
pub async fn volumes(cx: Cx, q: Query<FiltersQuery>) -> Result<Reply<VolumeList>, ApiError> {
    cx.run(move |engine| engine.volumes(&q.0.filters)).await.map(|()| Reply(VolumeList::default()))
}

/// `GET /volumes/{name}`
pub async fn volume(_: Cx, path: Path<ByName>) -> Result<std::convert::Infallible, ApiError> {
    Err(ApiError::new(ErrorKind::NotFound, format!("get {}: no such volume", path.name)))
}

routes! { tag "Network";
    GET "/networks" since 24 "List networks" => list, fails [400];
    GET "/networks/{id}" since 24 "Inspect a network" => inspect, fails [404];
    GET "/volumes" since 24 "List volumes" => volumes, fails [400];
    GET "/volumes/{name}" since 24 "Inspect a volume" => volume, fails [404];
}
