//! The engine itself: ping, version, info, events.

use http::{HeaderName, HeaderValue, header};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::api::reply::{Empty, JsonText, Text, WithHeaders};
use crate::api::route::routes;
use crate::api::types::system::{EventMessage, SystemInfo, SystemVersion};
use crate::api::{ApiError, Cx, JsonLines, Query, Reply, Stream, compat};
use crate::engine::events::EventOptions;
use crate::model::filters::Filters;

routes! { tag "System";
    GET "/_ping" since 24 "Ask whether the engine answers" => ping,
        headers ["Api-Version", "Builder-Version", "Docker-Experimental", "Ostype", "Swarm"];
    HEAD "/_ping" since 24 "Ask whether the engine answers" => ping_head,
        headers ["Api-Version", "Builder-Version", "Docker-Experimental", "Ostype", "Swarm"];
    GET "/version" since 24 "Versions of the engine" => version;
    GET "/info" since 24 "Facts about the host and the engine" => info;
    GET "/events" since 24 "Follow events" => events;
    GET "/openapi.json" since 24 "This document" => document;
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

async fn version(_: Cx) -> Result<Reply<SystemVersion>, ApiError> {
    Ok(Reply(SystemVersion::current()))
}

async fn info(cx: Cx) -> Result<Reply<SystemInfo>, ApiError> {
    let mut info = cx.run(|engine| Ok(SystemInfo::new(engine.home(), engine.facts()?))).await?;
    if compat::bare_security_options(cx.version()) {
        for option in &mut info.security_options {
            *option = option.trim_start_matches("name=").split(',').next().unwrap_or_default().to_owned();
        }
    }
    if compat::info_bridge_fields(cx.version()) {
        (info.bridge_nf_iptables, info.bridge_nf_ip6tables) = (Some(false), Some(false));
    }
    Ok(Reply(info))
}

/// Query of `GET /events`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EventsQuery {
    /// From when on: seconds since 1970, RFC 3339, or a duration before now.
    pub since: String,
    /// Until when, likewise.
    pub until: String,
    /// Among `container`, `daemon`, `event`, `image`, `label`, `network`, `plugin`, `scope`, `type`, `volume`.
    pub filters: Filters,
}

async fn events(cx: Cx, query: Query<EventsQuery>) -> Result<Stream<JsonLines<EventMessage>>, ApiError> {
    let legacy = compat::legacy_event_fields(cx.version());
    cx.stream(move |engine, out| {
        let Query(EventsQuery { since, until, filters }) = query;
        let options = EventOptions::of(&since, &until, filters)?;
        let mut events = engine.events(options)?;
        // Whoever has the headers misses nothing that happens from then on.
        std::io::Write::flush(out)?;
        let gone = out.gone_owned()?;
        events.follow(std::os::fd::AsFd::as_fd(&gone), |event| out.json(&EventMessage::new(event, legacy)))
    })
    .await
}

async fn document(_: Cx) -> Result<JsonText, ApiError> {
    Ok(JsonText(include_str!("../../../openapi/openapi.json")))
}
