//! Clusters and plugins: what a Docker engine outside a swarm, without plugins, answers.

use std::convert::Infallible;

use crate::api::route::routes;
use crate::api::types::system::{ByName, FiltersQuery, Plugin};
use crate::api::{ApiError, Cx, Path, Query, Reply};
use crate::model::ErrorKind;

routes! { tag "Swarm";
    GET "/swarm" since 24 "Inspect the swarm" => not_a_manager, fails [503];
    POST "/swarm/init" since 24 "Make a swarm" => no_swarm, fails [501];
    POST "/swarm/join" since 24 "Join a swarm" => no_swarm, fails [501];
    POST "/swarm/leave" since 24 "Leave the swarm" => not_in_a_swarm, fails [503];
    POST "/swarm/update" since 24 "Update the swarm" => not_a_manager, fails [503];
    GET "/swarm/unlockkey" since 24 "Get the unlock key" => not_a_manager, fails [503];
    POST "/swarm/unlock" since 24 "Unlock a manager" => not_a_manager, fails [503];
    GET "/nodes" since 24 "List nodes" => not_a_manager, fails [503];
    GET "/nodes/{id}" since 24 "Inspect a node" => not_a_manager, fails [503];
    DELETE "/nodes/{id}" since 24 "Remove a node" => not_a_manager, fails [503];
    POST "/nodes/{id}/update" since 24 "Update a node" => not_a_manager, fails [503];
    GET "/services" since 24 "List services" => not_a_manager, fails [503];
    POST "/services/create" since 24 "Create a service" => not_a_manager, fails [503];
    GET "/services/{id}" since 24 "Inspect a service" => not_a_manager, fails [503];
    DELETE "/services/{id}" since 24 "Remove a service" => not_a_manager, fails [503];
    POST "/services/{id}/update" since 24 "Update a service" => not_a_manager, fails [503];
    GET "/services/{id}/logs" since 25 "Read a service's logs" => not_a_manager, fails [503];
    GET "/tasks" since 24 "List tasks" => not_a_manager, fails [503];
    GET "/tasks/{id}" since 24 "Inspect a task" => not_a_manager, fails [503];
    GET "/tasks/{id}/logs" since 29 "Read a task's logs" => not_a_manager, fails [503];
    GET "/secrets" since 25 "List secrets" => not_a_manager, fails [503];
    POST "/secrets/create" since 25 "Create a secret" => not_a_manager, fails [503];
    GET "/secrets/{id}" since 25 "Inspect a secret" => not_a_manager, fails [503];
    DELETE "/secrets/{id}" since 25 "Remove a secret" => not_a_manager, fails [503];
    POST "/secrets/{id}/update" since 25 "Update a secret" => not_a_manager, fails [503];
    GET "/configs" since 30 "List configs" => not_a_manager, fails [503];
    POST "/configs/create" since 30 "Create a config" => not_a_manager, fails [503];
    GET "/configs/{id}" since 30 "Inspect a config" => not_a_manager, fails [503];
    DELETE "/configs/{id}" since 30 "Remove a config" => not_a_manager, fails [503];
    POST "/configs/{id}/update" since 30 "Update a config" => not_a_manager, fails [503];
    GET "/plugins" since 25 "List plugins" => plugins;
    GET "/plugins/privileges" since 25 "Ask what a plugin needs" => no_plugins, fails [501];
    POST "/plugins/pull" since 25 "Install a plugin" => no_plugins, fails [501];
    POST "/plugins/create" since 25 "Make a plugin" => no_plugins, fails [501];
    GET "/plugins/{name:.*}/json" since 25 "Inspect a plugin" => no_such_plugin, fails [404];
    POST "/plugins/{name:.*}/enable" since 25 "Enable a plugin" => no_such_plugin, fails [404];
    POST "/plugins/{name:.*}/disable" since 25 "Disable a plugin" => no_such_plugin, fails [404];
    POST "/plugins/{name:.*}/upgrade" since 26 "Upgrade a plugin" => no_such_plugin, fails [404];
    POST "/plugins/{name:.*}/push" since 25 "Push a plugin" => no_such_plugin, fails [404];
    POST "/plugins/{name:.*}/set" since 25 "Configure a plugin" => no_such_plugin, fails [404];
    DELETE "/plugins/{name:.*}" since 25 "Remove a plugin" => no_such_plugin, fails [404];
}

async fn not_a_manager(_: Cx) -> Result<Infallible, ApiError> {
    Err(ApiError::new(
        ErrorKind::Unavailable,
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to \
         swarm and try again.",
    ))
}

async fn not_in_a_swarm(_: Cx) -> Result<Infallible, ApiError> {
    Err(ApiError::new(ErrorKind::Unavailable, "This node is not part of a swarm"))
}

async fn no_swarm(_: Cx) -> Result<Infallible, ApiError> {
    Err(ApiError::new(ErrorKind::NotImplemented, "pierless serves one user on one host: it has no swarm mode"))
}

async fn plugins(_: Cx, _: Query<FiltersQuery>) -> Result<Reply<Vec<Plugin>>, ApiError> {
    Ok(Reply(Vec::new()))
}

async fn no_such_plugin(_: Cx, path: Path<ByName>) -> Result<Infallible, ApiError> {
    Err(ApiError::new(ErrorKind::NotFound, format!("plugin {:?} not found", path.name)))
}

async fn no_plugins(_: Cx) -> Result<Infallible, ApiError> {
    Err(ApiError::new(ErrorKind::NotImplemented, "pierless has no plugins"))
}
