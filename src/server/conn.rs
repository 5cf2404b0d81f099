//! One client's connection: its socket and what it is busy with.
//!
//! The connection counts as work from its first byte (or, when new, from the start) to the last byte of the response;
//! between two requests it is idle and holds nothing. The socket is shared between hyper's view of it ([`super::io`]) and
//! [`super::serve`], which watches for the client's leaving and can take it back.

use std::future::pending;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::Shutdown;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::watch;

use crate::api::work::{Job, Work};

/// How long a client may take for a request's head, and a new one until it begins.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may take nothing of an answer that has an end.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Of a body that nobody wants: how long the client may pause, how long it may send, and how many bytes.
const DRAIN_PAUSE: Duration = Duration::from_secs(10);
const DRAIN_TIME: Duration = Duration::from_secs(60);
const DRAIN_BYTES: u64 = 4 << 30;
/// After the last answer on a connection: how long the client may pause, and how long it may send.
const LINGER_PAUSE: Duration = Duration::from_millis(500);
const LINGER_TIME: Duration = Duration::from_secs(5);

/// A connection's socket and what it is doing.
#[derive(Debug)]
pub struct Conn {
    /// The client.
    pub stream: UnixStream,
    work: Arc<Work>,
    job: Mutex<Option<Job>>,
    state: watch::Sender<State>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    phase: Phase,
    /// A body that nobody wants is still coming, or will never be read.
    left: Left,
    /// Since when the client has taken nothing of what waits for it.
    stalled: Option<Instant>,
    /// The answer may go on for ever, and so may the client's pauses.
    stream: bool,
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
    /// All is answered, but the client is still sending.
    Draining,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    Coming,
    Unread,
}

impl Conn {
    /// A new connection. It is busy: its first request is on its way.
    pub fn new(stream: UnixStream, work: &Arc<Work>) -> Arc<Self> {
        let phase = Phase::Head(Instant::now());
        Arc::new(Self {
            stream,
            work: Arc::clone(work),
            job: Mutex::new(Some(work.begin())),
            state: watch::Sender::new(State { phase, left: Left::Nothing, stalled: None, stream: false }),
        })
    }

    fn job(&self) -> MutexGuard<'_, Option<Job>> {
        self.job.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn phase(&self) -> Phase {
        self.state.borrow().phase
    }

    fn enter(&self, phase: Phase) {
        self.state.send_modify(|state| state.phase = phase);
    }

    fn rest(&self) {
        self.enter(Phase::Idle);
        *self.job() = None;
    }

    /// Bytes came in. Whether they begin a request.
    pub fn received(&self) -> bool {
        let idle = self.phase() == Phase::Idle;
        if idle {
            *self.job() = Some(self.work.begin());
            self.enter(Phase::Head(Instant::now()));
        }
        idle
    }

    /// A request is there, and its handler begins.
    pub fn serving(&self) {
        self.received();
        self.state.send_modify(|state| (state.phase, state.stream) = (Phase::Serving, false));
    }

    /// The answer is a stream, which may go on for ever.
    pub fn streams(&self) {
        self.state.send_modify(|state| state.stream = true);
        if let Some(job) = self.job().as_mut() {
            job.become_stream();
        }
    }

    /// A response's body has been given to hyper whole, or given up.
    pub fn answered(&self) {
        self.enter(Phase::Flushing);
    }

    /// All that hyper had is with the kernel.
    pub fn flushed(&self) {
        let State { phase, left, .. } = *self.state.borrow();
        match (phase, left) {
            (Phase::Flushing, Left::Coming) => self.enter(Phase::Draining),
            (Phase::Flushing, Left::Nothing | Left::Unread) => self.rest(),
            _ => {}
        }
    }

    /// What hyper has to write waits for the client, or does not any more.
    pub fn stalled(&self, stalled: bool) {
        self.state.send_if_modified(|state| {
            let changes = state.stalled.is_some() != stalled;
            if changes {
                state.stalled = stalled.then(Instant::now);
            }
            changes
        });
    }

    /// The rest of a body will be read, by [`Conn::drain`]: until then what comes is no request.
    pub fn will_drain(&self) {
        self.state.send_modify(|state| state.left = Left::Coming);
    }

    /// Reads the rest of a body that nobody wants: a client that sends all before it reads gets its answer only so,
    /// and its next request comes after that. One that sends for ever is given up.
    pub async fn drain(&self, mut body: Incoming) {
        let (mut bytes, began) = (0, Instant::now());
        let left = loop {
            match tokio::time::timeout(DRAIN_PAUSE, body.frame()).await {
                Ok(Some(Ok(frame))) => bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
                Ok(None) => break Left::Nothing,
                Ok(Some(Err(_))) | Err(_) => break Left::Unread,
            }
            if bytes > DRAIN_BYTES || began.elapsed() > DRAIN_TIME {
                break Left::Unread;
            }
        };
        self.state.send_modify(|state| state.left = left);
        if self.phase() == Phase::Draining {
            self.rest();
        }
    }

    /// A body was not even asked for. Clients send it after a while all the same.
    pub fn leave_unread(&self) {
        self.state.send_modify(|state| state.left = Left::Unread);
    }

    /// Whether this answer is the last: what follows the request would be taken for the next one.
    pub fn is_last(&self) -> bool {
        self.state.borrow().left == Left::Unread
    }

    /// Closes the connection for good if it is idle. A request that came in before that is still served: then this
    /// is false. Whatever the client writes later fails at its side, so nothing is lost in silence.
    pub fn retire(&self) -> bool {
        if self.phase() != Phase::Idle {
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
    pub async fn abandoned(&self) -> io::Result<()> {
        // No event, but that of a closed read side.
        self.stream.ready(Interest::PRIORITY).await?;
        let mut state = self.state.subscribe();
        let served = async |state: &mut watch::Receiver<State>| {
            state.wait_for(|state| state.phase == Phase::Serving).await.map_err(io::Error::other).map(drop)
        };
        served(&mut state).await?;
        if self.hung_up() {
            return Ok(());
        }
        // Half-closed. The runtime reports a closed read side once; the hang-up comes as a new edge on a second one.
        let second = UnixStream::from_std(self.stream.as_fd().try_clone_to_owned()?.into())?;
        loop {
            served(&mut state).await?;
            second.writable().await?;
            if self.hung_up() {
                return Ok(());
            }
            // This only clears the readiness: the next event is the next edge.
            let _ = second.try_io::<()>(Interest::WRITABLE, || Err(io::ErrorKind::WouldBlock.into()));
        }
    }

    /// After the last answer: lets a client that still sends read it. A socket that is closed under a client makes it
    /// report that instead of the answer. `broken`: what it sent could not be read to its end.
    pub async fn linger(&self, broken: bool) {
        let unread = rustix::io::ioctl_fionread(&self.stream).unwrap_or(0);
        if unread == 0 && !broken && self.state.borrow().left == Left::Nothing {
            return;
        }
        let _ = rustix::net::shutdown(&self.stream, Shutdown::Write);
        let began = Instant::now();
        let mut chunk = vec![0; 64 << 10];
        while began.elapsed() < LINGER_TIME {
            match tokio::time::timeout(LINGER_PAUSE, self.stream.readable()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return,
            }
            match self.stream.try_read(&mut chunk) {
                Ok(0) => return,
                Err(err) if err.kind() != io::ErrorKind::WouldBlock => return,
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// Waits until the client has lost its patience or ours: a head that does not come, an answer that is not taken.
    pub async fn out_of_patience(&self) -> &'static str {
        let mut state = self.state.subscribe();
        loop {
            let now = *state.borrow_and_update();
            let (since, limit, what) = match (now.phase, now.stalled) {
                (Phase::Head(since), _) => (Some(since), HEAD_TIMEOUT, "no request came"),
                (_, stalled) if !now.stream => (stalled, READ_TIMEOUT, "the answer was not read"),
                _ => (None, HEAD_TIMEOUT, ""),
            };
            let left = since.map_or(Duration::MAX, |since| limit.saturating_sub(since.elapsed()));
            tokio::select! {
                changed = state.changed() => if changed.is_err() { pending::<()>().await },
                () = tokio::time::sleep(left) => return what,
            }
        }
    }
}
