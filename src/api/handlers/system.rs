//! The engine itself: ping, version, info, events.

use http::{HeaderName, HeaderValue, header};
use schemars::JsonSchema;
use serde::Deserialize;

use super::containers::sizes;
use crate::api::reply::{Empty, JsonText, Text, WithHeaders};
use crate::api::route::routes;
use crate::api::types::containers::Summary;
use crate::api::types::system::{DiskUsage, EventMessage, SystemInfo, SystemVersion};
use crate::api::{ApiError, Cx, JsonLines, Query, Reply, Stream, compat};
use crate::engine::containers::ListOptions;
use crate::engine::events::EventOptions;
use crate::engine::images;
use crate::model::filters::Filters;

routes! { tag "System";
    GET "/_ping" since 24 "Ask whether the engine answers" => ping,
        headers ["Api-Version", "Builder-Version", "Docker-Experimental", "Ostype", "Swarm"];
    HEAD "/_ping" since 24 "Ask whether the engine answers" => ping_head,
        headers ["Api-Version", "Builder-Version", "Docker-Experimental", "Ostype", "Swarm"];
    GET "/version" since 24 "Versions of the engine" => version;
    GET "/info" since 24 "Facts about the host and the engine" => info;
    GET "/events" since 24 "Follow events" => events;
    GET "/system/df" since 25 "Measure what takes how much room" => usage;
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

/// Query of `GET /system/df`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct UsageQuery {
    /// What to measure: `container`, `image`, `volume`, `build-cache`; none: all.
    pub r#type: Vec<String>,
    /// Whether to tell every object: from API 1.52 on.
    pub verbose: bool,
}

async fn usage(cx: Cx, query: Query<UsageQuery>) -> Result<Reply<DiskUsage>, ApiError> {
    let version = cx.version();
    let kinds = if compat::usage_by_type(version) { query.0.r#type } else { Vec::new() };
    if let Some(unknown) = kinds.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
        return Err(ApiError::bad_request(format!("unknown object type: {unknown}")));
    }
    let wants = move |kind: &str| kinds.is_empty() || kinds.iter().any(|other| other == kind);
    cx.run(move |engine| {
        let (mut images, mut containers, mut layers_size) = (None, None, 0);
        if wants("image") {
            layers_size = engine.layers_size()?;
            let options = images::ListOptions { shared_size: true, ..images::ListOptions::default() };
            let list = engine.list_images(&options)?;
            images = Some(list.into_iter().map(|image| compat::image_usage(version, image.into())).collect());
        }
        if wants("container") {
            let views = engine.list(&ListOptions { all: true, ..ListOptions::default() })?;
            let summary = |view| compat::container_summary(version, Summary::of(view, sizes(engine, view, true)));
            containers = Some(views.iter().map(summary).collect());
        }
        let none = |kind| wants(kind).then(Vec::new);
        let (volumes, build_cache) = (none("volume"), none("build-cache"));
        Ok(DiskUsage { layers_size, images, containers, volumes, build_cache })
    })
    .await
    .map(Reply)
}

/// What `system/df` can be asked for.
const KINDS: [&str; 4] = ["container", "image", "volume", "build-cache"];

async fn document(_: Cx) -> Result<JsonText, ApiError> {
    Ok(JsonText(include_str!("../../../openapi/openapi.json")))
}
