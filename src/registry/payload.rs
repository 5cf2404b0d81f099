//! Bodies of requests: small ones, and parts of files that are read while they are sent.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

const BUFFER: usize = 128 << 10;

/// What a request has for a body. It can be sent again.
#[derive(Debug, Clone)]
pub enum Payload {
    /// These bytes, or none.
    Bytes(Bytes),
    /// A part of a file.
    Part(Arc<Part>),
}

/// A part of a file, and how much of it was taken to be sent.
#[derive(Debug)]
pub struct Part {
    file: Arc<File>,
    from: u64,
    length: u64,
    sent: AtomicU64,
}

impl Part {
    /// So many bytes from this one on.
    pub fn new(file: Arc<File>, from: u64, length: u64) -> Self {
        Self { file, from, length, sent: AtomicU64::new(0) }
    }

    /// Bytes that were taken to be sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Payload {
    /// Nothing.
    pub fn none() -> Self {
        Self::Bytes(Bytes::new())
    }

    /// The body, from its beginning.
    pub(super) fn outgoing(&self) -> Outgoing {
        if let Self::Part(part) = self {
            part.sent.store(0, Ordering::Relaxed);
        }
        Outgoing { payload: self.clone(), ended: false }
    }
}

/// A body on its way. A file is read by the thread that sends: what is pushed was written or read not long ago, and
/// comes from memory.
#[derive(Debug)]
pub(super) struct Outgoing {
    payload: Payload,
    ended: bool,
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let part = match &self.payload {
            Payload::Bytes(bytes) => {
                let bytes = bytes.clone();
                self.ended = true;
                return Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))));
            }
            Payload::Part(part) => Arc::clone(part),
        };
        let sent = part.sent();
        let most = usize::try_from(part.length - sent).unwrap_or(BUFFER).min(BUFFER);
        let mut buffer = vec![0; most];
        let count = if most == 0 { Ok(0) } else { part.file.read_at(&mut buffer, part.from + sent) };
        Poll::Ready(match count {
            Ok(0) if most == 0 => {
                self.ended = true;
                None
            }
            Ok(0) => Some(Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than it was"))),
            Ok(count) => {
                buffer.truncate(count);
                part.sent.store(sent + count as u64, Ordering::Relaxed);
                Some(Ok(Frame::data(buffer.into())))
            }
            Err(err) => Some(Err(err)),
        })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match &self.payload {
            Payload::Bytes(bytes) => bytes.len() as u64,
            Payload::Part(part) => part.length,
        })
    }
}
