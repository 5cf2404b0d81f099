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

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::Shutdown;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::watch;

use crate::api::work::{Job, Work};

/// How long a client may take for a request's head, and a new one until it begins.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client that was answered early may go on sending.
const LINGER: Duration = Duration::from_millis(500);

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

    /// A request is there, and its handler begins.
    pub fn serving(&self) {
        self.received();
        self.phase.send_replace(Phase::Serving);
    }

    /// The answer is a stream, which may go on for ever.
    pub fn streams(&self) {
        if let Some(job) = self.job().as_mut() {
            job.to_stream();
        }
    }

    /// A response's body has been given to hyper whole, or given up.
    pub fn answered(&self) {
        self.phase.send_replace(Phase::Flushing);
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
    pub async fn abandoned(&self) -> io::Result<()> {
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
    pub async fn linger(&self) {
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
    pub async fn head_timeout(&self) {
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
