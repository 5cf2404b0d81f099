//! The API over HTTP: which requests exist, what they carry, what answers them. Knows HTTP, knows no file.
//!
//! A request goes `server` → [`dispatch`] (version, route, span) → extractors → a handler in [`handlers`] of about
//! ten lines → the engine. Whatever differs by API version is a named function in [`compat`]; only [`error`] knows
//! status codes; the OpenAPI document comes out of the route table and the handlers' types ([`openapi`]).
//!
//! Its files import each other downwards only, too (`tests/it/arrows.rs`):
//!
//! ```text
//! dispatch, openapi          from a request to an outcome; the document
//! table                      all routes
//! handlers                   what answers a route
//! route                      what a route is
//! extract, reply, cx         what handlers take, give, and know
//! body, intake, hijack, query, json, gate
//!                            HTTP's bodies and connections; the way to the engine
//! compat, types              what differs by version; what is on the wire
//! error, version, operation, work
//! ```
//!
//! # How to add an endpoint
//!
//! 1. Its query, request and response types go to `types/<resource>.rs` (or are `model` types), with doc comments,
//!    which become descriptions in the document:
//!
//! ```text
//! /// The container in the path.
//! #[derive(Deserialize, JsonSchema)]
//! pub struct ById {
//!     /// Id, a unique beginning of it, or name.
//!     pub id: String,
//! }
//!
//! #[derive(Default, Deserialize, JsonSchema)]
//! #[serde(default)]
//! pub struct StopQuery {
//!     /// Signal instead of the container's own.
//!     pub signal: Option<String>,
//!     /// Seconds until SIGKILL; -1: never.
//!     #[serde(rename = "t")]
//!     pub timeout: Option<i64>,
//! }
//! ```
//!
//! 2. The handler goes to `handlers/<resource>.rs`. [`Cx`] comes first, then up to four extractors of [`extract`]:
//!    [`Path`], [`Query`], [`Json`] (a body must be there), [`MaybeJson`] (it may be empty), [`Upload`] (a body as a
//!    blocking [`std::io::Read`]). The result is a type of [`reply`]:
//!
//! ```text
//! pub async fn stop(cx: Cx, path: Path<ById>, query: Query<StopQuery>) -> Result<Empty<204>, ApiError> {
//!     // `run` calls the engine on a blocking thread. Its errors become statuses by their kind.
//!     cx.run(move |engine| engine.stop(&path.id, query.signal.as_deref(), query.timeout)).await?;
//!     Ok(Empty)
//! }
//!
//! pub async fn inspect(cx: Cx, path: Path<ById>) -> Result<Reply<ContainerInspect>, ApiError> {
//!     let newest = cx.run(move |engine| engine.inspect(&path.id)).await?;
//!     Ok(Reply(compat::container_inspect(cx.version(), newest.into())))
//! }
//!
//! pub async fn logs(cx: Cx, path: Path<ById>, query: Query<LogsQuery>) -> Result<Stream<Raw>, ApiError> {
//!     // Before the first write or flush of `out` an error becomes a status; the first flush sends the headers.
//!     // `out.gone()` becomes readable when the client is gone: poll it wherever the engine waits.
//!     let tty = …;
//!     let stream = cx.stream(move |engine, out| engine.logs(&path.id, out.gone(), out)).await?;
//!     Ok(stream.content_type(hijack::content_type(cx.version(), tty)))
//! }
//!
//! pub async fn wait(cx: Cx, path: Path<ById>, query: Query<WaitQuery>) -> Result<Stream<JsonLines<WaitReply>>, ApiError> {
//!     // `out.flush()` once the waiter is registered: the headers go, the body follows when there is an answer.
//!     cx.stream(move |engine, out| { let w = engine.waiter(…)?; out.flush()?; out.json(&w.wait(out.gone())?) }).await
//! }
//!
//! pub async fn attach(cx: Cx, path: Path<ById>, query: Query<AttachQuery>) -> Result<Hijack, ApiError> {
//!     let ready = cx.run(move |engine| engine.attach(&path.id, …)).await?;   // errors are still statuses here
//!     let media = hijack::content_type(cx.version(), ready.tty);
//!     Ok(Hijack::new(media, move |client: ClientSocket| ready.hand_over(client.fd, &client.buffered)))
//! }
//! ```
//!
//! 3. One line in the resource's table (`pub static ROUTES` in `handlers/<resource>.rs`; a new table is named in
//!    [`table::TABLES`]). The order decides where two patterns match; `{name:.*}` may contain slashes:
//!
//! ```text
//! routes! { tag "Container";
//!     POST "/containers/{id}/stop" since 24 "Stop a container" => stop, fails [304, 404];
//! }
//! ```
//!
//! 4. `PIERLESS_BLESS=1 cargo test --test it golden` renews openapi/openapi.json, which is checked in.

pub mod body;
pub mod compat;
pub mod cx;
pub mod dispatch;
pub mod error;
pub mod extract;
pub mod gate;
pub mod handlers;
pub mod hijack;
pub mod intake;
mod json;
pub mod openapi;
pub mod operation;
mod query;
pub mod reply;
pub mod route;
pub mod table;
pub mod types;
pub mod version;
pub mod work;

pub use body::Output;
pub use cx::Cx;
pub use error::ApiError;
pub use extract::{Json, MaybeJson, Path, Query, Upload};
pub use hijack::{ClientSocket, Hijack};
pub use reply::{Empty, JsonLines, Raw, Reply, Stream, Tar, WithHeaders};
pub use version::ApiVersion;
