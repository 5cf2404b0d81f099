//! The socket as hyper sees it.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};

use super::conn::Conn;
use super::request_line::RequestLine;

/// How much is read at once, in bytes.
const CHUNK: usize = 64 << 10;

/// A connection's socket for hyper: tells the connection what passes. It is never shut down here, since its owner may
/// go on with it.
pub struct Io {
    conn: Arc<Conn>,
    line: RequestLine,
    /// What became longer than hyper had room for.
    rest: VecDeque<u8>,
}

impl Io {
    /// hyper's view of this connection.
    pub fn new(conn: Arc<Conn>) -> Self {
        Self { conn, line: RequestLine::default(), rest: VecDeque::new() }
    }
}

impl Read for Io {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.rest.is_empty() {
            give(&mut this.rest, &mut buf);
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(this.conn.stream.poll_read_ready(cx))?;
            let mut chunk = [const { MaybeUninit::<u8>::uninit() }; CHUNK];
            let limit = buf.remaining().min(CHUNK);
            let result = this.conn.stream.try_io(tokio::io::Interest::READABLE, || {
                let (read, _) = rustix::io::read(&this.conn.stream, &mut chunk[..limit])?;
                Ok(&*read)
            });
            match result {
                Ok([]) => return Poll::Ready(Ok(())),
                Ok(bytes) => {
                    if this.conn.received() {
                        this.line = RequestLine::default();
                    }
                    if this.line == RequestLine::Over {
                        buf.put_slice(bytes);
                    } else {
                        let mut passed = Vec::with_capacity(bytes.len());
                        this.line.pass(bytes, &mut passed);
                        this.rest = passed.into();
                        give(&mut this.rest, &mut buf);
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Poll::Ready(Err(err)),
            }
        }
    }
}

/// As much as there is room for.
fn give(from: &mut VecDeque<u8>, to: &mut ReadBufCursor<'_>) {
    let len = from.len().min(to.remaining());
    let (first, second) = from.as_slices();
    let split = len.min(first.len());
    to.put_slice(&first[..split]);
    to.put_slice(&second[..len - split]);
    from.drain(..len);
}

impl Write for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            let Poll::Ready(ready) = self.conn.stream.poll_write_ready(cx) else {
                self.conn.stalled(true);
                return Poll::Pending;
            };
            ready?;
            match self.conn.stream.try_write_vectored(bufs) {
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
                result => {
                    self.conn.stalled(false);
                    return Poll::Ready(result);
                }
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper comes here once its own buffer is empty.
        self.conn.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
