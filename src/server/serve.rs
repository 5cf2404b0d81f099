//! HTTP on one connection: until it ends, the client leaves, or a handler takes the socket over.

use std::future::pending;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use http::{HeaderValue, Request, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::conn::Conn;
use super::io::Io;
use crate::api::body::Ended;
use crate::api::intake::{Intake, Leftover};
use crate::api::reply::Outcome;
use crate::api::{ClientSocket, Hijack};

/// Bytes of a request's head; also what is read of a body at once.
const BUFFER: usize = 256 << 10;
/// Number of a request's headers.
const HEADERS: usize = 200;

/// Tells the connection that a response's body has been given to hyper whole, or given up.
#[derive(Debug)]
struct BodyEnd(Arc<Conn>);

impl Ended for BodyEnd {}

impl Drop for BodyEnd {
    fn drop(&mut self) {
        self.0.answered();
    }
}

/// Serves a connection to its end. `answer` is the API.
pub async fn serve<F, A>(conn: Arc<Conn>, answer: F)
where
    F: Fn(Request<Intake>) -> A + Clone,
    A: Future<Output = Outcome>,
{
    let (hijacks, mut hijacked) = mpsc::channel::<(Hijack, Option<String>)>(1);
    let service = {
        let conn = Arc::clone(&conn);
        service_fn(move |request: Request<Incoming>| {
            let upgrade = request.headers().get(header::UPGRADE);
            let upgrade = upgrade.and_then(|value| value.to_str().ok()).map(str::to_owned);
            exchange(Arc::clone(&conn), answer(take_in(&conn, request)), hijacks.clone(), upgrade)
        })
    };
    let mut http = http1::Builder::new()
        .half_close(true)
        .title_case_headers(true)
        .max_buf_size(BUFFER)
        .max_headers(HEADERS)
        .serve_connection(Io::new(Arc::clone(&conn)), service);
    tokio::select! {
        biased;
        hijack = hijacked.recv() => {
            if let Some((hijack, upgrade)) = hijack {
                // hyper is suspended in the service's call: what it read ahead comes back with its parts.
                let buffered = http.into_parts().read_buf;
                if let Err(err) = take_over(conn, hijack, upgrade.as_deref(), buffered.to_vec()).await {
                    tracing::debug!("hijack: {err}");
                }
            }
        }
        result = &mut http => {
            if let Err(err) = &result {
                tracing::debug!("connection: {err}");
            }
            conn.linger(result.is_err()).await;
        }
        result = conn.abandoned() => tracing::debug!("client left during its request ({result:?})"),
        why = conn.out_of_patience() => tracing::debug!("client given up: {why}"),
    }
}

/// A request whose body is cared for when no handler reads it.
fn take_in(conn: &Arc<Conn>, request: Request<Incoming>) -> Request<Intake> {
    let expects = request.headers().get(header::EXPECT);
    let on_request = expects.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let (conn, runtime) = (Arc::clone(conn), Handle::current());
    request.map(|body| {
        let leftover = move |rest: Leftover| match rest {
            Leftover::Coming(body) => {
                conn.will_drain();
                runtime.spawn(async move { conn.drain(body).await });
            }
            Leftover::NotAskedFor => conn.leave_unread(),
        };
        Intake::new(body, on_request, Box::new(leftover))
    })
}

async fn exchange(
    conn: Arc<Conn>,
    answer: impl Future<Output = Outcome>,
    hijacks: mpsc::Sender<(Hijack, Option<String>)>,
    upgrade: Option<String>,
) -> Result<http::Response<crate::api::body::Body>, std::convert::Infallible> {
    conn.serving();
    match answer.await {
        Outcome::Response(mut response) => {
            if conn.is_last() {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            if response.body().is_stream() {
                conn.streams();
            }
            Ok(response.map(|body| body.until_end(Box::new(BodyEnd(conn)))))
        }
        Outcome::Hijack(hijack) => {
            let _ = hijacks.send((hijack, upgrade)).await;
            // This future is dropped with hyper's connection.
            pending().await
        }
    }
}

/// Sends the head and gives the socket away. Nobody shuts it down: the copies here are just closed.
async fn take_over(conn: Arc<Conn>, hijack: Hijack, upgrade: Option<&str>, buffered: Vec<u8>) -> io::Result<()> {
    let head = hijack.head(upgrade);
    let mut left = head.as_bytes();
    while !left.is_empty() {
        conn.stream.writable().await?;
        match conn.stream.try_write(left) {
            Ok(written) => left = &left[written..],
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
            Err(err) => return Err(err),
        }
    }
    let fd: OwnedFd = conn.stream.as_fd().try_clone_to_owned()?;
    tokio::task::spawn_blocking(move || {
        // The connection counts as work, and its own descriptor stays, until the other side has it.
        let _conn = conn;
        hijack.hand_over(ClientSocket { fd, buffered })
    })
    .await
    .map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream as Blocking;
    use std::sync::{Mutex, PoisonError};

    use tokio::net::UnixStream;

    use super::*;
    use crate::api::hijack::MULTIPLEXED_STREAM;
    use crate::api::work::Work;

    /// A client against a server that hijacks every request and answers `over` and what the client had sent ahead.
    fn hijacked(request: &str) -> String {
        let (mut client, server) = Blocking::pair().expect("pair");
        let request = request.to_owned();
        let talk = std::thread::spawn(move || {
            client.write_all(request.as_bytes()).expect("request");
            let mut answer = String::new();
            client.read_to_string(&mut answer).expect("answer to the end");
            answer
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        let work = Arc::new(Work::default());
        let taken = Arc::new(Mutex::new(None));
        runtime.block_on(async {
            server.set_nonblocking(true).expect("non-blocking");
            let conn = Conn::new(UnixStream::from_std(server).expect("stream"), &work);
            let answer = |_| {
                let taken = Arc::clone(&taken);
                std::future::ready(Outcome::Hijack(Hijack::new(MULTIPLEXED_STREAM, move |client| {
                    *taken.lock().unwrap_or_else(PoisonError::into_inner) = Some(client);
                    Ok(())
                })))
            };
            serve(conn, answer).await;
        });
        // The API's part is over, and its runtime gone; the client is still connected, to whom has the descriptor.
        assert_eq!(work.all(), 0);
        drop(runtime);
        let client = taken.lock().unwrap_or_else(PoisonError::into_inner).take().expect("handed over");
        let mut stream = Blocking::from(client.fd);
        stream.set_nonblocking(false).expect("blocking");
        stream.write_all(b"over ").expect("still open");
        stream.write_all(&client.buffered).expect("still open");
        drop(stream);
        talk.join().expect("client")
    }

    #[test]
    fn a_hijacked_socket_outlives_its_server() {
        let upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n";
        let answer = hijacked(&format!("POST /x HTTP/1.1\r\nHost: d\r\n{upgrade}Content-Length: 0\r\n\r\nahead"));
        assert_eq!(
            answer,
            "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\n\
             Connection: Upgrade\r\nUpgrade: tcp\r\n\r\nover ahead"
        );
        let answer = hijacked("POST /x HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\nearly bytes");
        assert_eq!(
            answer,
            "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\nover early bytes"
        );
    }
}
