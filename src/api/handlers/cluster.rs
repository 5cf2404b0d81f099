//! Clusters and plugins: what a Docker engine outside a swarm, without plugins, answers.

use std::convert::Infallible;

use crate::api::reply::Reply;
use crate::api::route::routes;
use crate::api::types::system::Plugin;
use crate::api::{ApiError, Cx};
use crate::model::ErrorKind;

routes! { tag "Cluster";
    GET "/swarm" since 24 "Inspect the swarm" => not_a_manager, fails [503];
}

async fn not_a_manager(_: Cx) -> Result<Infallible, ApiError> {
    Err(ApiError::new(
        ErrorKind::Unavailable,
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to \
         swarm and try again.",
    ))
}

#[allow(dead_code)]
async fn plugins(_: Cx) -> Result<Reply<Vec<Plugin>>, ApiError> {
    Ok(Reply(Vec::new()))
}
