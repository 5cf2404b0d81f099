//! One client's connection: HTTP until it ends, the client leaves, or a handler takes the socket over.
//!
//! The connection counts as work from its first byte (or, when new, from the start) to the last byte of the response;
//! between two requests it is idle and holds nothing. The socket is shared between hyper's view of it ([`Io`]) and
//! this one, which watches for the client's leaving and can take it back.

use std::future::pending;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{Request, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::Shutdown;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};

use super::io::Io;
use crate::api::body::Ended;
use crate::api::reply::Outcome;
use crate::api::work::{Job, Work};
use crate::api::{ClientSocket, Hijack};

/// How long a client may take for a request's head, and a new one until it begins.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client that was answered early may go on sending.
const LINGER: Duration = Duration::from_millis(500);
/// Bytes of a request's head; also what is read of a body at once.
const BUFFER: usize = 256 << 10;
/// Number of a request's headers.
const HEADERS: usize = 200;

/// A connection's socket and what it is doing.
#[derive(Debug)]
pub struct Conn {
    /// The client.
    pub stream: UnixStream,
    work: Arc<Work>,
    job: Mutex<Option<Job>>,
    phase: watch::Sender<Phase>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Between two requests.
    Idle,
    /// A head is being read, since then.
    Head(Instant),
    /// A handler is at work, or its body is being sent.
    Serving,
    /// All is given to hyper, not all to the kernel.
    Flushing,
}

impl Conn {
    /// A new connection. It is busy: its first request is on its way.
    pub fn new(stream: UnixStream, work: &Arc<Work>) -> Arc<Self> {
        Arc::new(Self {
            stream,
            work: Arc::clone(work),
            job: Mutex::new(Some(work.begin())),
            phase: watch::Sender::new(Phase::Head(Instant::now())),
        })
    }

    fn job(&self) -> MutexGuard<'_, Option<Job>> {
        self.job.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes came in.
    pub fn received(&self) {
        if *self.phase.borrow() == Phase::Idle {
            *self.job() = Some(self.work.begin());
            self.phase.send_replace(Phase::Head(Instant::now()));
        }
    }

    /// All that hyper had is with the kernel.
    pub fn flushed(&self) {
        if *self.phase.borrow() == Phase::Flushing {
            self.phase.send_replace(Phase::Idle);
            *self.job() = None;
        }
    }

    /// Closes the connection for good if it is idle. A request that came in before that is still served: then this
    /// is false. Whatever the client writes later fails at its side, so nothing is lost in silence.
    pub fn retire(&self) -> bool {
        if *self.phase.borrow() != Phase::Idle {
            return false;
        }
        // The order matters: after the shutdown no byte can come in, so what is not there now never will be.
        let _ = rustix::net::shutdown(&self.stream, Shutdown::Read);
        match rustix::io::ioctl_fionread(&self.stream) {
            Ok(0) | Err(_) => true,
            Ok(_) => {
                self.received();
                false
            }
        }
    }

    fn hung_up(&self) -> bool {
        let mut fds = [PollFd::new(&self.stream, PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
    }

    /// Waits until the client has closed its socket while it is being served. Half-closing it is not leaving: that
    /// is how clients end what they send.
    async fn abandoned(&self) -> io::Result<()> {
        // No event, but that of a closed read side.
        self.stream.ready(Interest::PRIORITY).await?;
        let mut phase = self.phase.subscribe();
        let served = async |phase: &mut watch::Receiver<Phase>| {
            phase.wait_for(|phase| *phase == Phase::Serving).await.map_err(io::Error::other).map(drop)
        };
        served(&mut phase).await?;
        if self.hung_up() {
            return Ok(());
        }
        // Half-closed. The runtime reports a closed read side once; the hang-up comes as a new edge on a second one.
        let second = UnixStream::from_std(self.stream.as_fd().try_clone_to_owned()?.into())?;
        loop {
            served(&mut phase).await?;
            second.writable().await?;
            if self.hung_up() {
                return Ok(());
            }
            // This only clears the readiness: the next event is the next edge.
            let _ = second.try_io::<()>(Interest::WRITABLE, || Err(io::ErrorKind::WouldBlock.into()));
        }
    }

    /// Lets a client that still sends a body nobody wants read its answer: a socket that is closed with bytes unread
    /// is reset, and clients then report that instead of the answer.
    async fn linger(&self) {
        let unread = rustix::io::ioctl_fionread(&self.stream).unwrap_or(0);
        if unread == 0 {
            return;
        }
        let _ = rustix::net::shutdown(&self.stream, Shutdown::Write);
        let drain = async {
            let mut chunk = vec![0; 64 << 10];
            loop {
                self.stream.readable().await?;
                match self.stream.try_read(&mut chunk) {
                    Ok(0) => return io::Result::Ok(()),
                    Ok(_) => {}
                    Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
                    Err(err) => return Err(err),
                }
            }
        };
        let _ = tokio::time::timeout(LINGER, drain).await;
    }

    /// Waits until a head has taken too long.
    async fn head_timeout(&self) {
        let mut phase = self.phase.subscribe();
        loop {
            let now = *phase.borrow_and_update();
            let left = match now {
                Phase::Head(since) => HEAD_TIMEOUT.saturating_sub(since.elapsed()),
                _ => Duration::MAX,
            };
            tokio::select! {
                changed = phase.changed() => if changed.is_err() { pending::<()>().await },
                () = tokio::time::sleep(left) => return,
            }
        }
    }
}

/// Tells the connection that a response's body has been given to hyper whole, or given up.
#[derive(Debug)]
struct BodyEnd(Arc<Conn>);

impl Ended for BodyEnd {}

impl Drop for BodyEnd {
    fn drop(&mut self) {
        self.0.phase.send_replace(Phase::Flushing);
    }
}

/// Serves a connection to its end. `answer` is the API.
pub async fn serve<F, A>(conn: Arc<Conn>, answer: F)
where
    F: Fn(Request<Incoming>) -> A + Clone,
    A: Future<Output = Outcome>,
{
    let (hijacks, mut hijacked) = mpsc::channel::<(Hijack, Option<String>)>(1);
    let service = {
        let conn = Arc::clone(&conn);
        service_fn(move |request: Request<Incoming>| {
            let upgrade = request.headers().get(header::UPGRADE);
            let upgrade = upgrade.and_then(|value| value.to_str().ok()).map(str::to_owned);
            exchange(Arc::clone(&conn), answer(request), hijacks.clone(), upgrade)
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
            if let Err(err) = result {
                tracing::debug!("connection: {err}");
            }
            conn.linger().await;
        }
        result = conn.abandoned() => tracing::debug!("client left during its request ({result:?})"),
        () = conn.head_timeout() => tracing::debug!("no request within {HEAD_TIMEOUT:?}"),
    }
}

async fn exchange(
    conn: Arc<Conn>,
    answer: impl Future<Output = Outcome>,
    hijacks: mpsc::Sender<(Hijack, Option<String>)>,
    upgrade: Option<String>,
) -> Result<http::Response<crate::api::body::Body>, std::convert::Infallible> {
    conn.received();
    conn.phase.send_replace(Phase::Serving);
    match answer.await {
        Outcome::Response(response) => {
            if response.body().is_stream()
                && let Some(job) = conn.job().as_mut()
            {
                job.to_stream();
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

    use super::*;
    use crate::api::reply::MULTIPLEXED_STREAM;

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
