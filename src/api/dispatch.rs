//! From an HTTP request to its outcome: version, route, extraction, handler, common headers, one span.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use hyper::body::{Body as _, Incoming};
use percent_encoding::percent_decode_str;
use tracing::Instrument;

use super::body::Body;
use super::compat;
use super::cx::Cx;
use super::error::ApiError;
use super::extract::Call;
use super::gate::Gate;
use super::handlers::absent;
use super::query;
use super::reply::Outcome;
use super::route;
use super::work::{Job, Work};
use crate::engine::Engine;

/// What clients are told in `Server`, after Docker's pattern.
pub const SERVER: &str = concat!("pierless/", env!("CARGO_PKG_VERSION"), " (linux)");

/// The API on one engine.
#[derive(Debug, Clone)]
pub struct Api {
    engine: Arc<Engine>,
    work: Arc<Work>,
    gate: Gate,
}

impl Api {
    /// An API on this engine.
    pub fn new(engine: Engine, work: Arc<Work>, gate: Gate) -> Self {
        Self { engine: Arc::new(engine), work, gate }
    }

    /// The engine for one call, which is work until the job is dropped. The first time, the user's namespaces are
    /// entered, and what killed processes left is finished beside the call.
    ///
    /// # Errors
    /// The namespaces cannot be entered.
    pub fn enter(&self) -> Result<(Arc<Engine>, Job), ApiError> {
        if self.gate.open()? {
            let (engine, job) = (Arc::clone(&self.engine), self.work.begin());
            tokio::task::spawn_blocking(move || {
                let _job = job;
                engine.recover();
            });
        }
        Ok((Arc::clone(&self.engine), self.work.begin()))
    }

    /// Serves one request. Failures are responses too.
    pub async fn serve(&self, request: Request<Incoming>) -> Outcome {
        let span = tracing::info_span!("request", method = %request.method(), path = %request.uri().path());
        let began = Instant::now();
        async {
            let mut outcome = match self.route(request).await {
                Ok(outcome) => outcome,
                Err(err) => {
                    if err.status().is_server_error() {
                        tracing::warn!(status = err.status().as_u16(), "{}", err.message());
                    }
                    Outcome::Response(err.into_response())
                }
            };
            if let Outcome::Response(response) = &mut outcome {
                common_headers(response.headers_mut());
                tracing::debug!(
                    status = response.status().as_u16(),
                    micros = began.elapsed().as_micros() as u64,
                    "done"
                );
            } else {
                tracing::debug!(micros = began.elapsed().as_micros() as u64, "connection taken over");
            }
            outcome
        }
        .instrument(span)
        .await
    }

    async fn route(&self, request: Request<Incoming>) -> Result<Outcome, ApiError> {
        let (head, body) = request.into_parts();
        let path = decode(head.uri.path())?;
        let (version, path) = compat::negotiate(&path)?;
        let (route, params) = route::find(&head.method, path).ok_or_else(|| absent::failure(&head.method, path))?;
        let call = Call {
            cx: Cx::new(self.clone(), version, head.method, head.headers),
            params,
            query: query::pairs(head.uri.query().unwrap_or_default()),
            body: (!body.is_end_stream()).then_some(body),
        };
        route.endpoint.call(call).await
    }
}

fn decode(path: &str) -> Result<Cow<'_, str>, ApiError> {
    percent_decode_str(path).decode_utf8().map_err(|_| ApiError::bad_request("invalid path: not UTF-8"))
}

/// A response to a request that was never routed.
pub fn refusal(err: ApiError) -> Response<Body> {
    let mut response = err.into_response();
    common_headers(response.headers_mut());
    response
}

/// The headers that every response has.
fn common_headers(headers: &mut HeaderMap) {
    headers.insert(header::SERVER, HeaderValue::from_static(SERVER));
    headers.insert(HeaderName::from_static("api-version"), HeaderValue::from_static(API_VERSION));
    headers.insert(HeaderName::from_static("ostype"), HeaderValue::from_static("linux"));
    headers.insert(HeaderName::from_static("docker-experimental"), HeaderValue::from_static("false"));
}

/// [`compat::ADVERTISED`] as text.
const API_VERSION: &str = "1.51";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_says_what_is_advertised() {
        assert_eq!(API_VERSION, compat::ADVERTISED.to_string());
    }
}
