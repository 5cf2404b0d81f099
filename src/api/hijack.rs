//! Connections that stop being HTTP: attach and exec hand the client's own socket to the container's monitor.
//!
//! hyper upgrades only on status 101, but Docker's clients without `Upgrade: tcp` get status 200 and then raw bytes.
//! So the connection's task takes the socket back from hyper, writes the head itself, and gives the descriptor away;
//! nothing here shuts the socket down afterwards: closing our copy does not end it.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;

use super::compat;
use super::version::ApiVersion;

/// Content type of a terminal's output, and of any before API 1.42.
pub const RAW_STREAM: &str = "application/vnd.docker.raw-stream";
/// Content type of stdout and stderr in Docker's frames.
pub const MULTIPLEXED_STREAM: &str = "application/vnd.docker.multiplexed-stream";

/// The client's socket, after the head of the response has been sent.
#[derive(Debug)]
pub struct ClientSocket {
    /// The socket, non-blocking.
    pub fd: OwnedFd,
    /// What the client sent after its request, already read from the socket.
    pub buffered: Vec<u8>,
}

type TakeOver = Box<dyn FnOnce(ClientSocket) -> io::Result<()> + Send>;

/// An answer that ends HTTP on this connection.
pub struct Hijack {
    content_type: &'static str,
    take_over: TakeOver,
}

impl Hijack {
    /// `take_over` is called on a blocking thread once the head has been sent. It is dropped uncalled if the client
    /// has gone. When it returns, no request is in progress any more: whoever has the descriptor goes on alone.
    pub fn new(
        content_type: &'static str,
        take_over: impl FnOnce(ClientSocket) -> io::Result<()> + Send + 'static,
    ) -> Self {
        Self { content_type, take_over: Box::new(take_over) }
    }

    /// The response's head, for a client that asked for this upgrade (`tcp`, `h2c`) or for none.
    pub fn head(&self, upgrade: Option<&str>) -> String {
        match upgrade {
            Some(protocol) => {
                let content_type = self.content_type;
                format!(
                    "HTTP/1.1 101 UPGRADED\r\nContent-Type: {content_type}\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n"
                )
            }
            None => format!("HTTP/1.1 200 OK\r\nContent-Type: {}\r\n\r\n", RAW_STREAM),
        }
    }

    /// Gives the socket away.
    ///
    /// # Errors
    /// Those of the closure.
    pub fn hand_over(self, client: ClientSocket) -> io::Result<()> {
        (self.take_over)(client)
    }
}

impl fmt::Debug for Hijack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hijack").field("content_type", &self.content_type).finish_non_exhaustive()
    }
}

/// The content type of a container's output: with a terminal it is one raw stream.
pub fn content_type(version: ApiVersion, tty: bool) -> &'static str {
    match !tty && compat::names_multiplexed_streams(version) {
        true => MULTIPLEXED_STREAM,
        false => RAW_STREAM,
    }
}
