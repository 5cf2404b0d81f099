//! From an HTTP request to its outcome: version, route, extraction, handler, common headers, one span.

use std::time::Instant;

use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use tracing::Instrument;

use super::cx::Cx;
use super::error::ApiError;
use super::extract::Call;
use super::gate::Access;
use super::handlers::absent;
use super::intake::Intake;
use super::query;
use super::reply::{self, Outcome};
use super::table;
use super::version::{self, ADVERTISED};

/// What clients are told in `Server`, after Docker's pattern.
pub const SERVER: &str = concat!("pierless/", env!("CARGO_PKG_VERSION"), " (linux)");

/// The API on one engine.
#[derive(Debug, Clone)]
pub struct Api(Access);

impl Api {
    /// An API on the engine behind this gate.
    pub fn new(access: Access) -> Self {
        Self(access)
    }

    /// Serves one request. Failures are responses too.
    pub async fn serve(&self, request: Request<Intake>) -> Outcome {
        let span = tracing::info_span!("request", method = %request.method(), path = %request.uri().path());
        let began = Instant::now();
        async {
            let mut outcome = match self.route(request).await {
                Ok(outcome) => outcome,
                Err(err) => {
                    if err.status().is_server_error() {
                        tracing::warn!(status = err.status().as_u16(), "{}", err.message());
                    }
                    Outcome::Response(reply::failure(err))
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

    async fn route(&self, request: Request<Intake>) -> Result<Outcome, ApiError> {
        let (head, body) = request.into_parts();
        let path = decode(head.uri.path())?;
        let (version, path) = version::negotiate(&path)?;
        let (route, params) = table::find(&head.method, path).ok_or_else(|| absent::failure(&head.method, path))?;
        let call = Call {
            cx: Cx::new(self.0.clone(), version, head.headers),
            params,
            query: query::pairs(head.uri.query().unwrap_or_default())?,
            body: (!body.is_end()).then_some(body),
        };
        route.endpoint.call(call).await
    }
}

fn decode(path: &str) -> Result<String, ApiError> {
    String::from_utf8(query::unescape(path)?).map_err(|_| ApiError::bad_request("invalid path: not UTF-8"))
}

/// The headers that every response has.
fn common_headers(headers: &mut HeaderMap) {
    let version = HeaderValue::try_from(ADVERTISED.to_string()).expect("digits and a point");
    headers.insert(header::SERVER, HeaderValue::from_static(SERVER));
    headers.insert(HeaderName::from_static("api-version"), version);
    headers.insert(HeaderName::from_static("ostype"), HeaderValue::from_static("linux"));
    headers.insert(HeaderName::from_static("docker-experimental"), HeaderValue::from_static("false"));
}
