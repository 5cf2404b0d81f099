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
        match MaybeJson::from_call(call).await? {
            MaybeJson(Some(value)) => Ok(Self(value)),
            MaybeJson(None) => Err(ApiError::bad_request("invalid JSON: got EOF while reading request body")),
        }
    }

    fn describe(op: &mut Operation<'_>) {
        op.json_body::<T>(true);
    }
}

impl<T: DeserializeOwned + JsonSchema + Send> FromCall for MaybeJson<T> {
    async fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        let Some(body) = call.body.take() else { return Ok(Self(None)) };
        check_content_type(&call.cx, &body)?;
        let bytes = read_limited(body).await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self(None));
        }
        // Every request is an object. serde would also read a list as a struct's fields in their order.
        if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
            return Err(ApiError::bad_request("invalid JSON: cannot read a list as an object"));
        }
        // As in Go, `null` leaves the value as it was: empty.
        serde_json::from_slice::<Option<T>>(&bytes)
            .map(Self)
            .map_err(|err| ApiError::bad_request(format!("invalid JSON: {err}")))
    }

    fn describe(op: &mut Operation<'_>) {
        op.json_body::<T>(false);
    }
}

/// As dockerd does: whatever has a body must say that it is JSON.
fn check_content_type(cx: &Cx, body: &Intake) -> Result<(), ApiError> {
    let given = cx.header(header::CONTENT_TYPE.as_str()).unwrap_or("");
    let media = given.split(';').next().unwrap_or("").trim();
    if media.eq_ignore_ascii_case("application/json") || (given.is_empty() && body.is_end()) {
        return Ok(());
    }
    Err(ApiError::bad_request(format!("unsupported Content-Type header ({given}): must be 'application/json'")))
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
