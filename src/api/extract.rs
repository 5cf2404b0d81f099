//! What handlers take from a request, each type describing itself for the OpenAPI document.

use std::io::{self, Read};
use std::ops::Deref;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{StatusCode, header};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::cx::Cx;
use super::error::ApiError;
use super::intake::Intake;
use super::json;
use super::operation::Operation;
use super::query;

/// Largest JSON body, in bytes.
const JSON_LIMIT: u64 = 4 << 20;
/// How long a JSON body may take to come. Archives may take for ever: their source may.
const JSON_TIMEOUT: Duration = Duration::from_secs(120);

/// A matched request on its way to its handler.
#[derive(Debug)]
pub struct Call {
    /// Its context.
    pub cx: Cx,
    /// What the path's parameters matched, decoded.
    pub params: Vec<(String, String)>,
    /// The query, decoded.
    pub query: Vec<(String, String)>,
    /// The body, until an extractor takes it.
    pub body: Option<Intake>,
}

/// Something that can be taken from a request.
pub trait FromCall: Sized + Send {
    /// Takes it.
    fn from_call(call: &mut Call) -> impl Future<Output = Result<Self, ApiError>> + Send;
    /// Adds it to the document.
    fn describe(op: &mut Operation<'_>);
}

/// The path's parameters, by name.
#[derive(Debug)]
pub struct Path<T>(pub T);

/// The query, in Docker's encodings: see `query.rs`. Unknown names are passed over.
#[derive(Debug)]
pub struct Query<T>(pub T);

/// A JSON body, which must be there.
#[derive(Debug)]
pub struct Json<T>(pub T);

/// A JSON body, or none.
#[derive(Debug)]
pub struct MaybeJson<T>(pub Option<T>);

macro_rules! deref {
    ($($name:ident),*) => { $(
        impl<T> Deref for $name<T> {
            type Target = T;
            fn deref(&self) -> &T {
                &self.0
            }
        }
    )* };
}
deref!(Path, Query, Json);

impl<T: DeserializeOwned + JsonSchema + Send> FromCall for Path<T> {
    async fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        query::parse(&call.params).map(Self)
    }

    fn describe(op: &mut Operation<'_>) {
        op.parameters::<T>("path");
    }
}

impl<T: DeserializeOwned + JsonSchema + Send> FromCall for Query<T> {
    async fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        query::parse(&call.query).map(Self)
    }

    fn describe(op: &mut Operation<'_>) {
        op.parameters::<T>("query");
    }
}

impl<T: DeserializeOwned + JsonSchema + Send> FromCall for Json<T> {
    async fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        MaybeJson::from_call(call).await?.0.map(Self).ok_or_else(nothing)
    }

    fn describe(op: &mut Operation<'_>) {
        op.json_body::<T>(true);
    }
}

impl<T: DeserializeOwned + JsonSchema + Send> FromCall for MaybeJson<T> {
    async fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        check_content_type(&call.cx, call.body.is_some())?;
        let Some(body) = call.body.take() else { return Ok(Self(None)) };
        let bytes = read_limited(body).await?;
        let invalid = |err: &dyn std::fmt::Display| ApiError::bad_request(format!("invalid JSON: {err}"));
        let (tree, rest) = json::parse(&bytes).map_err(|err| match err {
            json::Syntax::Empty => nothing(),
            err => invalid(&err),
        })?;
        let value = json::read(&tree).map_err(|err| invalid(&err))?;
        // Go's decoder does not count a bracket that closes nothing.
        match rest.iter().find(|byte| !b" \t\r\n".contains(byte)) {
            None | Some(b']' | b'}') => Ok(Self(Some(value))),
            Some(_) => Err(ApiError::bad_request("unexpected content after JSON")),
        }
    }

    fn describe(op: &mut Operation<'_>) {
        op.json_body::<T>(false);
    }
}

fn nothing() -> ApiError {
    ApiError::bad_request("invalid JSON: got EOF while reading request body")
}

/// As dockerd does: whatever has a body must say that it is JSON, and whoever says something must say that.
fn check_content_type(cx: &Cx, has_body: bool) -> Result<(), ApiError> {
    let given = cx.header(header::CONTENT_TYPE.as_str()).unwrap_or("");
    if given.is_empty() && !has_body {
        return Ok(());
    }
    let mut parts = given.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default();
    let malformed = match (media, parts.filter(|part| !part.is_empty()).all(|part| part.contains('='))) {
        ("", _) => Some("no media type"),
        (_, false) => Some("invalid media parameter"),
        _ => None,
    };
    let message = match malformed {
        Some(why) => format!("malformed Content-Type header ({given}): mime: {why}"),
        None if media.eq_ignore_ascii_case("application/json") => return Ok(()),
        None => format!("unsupported Content-Type header ({given}): must be 'application/json'"),
    };
    Err(ApiError::bad_request(message))
}

/// Reads a body that fits into memory, of a client that has some patience left.
async fn read_limited(mut body: Intake) -> Result<Bytes, ApiError> {
    let too_large = || {
        ApiError::with_status(StatusCode::PAYLOAD_TOO_LARGE, format!("request body is larger than {JSON_LIMIT} bytes"))
    };
    if body.at_least() > JSON_LIMIT {
        return Err(too_large());
    }
    let read = async {
        let mut all = Vec::new();
        while let Some(data) =
            body.next().await.map_err(|err| ApiError::bad_request(format!("reading request body: {err}")))?
        {
            if (all.len() + data.len()) as u64 > JSON_LIMIT {
                return Err(too_large());
            }
            all.extend_from_slice(&data);
        }
        Ok(all.into())
    };
    let too_slow = |_| ApiError::with_status(StatusCode::REQUEST_TIMEOUT, "the request's body did not come in time");
    tokio::time::timeout(JSON_TIMEOUT, read).await.map_err(too_slow)?
}

/// The body as a blocking reader, for use inside [`Cx::run`] or [`Cx::stream`] only.
#[derive(Debug)]
pub struct Upload {
    body: Option<Intake>,
    chunk: Bytes,
    runtime: tokio::runtime::Handle,
}

impl FromCall for Upload {
    async fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        Ok(Self { body: call.body.take(), chunk: Bytes::new(), runtime: tokio::runtime::Handle::current() })
    }

    fn describe(op: &mut Operation<'_>) {
        op.binary_body();
    }
}

impl Read for Upload {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            let Some(body) = &mut self.body else { return Ok(0) };
            match self.runtime.block_on(body.next()).map_err(io::Error::other)? {
                None => self.body = None,
                Some(data) => self.chunk = data,
            }
        }
        let len = buf.len().min(self.chunk.len());
        buf[..len].copy_from_slice(&self.chunk[..len]);
        self.chunk.advance(len);
        Ok(len)
    }
}
