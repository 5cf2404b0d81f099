//! The engine itself: ping, version, info, events, disk usage.

use http::{HeaderName, HeaderValue, header};

use crate::api::reply::{Empty, Text, WithHeaders};
use crate::api::route::routes;
use crate::api::{ApiError, Cx};

routes! { tag "System";
    GET "/_ping" since 24 "Ask whether the engine answers" => ping,
        headers ["Api-Version", "Builder-Version", "Docker-Experimental", "Ostype", "Swarm"];
    HEAD "/_ping" since 24 "Ask whether the engine answers" => ping_head,
        headers ["Api-Version", "Builder-Version", "Docker-Experimental", "Ostype", "Swarm"];
}

async fn ping(_: Cx) -> Result<WithHeaders<Text>, ApiError> {
    Ok(WithHeaders(Text("OK"), ping_headers()))
}

async fn ping_head(_: Cx) -> Result<WithHeaders<Empty<200>>, ApiError> {
    let mut headers = ping_headers();
    headers.push((header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")));
    headers.push((header::CONTENT_LENGTH, HeaderValue::from_static("0")));
    Ok(WithHeaders(Empty, headers))
}

fn ping_headers() -> Vec<(HeaderName, HeaderValue)> {
    [
        // The classic builder, until BuildKit's protocol is spoken.
        ("builder-version", "1"),
        ("swarm", "inactive"),
        ("cache-control", "no-cache, no-store, must-revalidate"),
        ("pragma", "no-cache"),
    ]
    .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
    .to_vec()
}
