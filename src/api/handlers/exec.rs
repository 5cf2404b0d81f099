//! Exec endpoints.

use super::containers::ResizeQuery;
use super::streams::hand_over;
use crate::api::operation::Operation;
use crate::api::reply::{IntoOutcome, Outcome};
use crate::api::route::routes;
use crate::api::types::ById;
use crate::api::types::exec::{ExecCreateBody, ExecCreateReply, ExecInspect, ExecStartBody};
use crate::api::{ApiError, Cx, Empty, Hijack, MaybeJson, Path, Query, Reply};

/// `POST /containers/{id}/exec`
pub async fn create(
    cx: Cx,
    path: Path<ById>,
    body: MaybeJson<ExecCreateBody>,
) -> Result<Reply<ExecCreateReply, 201>, ApiError> {
    // Without a body nothing is asked for: the engine says what is missing.
    let record = body.0.unwrap_or_default().into_record(path.0.id);
    let id = cx.run(move |engine| engine.exec_create(record)).await?;
    Ok(Reply(ExecCreateReply { id }))
}

/// An exec session that was started: on its stream, or without one.
#[derive(Debug)]
pub enum Started {
    /// The client's socket is the session's.
    Attached(Hijack),
    /// Nobody is attached.
    Detached,
}

impl IntoOutcome for Started {
    fn into_outcome(self) -> Outcome {
        match self {
            Self::Attached(hijack) => hijack.into_outcome(),
            Self::Detached => Empty::<200>.into_outcome(),
        }
    }

    fn describe(op: &mut Operation<'_>) {
        Hijack::describe(op);
    }
}

/// `POST /exec/{id}/start`
pub async fn start(cx: Cx, path: Path<ById>, body: MaybeJson<ExecStartBody>) -> Result<Started, ApiError> {
    let body = body.0.unwrap_or_default();
    if body.detach {
        cx.run(move |engine| engine.exec_start_detached(&path.id, body.console_size)).await?;
        return Ok(Started::Detached);
    }
    // A size without a terminal is none, as in dockerd.
    let size = body.console_size.filter(|_| body.tty);
    let handover = cx.run(move |engine| engine.exec_start(&path.id, size, body.tty)).await?;
    Ok(Started::Attached(hand_over(&cx, handover)))
}

/// `POST /exec/{id}/resize`
pub async fn resize(cx: Cx, path: Path<ById>, q: Query<ResizeQuery>) -> Result<Empty<200>, ApiError> {
    let (h, w) = q.size()?;
    cx.run(move |engine| engine.exec_resize(&path.id, h, w)).await?;
    Ok(Empty)
}

/// `GET /exec/{id}/json`
pub async fn inspect(cx: Cx, path: Path<ById>) -> Result<Reply<ExecInspect>, ApiError> {
    cx.run(move |engine| engine.inspect_exec(&path.id)).await.map(|exec| Reply(exec.into()))
}

routes! { tag "Exec";
    POST "/containers/{id}/exec" since 24 "Create an exec session" => create, fails [400, 404, 409];
    POST "/exec/{id}/start" since 24 "Start an exec session" => start, fails [400, 404, 409];
    POST "/exec/{id}/resize" since 24 "Resize the terminal of an exec session" => resize, fails [400, 404, 409];
    GET "/exec/{id}/json" since 24 "Inspect an exec session" => inspect, fails [404];
}
