//! Bodies of responses: whole ones, and streams written by a blocking thread.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use rustix::pipe::{PipeFlags, pipe_with};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::error::ApiError;
use super::work::Job;
use crate::engine;

/// Chunks that may wait for a slow client before its writer does.
const CHUNKS_IN_FLIGHT: usize = 8;

/// The body of a response.
#[derive(Debug)]
pub struct Body {
    content: Content,
    /// Called off when the last byte has been given to the connection, or the client is gone.
    exchange: Option<Box<dyn Ended>>,
}

/// Something that wants to know that a body has ended: it is dropped then.
pub trait Ended: Send + Sync + std::fmt::Debug {}

#[derive(Debug)]
enum Content {
    Whole(Option<Bytes>),
    Stream { chunks: mpsc::Receiver<Result<Bytes, io::Error>>, _gone: OwnedFd },
}

impl Body {
    /// No bytes.
    pub fn empty() -> Self {
        Self::bytes(Bytes::new())
    }

    /// These bytes.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self { content: Content::Whole(Some(bytes.into())), exchange: None }
    }

    /// A value as JSON with a final newline, as dockerd writes it.
    pub fn json(value: &impl Serialize) -> Self {
        let mut bytes = serde_json::to_vec(value).expect("replies have string keys only");
        bytes.push(b'\n');
        Self::bytes(bytes)
    }

    /// Whether its end is open.
    pub fn is_stream(&self) -> bool {
        matches!(self.content, Content::Stream { .. })
    }

    /// Drops this when the body has ended.
    pub fn until_end(mut self, exchange: Box<dyn Ended>) -> Self {
        self.exchange = Some(exchange);
        self
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match &mut self.content {
            Content::Whole(bytes) => {
                Poll::Ready(bytes.take().filter(|bytes| !bytes.is_empty()).map(Frame::data).map(Ok))
            }
            Content::Stream { chunks, .. } => {
                chunks.poll_recv(cx).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Content::Stream { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Content::Stream { .. } => SizeHint::default(),
        }
    }
}

/// Where a blocking thread writes a streamed response. Not buffered: each write is a chunk for the client, and waits
/// while the client is slow. The first write or flush sends the headers.
#[derive(Debug)]
pub struct Output {
    chunks: mpsc::Sender<Result<Bytes, io::Error>>,
    begun: Option<oneshot::Sender<Result<(), ApiError>>>,
    gone: OwnedFd,
    /// Errors after the first byte: as a JSON message in the stream, or by breaking it off.
    in_band: bool,
}

impl Output {
    /// A descriptor that polls as hung up once the client is gone.
    ///
    /// # Errors
    /// Too many open files.
    pub fn gone_owned(&self) -> io::Result<OwnedFd> {
        self.gone.try_clone()
    }

    /// Writes a value as one line of JSON.
    ///
    /// # Errors
    /// The client is gone.
    pub fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.send(line.into())
    }

    fn begin(&mut self) {
        if let Some(begun) = self.begun.take() {
            let _ = begun.send(Ok(()));
        }
    }

    fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        self.begin();
        self.chunks.blocking_send(Ok(bytes)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn fail(mut self, err: engine::Error) {
        let err = ApiError::from(err);
        match self.begun.take() {
            Some(begun) => drop(begun.send(Err(err))),
            None if self.chunks.is_closed() => tracing::debug!("client gone: {}", err.message()),
            None if self.in_band => {
                let message = err.message();
                let _ = self.json(&serde_json::json!({ "errorDetail": { "message": message }, "error": message }));
            }
            None => {
                tracing::warn!("stream broken off: {}", err.message());
                let _ = self.chunks.blocking_send(Err(io::Error::other(err.message().to_owned())));
            }
        }
    }
}

impl Write for Output {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if !buf.is_empty() {
            self.send(Bytes::copy_from_slice(buf))?;
        }
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.begin();
        if self.chunks.is_closed() { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}

/// Runs a writer on a blocking thread and waits until it begins to answer.
pub(super) async fn stream(
    job: Job,
    in_band: bool,
    write: impl FnOnce(&mut Output) -> engine::Result<()> + Send + 'static,
) -> Result<Body, ApiError> {
    let (sender, chunks) = mpsc::channel(CHUNKS_IN_FLIGHT);
    let (begun, begins) = oneshot::channel();
    let pipe = || pipe_with(PipeFlags::CLOEXEC);
    let (gone, hold) = pipe().map_err(|err| ApiError::from(engine::Error::from(io::Error::from(err))))?;
    let content = Content::Stream { chunks, _gone: hold };
    let span = tracing::Span::current();
    tokio::task::spawn_blocking(move || {
        let _job = job.into_stream();
        let _entered = span.enter();
        let mut out = Output { chunks: sender, begun: Some(begun), gone, in_band };
        match write(&mut out) {
            Ok(()) => out.begin(),
            Err(err) => out.fail(err),
        }
    });
    match begins.await {
        Ok(Ok(())) => Ok(Body { content, exchange: None }),
        Ok(Err(err)) => Err(err),
        // The sender is dropped unused only by a panic, which the runtime has reported.
        Err(_) => Err(ApiError::new(crate::model::ErrorKind::System, "the request's thread panicked")),
    }
}
