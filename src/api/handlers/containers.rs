//! Container endpoints: create, look, change, remove. Streams are in [`super::streams`].

use schemars::JsonSchema;
use serde::Deserialize;

use super::streams::{attach, logs, wait};
use crate::api::route::routes;
use crate::api::types::ById;
use crate::api::types::containers::{CreateBody, CreateReply, Inspect, PruneReply, Sizes, Summary, TopReply};
use crate::api::{ApiError, Cx, Elements, Empty, Json, Path, Query, Reply, compat};
use crate::engine::Engine;
use crate::engine::containers::{CheckedRequest, ListOptions, View};
use crate::model::ErrorKind;
use crate::model::filters::Filters;

/// Query of `POST /containers/create`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CreateQuery {
    /// Name of the container; empty: a random one.
    pub name: String,
    /// `os[/architecture[/variant]]`.
    pub platform: String,
}

/// `POST /containers/create`
pub async fn create(
    cx: Cx,
    q: Query<CreateQuery>,
    body: Json<CreateBody>,
) -> Result<Reply<CreateReply, 201>, ApiError> {
    let platform = compat::create_platform(cx.version(), q.0.platform);
    let mut request = body.0.into_request(q.0.name, platform);
    let more = compat::create_request(cx.version(), &mut request)?;
    let checked = cx.look(move || CheckedRequest::new(request)).await?;
    let mut created = cx.run(move |engine| engine.create_checked(checked)).await?;
    created.warnings.extend(more);
    Ok(Reply(CreateReply { id: created.id, warnings: created.warnings }))
}

/// Query of `GET /containers/json`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ListQuery {
    /// Those that do not run, too.
    pub all: bool,
    /// At most so many, the newest.
    pub limit: Option<i64>,
    /// Measure them.
    pub size: bool,
    /// Docker's filters, as JSON.
    pub filters: Filters,
}

/// `GET /containers/json`
pub async fn list(cx: Cx, q: Query<ListQuery>) -> Result<Elements<Summary>, ApiError> {
    let q = q.0;
    let limit = q.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(0);
    let options = ListOptions { all: q.all, limit, filters: q.filters };
    let version = cx.version();
    let list = move |engine: &Engine| {
        let views = engine.list(&options)?;
        let summary = |view| compat::container_summary(version, Summary::of(view, sizes(engine, view, q.size)));
        Ok(views.iter().map(summary).collect())
    };
    cx.run(list).await
}

/// Measures a container if that is wanted.
pub(super) fn sizes(engine: &Engine, view: &View, wanted: bool) -> Option<Sizes> {
    wanted.then(|| {
        let rw = engine.size_rw(&view.record.id);
        Sizes { rw, root_fs: rw + engine.image_size(&view.record.image_id) }
    })
}

/// Query of `GET /containers/{id}/json`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct InspectQuery {
    /// Measure it.
    pub size: bool,
}

/// `GET /containers/{id}/json`
pub async fn inspect(cx: Cx, path: Path<ById>, q: Query<InspectQuery>) -> Result<Reply<Inspect>, ApiError> {
    let inspect = move |engine: &Engine| {
        let view = engine.container(&path.0.id)?;
        Ok(Inspect::of(engine, &view, sizes(engine, &view, q.0.size)))
    };
    let newest = cx.run(inspect).await?;
    Ok(Reply(compat::container_inspect(cx.version(), newest)))
}

/// `POST /containers/{id}/start`
pub async fn start(cx: Cx, path: Path<ById>) -> Result<Empty<204>, ApiError> {
    cx.run(move |engine| engine.start(&path.0.id)).await.map(|()| Empty)
}

/// Query of `POST /containers/{id}/stop` and `restart`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StopQuery {
    /// The first signal; none: the container's.
    pub signal: Option<String>,
    /// Seconds until SIGKILL; -1: never; none: the container's.
    pub t: Option<i64>,
}

/// `POST /containers/{id}/stop`
pub async fn stop(cx: Cx, path: Path<ById>, q: Query<StopQuery>) -> Result<Empty<204>, ApiError> {
    cx.run(move |engine| engine.stop(&path.0.id, q.0.signal(), q.0.t)).await.map(|()| Empty)
}

/// `POST /containers/{id}/restart`
pub async fn restart(cx: Cx, path: Path<ById>, q: Query<StopQuery>) -> Result<Empty<204>, ApiError> {
    cx.run(move |engine| engine.restart(&path.0.id, q.0.signal(), q.0.t)).await.map(|()| Empty)
}

impl StopQuery {
    fn signal(&self) -> Option<&str> {
        self.signal.as_deref().filter(|text| !text.is_empty())
    }
}

/// Query of `POST /containers/{id}/kill`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct KillQuery {
    /// Name or number; none: SIGKILL.
    pub signal: Option<String>,
}

/// `POST /containers/{id}/kill`
pub async fn kill(cx: Cx, path: Path<ById>, q: Query<KillQuery>) -> Result<Empty<204>, ApiError> {
    cx.run(move |engine| engine.kill(&path.0.id, q.0.signal.as_deref())).await.map(|()| Empty)
}

/// Query of `POST /containers/{id}/rename`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RenameQuery {
    /// The new name.
    pub name: String,
}

/// `POST /containers/{id}/rename`
pub async fn rename(cx: Cx, path: Path<ById>, q: Query<RenameQuery>) -> Result<Empty<204>, ApiError> {
    cx.run(move |engine| engine.rename(&path.0.id, &q.0.name)).await.map(|()| Empty)
}

/// Query of `DELETE /containers/{id}`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RemoveQuery {
    /// With its anonymous volumes.
    pub v: bool,
    /// Even if it runs.
    pub force: bool,
    /// A legacy link in place of the container.
    pub link: bool,
}

/// `DELETE /containers/{id}`
pub async fn remove(cx: Cx, path: Path<ById>, q: Query<RemoveQuery>) -> Result<Empty<204>, ApiError> {
    if q.0.link {
        return Err(ApiError::new(ErrorKind::NotImplemented, "legacy links are not implemented"));
    }
    // `v` asks for the removal of anonymous volumes: none are made, so none are left.
    cx.run(move |engine| engine.remove(&path.0.id, q.0.force)).await.map(|()| Empty)
}

/// Query of `GET /containers/{id}/top`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TopQuery {
    /// Arguments of `ps`; none: `-ef`.
    pub ps_args: String,
}

/// `GET /containers/{id}/top`
pub async fn top(cx: Cx, path: Path<ById>, q: Query<TopQuery>) -> Result<Reply<TopReply>, ApiError> {
    cx.run(move |engine| engine.top(&path.0.id, &q.0.ps_args)).await.map(|top| Reply(top.into()))
}

/// Query of `POST /containers/prune`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PruneQuery {
    /// Docker's filters, as JSON.
    pub filters: Filters,
}

/// `POST /containers/prune`
pub async fn prune(cx: Cx, q: Query<PruneQuery>) -> Result<Reply<PruneReply>, ApiError> {
    let (removed, freed) = cx.run(move |engine| engine.prune(&q.filters)).await?;
    let containers_deleted = (!removed.is_empty()).then_some(removed);
    Ok(Reply(PruneReply { containers_deleted, space_reclaimed: freed }))
}

/// Query of `POST /containers/{id}/resize` and `POST /exec/{id}/resize`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ResizeQuery {
    /// Rows.
    pub h: String,
    /// Columns.
    pub w: String,
}

impl ResizeQuery {
    /// Rows and columns.
    pub fn size(&self) -> Result<(u16, u16), ApiError> {
        let number = |what: &str, text: &str| match text.parse() {
            Ok(number) => Ok(number),
            // Go's words for the two ways of being no 32-bit number; a terminal's size has 16 bits.
            Err(_) => {
                let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                let why = if digits { "value out of range" } else { "invalid syntax" };
                Err(ApiError::bad_request(format!("invalid resize {what} {text:?}: {why}")))
            }
        };
        Ok((number("height", &self.h)?, number("width", &self.w)?))
    }
}

/// `POST /containers/{id}/resize`
pub async fn resize(cx: Cx, path: Path<ById>, q: Query<ResizeQuery>) -> Result<Empty<200>, ApiError> {
    let (h, w) = q.0.size()?;
    cx.run(move |engine| engine.resize(&path.0.id, h, w)).await.map(|()| Empty)
}

routes! { tag "Container";
    GET "/containers/json" since 24 "List containers" => list, fails [400];
    POST "/containers/create" since 24 "Create a container" => create, fails [400, 404, 409];
    POST "/containers/prune" since 25 "Remove all containers that do not run" => prune, fails [400];
    GET "/containers/{id}/json" since 24 "Inspect a container" => inspect, fails [404];
    GET "/containers/{id}/top" since 24 "List the processes of a container" => top, fails [404, 409];
    POST "/containers/{id}/start" since 24 "Start a container" => start, fails [304, 400, 404, 409];
    POST "/containers/{id}/stop" since 24 "Stop a container" => stop, fails [304, 400, 404];
    POST "/containers/{id}/restart" since 24 "Restart a container" => restart, fails [400, 404];
    POST "/containers/{id}/kill" since 24 "Send a signal to a container" => kill, fails [400, 404, 409];
    POST "/containers/{id}/rename" since 24 "Rename a container" => rename, fails [400, 404, 409];
    POST "/containers/{id}/resize" since 24 "Resize the terminal of a container" => resize, fails [400, 404, 409];
    POST "/containers/{id}/attach" since 24 "Attach to a container" => attach, fails [400, 404, 409];
    POST "/containers/{id}/wait" since 24 "Wait for the end of a container" => wait, fails [400, 404];
    GET "/containers/{id}/logs" since 24 "Read the log of a container" => logs, fails [400, 404, 501];
    DELETE "/containers/{id}" since 24 "Remove a container" => remove, fails [400, 404, 409];
}
