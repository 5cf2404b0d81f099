//! The API's process: the socket, its connections, and when to go.

mod conn;
mod error;
mod io;
pub mod listen;
pub mod log;
mod peer;
mod request_line;
mod serve;

use std::future::pending;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::conn::Conn;
use self::listen::Listener;
use crate::api::dispatch::Api;
use crate::api::gate::{Access, Gate};
use crate::api::work::{STREAMS, Work};
use crate::engine::Engine;
use crate::sys::memory;

pub use error::Error;

/// How long requests may take to end after a request to terminate.
const LAST_REQUESTS: Duration = Duration::from_secs(5);
/// Engine calls at a time. One that waits, as a stream does, costs a thread that sleeps.
const THREADS: usize = STREAMS + 96;
/// How long a thread waits for another call, and its memory with it.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// Connections after which memory is given back, and how long nothing may have happened then: threads have ended.
const MANY: usize = 64;
const QUIET: Duration = Duration::from_secs(3);
/// Open files that this process may have, if the host allows it: each waiting client takes a few. Not more, because
/// monitors and their containers inherit it, and programs exist that close every number up to the limit.
const FILES: u64 = 65536;
/// Stack of such a thread, in bytes: reserved, not used. Small where it is tested: a recursion over what clients, images
/// or containers made shows at once.
const THREAD_STACK: usize = if cfg!(debug_assertions) { 256 << 10 } else { 1 << 20 };

/// What `pierless serve` is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen if no socket was passed.
    pub socket: PathBuf,
    /// How long nothing may happen before the process exits; none: for ever.
    pub idle_timeout: Option<Duration>,
}

/// Serves until idle or told to end. No thread may exist yet. `gate` enters the user's namespaces.
///
/// # Errors
/// There is nothing to listen on.
pub fn run(engine: Engine, gate: Gate, options: &Options) -> Result<(), Error> {
    memory::one_arena();
    let listener = Listener::take_or_bind(&options.socket)?;
    let files = getrlimit(Resource::Nofile);
    if let Some(soft) = files.current {
        let current = Some(files.maximum.map_or(FILES, |hard| hard.min(FILES)).max(soft));
        let _ = setrlimit(Resource::Nofile, Rlimit { current, ..files });
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(THREADS)
        .thread_stack_size(THREAD_STACK)
        .thread_keep_alive(KEEP_ALIVE)
        .build()?;
    let result = runtime.block_on(async { Server::new(engine, gate, listener)?.serve(options.idle_timeout).await });
    // Whatever still runs was given its time: do not wait for it again.
    runtime.shutdown_background();
    result
}

struct Server {
    api: Api,
    work: Arc<Work>,
    listener: Listener,
    incoming: UnixListener,
    conns: Vec<Weak<Conn>>,
}

/// Why the loop ends.
enum End {
    Idle,
    Asked,
}

impl Server {
    fn new(engine: Engine, gate: Gate, listener: Listener) -> Result<Self, Error> {
        let work = Arc::new(Work::default());
        let api = Api::new(Access::new(engine, Arc::clone(&work), gate));
        let incoming = UnixListener::from_std(listener.second()?)?;
        Ok(Self { api, work, listener, incoming, conns: Vec::new() })
    }

    async fn serve(mut self, idle_timeout: Option<Duration>) -> Result<(), Error> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tracing::debug!(socket = ?self.listener.path(), passed = self.listener.is_passed(), "serving");
        match self.accept_until_end(idle_timeout, &mut terminate, &mut interrupt).await? {
            End::Idle => tracing::debug!("idle"),
            End::Asked => {
                self.listener.stop();
                self.drain_queue();
                self.retire_idle();
                self.until_done(LAST_REQUESTS, Work::short).await;
            }
        }
        Ok(())
    }

    async fn accept_until_end(
        &mut self,
        idle_timeout: Option<Duration>,
        terminate: &mut Signal,
        interrupt: &mut Signal,
    ) -> Result<End, Error> {
        let (mut quiet_since, mut full, mut many) = (Instant::now(), false, 0);
        loop {
            let deadline = match idle_timeout {
                Some(timeout) if self.work.all() == 0 => Some(quiet_since + timeout),
                _ => None,
            };
            let rest = (many >= MANY && self.work.all() < MANY).then(|| quiet_since + QUIET);
            tokio::select! {
                incoming = self.incoming.accept() => {
                    many += 1;
                    match incoming {
                        Ok((stream, _)) => {
                            full = false;
                            self.admit(stream);
                        }
                        Err(err) => {
                            if !std::mem::replace(&mut full, true) {
                                tracing::warn!("accept: {err}");
                            }
                            // Too many open files: those who wait are not lost, and soon there is room again.
                            tokio::time::sleep(Duration::from_millis(50)).await;
                        }
                    }
                    quiet_since = Instant::now();
                }
                () = self.work.changed() => quiet_since = Instant::now(),
                // What many clients needed at once the allocator would keep.
                () = until(rest) => {
                    many = 0;
                    self.conns.retain(|conn| conn.strong_count() > 0);
                    self.conns.shrink_to_fit();
                    memory::trim();
                }
                () = until(deadline) => {
                    if self.may_exit() {
                        if self.listener.is_passed() {
                            return Ok(End::Idle);
                        }
                        return Ok(self.leave_own_socket().await);
                    }
                    quiet_since = Instant::now();
                }
                _ = terminate.recv() => return Ok(End::Asked),
                _ = interrupt.recv() => return Ok(End::Asked),
            }
        }
    }

    /// Accepts whatever waits. Returns whether something did.
    fn drain_queue(&mut self) -> bool {
        let mut any = false;
        while let Some(stream) = self.listener.try_accept() {
            any = true;
            match stream.set_nonblocking(true).and_then(|()| UnixStream::from_std(stream)) {
                Ok(stream) => self.admit(stream),
                Err(err) => tracing::warn!("connection: {err}"),
            }
        }
        any
    }

    fn admit(&mut self, stream: UnixStream) {
        if let Err(reason) = peer::check(&stream, self.listener.path().as_deref()) {
            tracing::warn!("refused a connection: {reason}");
            return;
        }
        let conn = Conn::new(stream, &self.work);
        if self.conns.len() == self.conns.capacity() {
            self.conns.retain(|conn| conn.strong_count() > 0);
        }
        self.conns.push(Arc::downgrade(&conn));
        let api = self.api.clone();
        tokio::spawn(serve::serve(conn, move |request| {
            let api = api.clone();
            async move { api.serve(request).await }
        }));
    }

    /// Whether nothing is in progress, nothing waits to be accepted, and no connection had a request on its way.
    /// If so, all idle connections are closed.
    fn may_exit(&mut self) -> bool {
        self.work.all() == 0 && !self.drain_queue() && self.retire_idle()
    }

    /// Closes idle connections for good; false if one of them turned out to have a request.
    fn retire_idle(&mut self) -> bool {
        let mut all = true;
        for conn in self.conns.iter().filter_map(Weak::upgrade) {
            all &= conn.retire();
        }
        all
    }

    /// Nobody goes on listening on a socket of our own, so all who got in before its name vanished are served.
    async fn leave_own_socket(&mut self) -> End {
        self.listener.stop();
        while self.drain_queue() || self.work.all() > 0 || !self.retire_idle() {
            self.until_done(Duration::MAX, Work::all).await;
        }
        End::Idle
    }

    async fn until_done(&self, limit: Duration, count: impl Fn(&Work) -> usize) {
        let done = async {
            while count(&self.work) > 0 {
                self.work.changed().await;
            }
        };
        if tokio::time::timeout(limit, done).await.is_err() {
            tracing::warn!("requests in progress are broken off");
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => pending().await,
    }
}
