//! The socket as hyper sees it.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};

use super::conn::Conn;

/// How much is read at once, in bytes.
const CHUNK: usize = 64 << 10;

/// A connection's socket for hyper: tells the connection what passes. It is never shut down here, since its owner may
/// go on with it.
pub struct Io {
    conn: Arc<Conn>,
}

impl Io {
    /// hyper's view of this connection.
    pub fn new(conn: Arc<Conn>) -> Self {
        Self { conn }
    }
}

impl Read for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.conn.stream.poll_read_ready(cx))?;
            let mut chunk = [const { MaybeUninit::<u8>::uninit() }; CHUNK];
            let limit = buf.remaining().min(CHUNK);
            let result = self.conn.stream.try_io(tokio::io::Interest::READABLE, || {
                let (read, _) = rustix::io::read(&self.conn.stream, &mut chunk[..limit])?;
                buf.put_slice(read);
                Ok(read.len())
            });
            match result {
                Ok(0) => return Poll::Ready(Ok(())),
                Ok(_) => {
                    self.conn.received();
                    return Poll::Ready(Ok(()));
                }
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Poll::Ready(Err(err)),
            }
        }
    }
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
            ready!(self.conn.stream.poll_write_ready(cx))?;
            match self.conn.stream.try_write_vectored(bufs) {
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
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
