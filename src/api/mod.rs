//! The API over HTTP: which requests exist, what they carry, what answers them. Knows HTTP, opens no file.
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
//! 1. **Types.** What a path names and what a body or reply is goes to `types/<resource>.rs` (or is a `model` type); a
//!    query belongs to one handler and stands above it. Doc comments become descriptions in the document. Structs that
//!    are read have `#[serde(default)]`: clients leave out what they do not mean. The conversion from the engine's type
//!    stands beside the wire type.
//! 2. **The engine's part.** A method of [`Engine`](crate::engine::Engine) in `engine/<resource>/<verb>.rs` that knows
//!    nothing of HTTP and blocks. Its error's kind decides the status ([`error`]), its text is Docker's.
//! 3. **The handler** in `handlers/<resource>.rs`: [`Cx`] comes first, then up to four extractors of [`extract`]
//!    ([`Path`], [`Query`], [`Json`], [`MaybeJson`], [`Upload`]); the result is a type of [`reply`]. Four to copy:
//!    * [`handlers::containers::stop`]: a verb without an answer;
//!    * [`handlers::containers::inspect`]: an answer that differs by version;
//!    * [`handlers::streams::logs`], [`handlers::streams::wait`]: a stream. Before the first write or flush of `out` an
//!      error is a status, and the first flush sends the headers. Whatever waits watches `out.gone_owned()`;
//!    * [`handlers::streams::attach`]: the client's socket is handed to a monitor. Errors are statuses until the
//!      [`Hijack`] is given.
//! 4. **The route**: one line in `ROUTES` of the same file; a new table is named in [`table::TABLES`]. The order decides
//!    where two patterns match; `{name:.*}` may contain slashes. `since` is the API version that has it first; what
//!    changed later is a function in [`compat`] that turns the newest shape into an older one.
//! 5. **What is not done any more**: [`handlers::absent`] lists what is answered by 501; take it off.
//! 6. **Tests** in `tests/it/<resource>.rs` speak through `Env`; each reply is held to the document by itself.
//!    `tests/dockerd` has dockerd's answers: the differences there are to shrink.
//! 7. `PIERLESS_BLESS=1 tests/run.sh --test it golden` renews openapi/openapi.json, which is checked in.
//!
//! # How to add a field of `HostConfig`
//!
//! 1. The field in `model::host_config`, by Docker's name: request, record and inspection are one type. A version that
//!    ignores or defaults it otherwise is a function in [`compat`], called before the engine is.
//! 2. What can be known at the creation is checked there and nowhere else: `engine/containers/check/mod.rs` has the
//!    rule, a file for each concern, and dockerd's order. What dockerd refuses is refused in its words; what this engine
//!    does not do is 501 where it would mislead, else a sentence among the warnings: no field is passed over in silence.
//!    A text is read once, by a parser in `model`.
//! 3. `spec` translates what was checked into the plan; what the kernel cannot be told by the plan is done in `runtime`.
//! 4. Tests: a row in `tests/it/host_config.rs` that looks at the container from inside, one in
//!    `tests/it/bad_input.rs` for what is refused. Then the document is renewed.

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
pub use reply::{Elements, Empty, JsonLines, Raw, Reply, Stream, Tar};
