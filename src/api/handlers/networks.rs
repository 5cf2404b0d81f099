//! Networks and volumes: what there is of them.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::api::route::routes;
use crate::api::types::ById;
use crate::api::types::networks::{
    Connect, CreateNetwork, CreatedNetwork, Disconnect, Network, PrunedNetworks, VolumeList,
};
use crate::api::types::system::{ByName, FiltersQuery};
use crate::api::{ApiError, Cx, Empty, Json, Path, Query, Reply, compat};
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

/// `POST /networks/create`
pub async fn create(cx: Cx, body: Json<CreateNetwork>) -> Result<Reply<CreatedNetwork, 201>, ApiError> {
    let mut body = body.0;
    compat::create_network(cx.version(), &mut body);
    if body.ingress || body.config_only || body.config_from.as_ref().is_some_and(|from| !from.network.is_empty()) {
        let text = "networks of a swarm, and networks that are configurations of others, are not supported";
        return Err(ApiError::new(ErrorKind::NotImplemented, text));
    }
    if !matches!(body.scope.as_str(), "" | "local") {
        return Err(ApiError::bad_request(format!("invalid network scope: {}", body.scope)));
    }
    let (id, warnings) = cx.run(move |engine| engine.create_network(body.into())).await?;
    Ok(Reply(CreatedNetwork { id, warning: warnings.join("; ") }))
}

/// `DELETE /networks/{id}`
pub async fn remove(cx: Cx, path: Path<ById>) -> Result<Empty<204>, ApiError> {
    cx.run(move |engine| engine.remove_network(&path.id)).await.map(|()| Empty)
}

/// `POST /networks/prune`
pub async fn prune(cx: Cx, q: Query<FiltersQuery>) -> Result<Reply<PrunedNetworks>, ApiError> {
    let removed = cx.run(move |engine| engine.prune_networks(&q.0.filters)).await?;
    Ok(Reply(PrunedNetworks { networks_deleted: (!removed.is_empty()).then_some(removed) }))
}

/// `POST /networks/{id}/connect`
pub async fn connect(cx: Cx, path: Path<ById>, body: Json<Connect>) -> Result<Empty<200>, ApiError> {
    let Connect { container, endpoint_config } = body.0;
    let settings = compat::connection(cx.version(), endpoint_config.unwrap_or_default());
    cx.run(move |engine| engine.connect(&path.id, &container, settings)).await.map(|()| Empty)
}

/// `POST /networks/{id}/disconnect`
pub async fn disconnect(cx: Cx, path: Path<ById>, body: Json<Disconnect>) -> Result<Empty<200>, ApiError> {
    let Disconnect { container, force } = body.0;
    cx.run(move |engine| engine.disconnect(&path.id, &container, force)).await.map(|()| Empty)
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
    POST "/networks/create" since 24 "Create a network" => create, fails [400, 403, 404, 409, 501];
    POST "/networks/prune" since 25 "Remove the networks that nobody uses" => prune, fails [400];
    POST "/networks/{id}/connect" since 24 "Connect a container to a network" => connect, fails [400, 403, 404, 409];
    POST "/networks/{id}/disconnect" since 24 "Take a container out of a network" => disconnect, fails [400, 404, 409, 501];
    DELETE "/networks/{id}" since 24 "Remove a network" => remove, fails [400, 403, 404];
    GET "/networks/{id}" since 24 "Inspect a network" => inspect, fails [404];
    GET "/volumes" since 24 "List volumes" => volumes, fails [400];
    GET "/volumes/{name}" since 24 "Inspect a volume" => volume, fails [404];
}
