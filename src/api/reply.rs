//! What handlers answer with. The types also describe themselves for the OpenAPI document.

use std::marker::PhantomData;

use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;

use super::body::Body;
use super::error::{ApiError, ErrorResponse};
use super::hijack::{Hijack, MULTIPLEXED_STREAM, RAW_STREAM};
use super::operation::Operation;

/// What becomes of a request.
#[derive(Debug)]
pub enum Outcome {
    /// An HTTP response.
    Response(Response<Body>),
    /// The connection changes hands.
    Hijack(Hijack),
}

/// A handler's answer.
pub trait IntoOutcome: Sized {
    /// Makes it.
    fn into_outcome(self) -> Outcome;
    /// Adds its status, media type and schema to the document.
    fn describe(op: &mut Operation<'_>);
}

/// JSON, by default with status 200.
#[derive(Debug)]
pub struct Reply<T, const STATUS: u16 = 200>(pub T);

impl<T: Serialize + JsonSchema, const STATUS: u16> IntoOutcome for Reply<T, STATUS> {
    fn into_outcome(self) -> Outcome {
        Outcome::Response(response(STATUS, Body::json(&self.0), "application/json"))
    }

    fn describe(op: &mut Operation<'_>) {
        let schema = op.reply_schema::<T>();
        op.response(STATUS, "application/json", Some(schema));
    }
}

/// A JSON array, written element by element: a long one is never whole in memory but as its text.
#[derive(Debug)]
pub struct Elements<T> {
    text: Vec<u8>,
    of: PhantomData<T>,
}

impl<T: Serialize> FromIterator<T> for Elements<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        let mut text = vec![b'['];
        for element in elements {
            if text.len() > 1 {
                text.push(b',');
            }
            serde_json::to_writer(&mut text, &element).expect("replies have string keys only");
        }
        text.extend(b"]\n");
        Self { text, of: PhantomData }
    }
}

impl<T: Serialize + JsonSchema> IntoOutcome for Elements<T> {
    fn into_outcome(self) -> Outcome {
        Outcome::Response(response(200, Body::bytes(self.text), "application/json"))
    }

    fn describe(op: &mut Operation<'_>) {
        Reply::<Vec<T>>::describe(op);
    }
}

/// No body: status 204, 200 or 201.
#[derive(Debug)]
pub struct Empty<const STATUS: u16>;

impl<const STATUS: u16> IntoOutcome for Empty<STATUS> {
    fn into_outcome(self) -> Outcome {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = code(STATUS);
        Outcome::Response(response)
    }

    fn describe(op: &mut Operation<'_>) {
        op.response(STATUS, "", None);
    }
}

/// Plain text with status 200.
#[derive(Debug)]
pub struct Text(pub &'static str);

impl IntoOutcome for Text {
    fn into_outcome(self) -> Outcome {
        Outcome::Response(response(200, Body::bytes(self.0), "text/plain; charset=utf-8"))
    }

    fn describe(op: &mut Operation<'_>) {
        op.response(200, "text/plain", None);
    }
}

/// A whole JSON document that is at hand as text.
#[derive(Debug)]
pub struct JsonText(pub &'static str);

impl IntoOutcome for JsonText {
    fn into_outcome(self) -> Outcome {
        Outcome::Response(response(200, Body::bytes(self.0), "application/json"))
    }

    fn describe(op: &mut Operation<'_>) {
        op.response(200, "application/json", None);
    }
}

/// An answer with further headers. Their names are documented with the route.
#[derive(Debug)]
pub struct WithHeaders<R>(pub R, pub Vec<(HeaderName, HeaderValue)>);

impl<R: IntoOutcome> IntoOutcome for WithHeaders<R> {
    fn into_outcome(self) -> Outcome {
        let mut outcome = self.0.into_outcome();
        if let Outcome::Response(response) = &mut outcome {
            response.headers_mut().extend(self.1);
        }
        outcome
    }

    fn describe(op: &mut Operation<'_>) {
        R::describe(op);
    }
}

/// What a stream carries.
pub trait Media: Send + 'static {
    /// Its content type in the document, and in the response unless that is told another.
    const TYPE: &'static str;
    /// Whether a failure after the first byte is a JSON message in the stream; else the stream is broken off.
    const ERRORS_IN_BAND: bool;
    /// Adds it to the document.
    fn describe(op: &mut Operation<'_>);
}

/// Docker's own stream of stdout and stderr.
#[derive(Debug)]
pub struct Raw;

impl Media for Raw {
    const TYPE: &'static str = RAW_STREAM;
    const ERRORS_IN_BAND: bool = false;

    fn describe(op: &mut Operation<'_>) {
        op.response(200, Self::TYPE, None);
        op.response(200, MULTIPLEXED_STREAM, None);
    }
}

/// An archive.
#[derive(Debug)]
pub struct Tar;

impl Media for Tar {
    const TYPE: &'static str = "application/x-tar";
    const ERRORS_IN_BAND: bool = false;

    fn describe(op: &mut Operation<'_>) {
        op.response(200, Self::TYPE, None);
    }
}

/// JSON values one after another; also a single one whose headers go out before it is known.
#[derive(Debug)]
pub struct JsonLines<T>(PhantomData<T>);

impl<T: JsonSchema + Send + 'static> Media for JsonLines<T> {
    const TYPE: &'static str = "application/json";
    const ERRORS_IN_BAND: bool = true;

    fn describe(op: &mut Operation<'_>) {
        let schema = op.reply_schema::<T>();
        op.response(200, Self::TYPE, Some(schema));
    }
}

/// A streamed body with status 200.
#[derive(Debug)]
pub struct Stream<M> {
    body: Body,
    content_type: Option<&'static str>,
    media: PhantomData<M>,
}

impl<M: Media> Stream<M> {
    pub(super) fn new(body: Body) -> Self {
        Self { body, content_type: None, media: PhantomData }
    }

    /// Says another content type than the medium's own.
    pub fn content_type(mut self, content_type: &'static str) -> Self {
        self.content_type = Some(content_type);
        self
    }
}

impl<M: Media> IntoOutcome for Stream<M> {
    fn into_outcome(self) -> Outcome {
        Outcome::Response(response(200, self.body, self.content_type.unwrap_or(M::TYPE)))
    }

    fn describe(op: &mut Operation<'_>) {
        M::describe(op);
    }
}

impl IntoOutcome for Hijack {
    fn into_outcome(self) -> Outcome {
        Outcome::Hijack(self)
    }

    fn describe(op: &mut Operation<'_>) {
        op.response(101, "", None);
        Raw::describe(op);
    }
}

/// A handler that always fails: the engine is documented not to have this.
impl IntoOutcome for std::convert::Infallible {
    fn into_outcome(self) -> Outcome {
        match self {}
    }

    fn describe(_: &mut Operation<'_>) {}
}

/// A failure, as a response.
pub fn failure(err: ApiError) -> Response<Body> {
    // 304 has no body, by HTTP's rules.
    let mut response = match err.status() {
        StatusCode::NOT_MODIFIED => Response::new(Body::empty()),
        _ => response(500, Body::json(&ErrorResponse { message: err.message().to_owned() }), "application/json"),
    };
    *response.status_mut() = err.status();
    response
}

fn response(status: u16, body: Body, content_type: &'static str) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code(status);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).expect("statuses in types are valid")
}
