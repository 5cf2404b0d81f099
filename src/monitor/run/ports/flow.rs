//! One direction of a connection: what comes in at one socket goes out at the other, through a pipe and without being
//! copied to this process.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use rustix::pipe::{PipeFlags, SpliceFlags};

/// The most bytes that one splice(2) is asked for.
const PIECE: usize = 1024 * 1024;
/// How often a flow goes on before others have their turn.
const TURNS: usize = 8;
/// Bytes of a pipe's pages. A user may have 16,384 of them in all pipes, without privileges.
const SIZE: usize = 256 * 1024;
/// The most pipes that a monitor has: of these sizes, an eighth of what its user may have.
const MOST: usize = 32;

/// A pipe that flows borrow.
#[derive(Debug)]
struct Pipe {
    end: OwnedFd,
    start: OwnedFd,
}

/// Pipes, as many as there are flows under way. Where they are scarce, bytes are copied instead.
#[derive(Debug, Default)]
pub struct Pipes {
    free: Vec<Pipe>,
    lent: usize,
}

impl Pipes {
    fn lend(&mut self) -> Option<Pipe> {
        let pipe = match self.free.pop() {
            Some(pipe) => pipe,
            None if self.lent < MOST => {
                let (end, start) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
                // Who has many gets small ones, or none.
                let size = rustix::pipe::fcntl_setpipe_size(&start, SIZE).ok()?;
                (size >= SIZE).then_some(Pipe { end, start })?
            }
            None => return None,
        };
        self.lent += 1;
        Some(pipe)
    }

    fn take_back(&mut self, pipe: Pipe) {
        self.lent -= 1;
        self.free.push(pipe);
    }

    /// Nothing moves any more: those that nobody has go.
    pub fn release(&mut self) {
        self.free = Vec::new();
    }
}

/// One direction.
#[derive(Debug, Default)]
pub struct Flow {
    /// The pipe, while there is something in it.
    pipe: Option<Pipe>,
    /// How much is in it.
    held: usize,
    /// The socket that it leads to takes nothing now.
    blocked: bool,
    /// No more comes in.
    ended: bool,
    /// The other side knows.
    passed_on: bool,
}

impl Flow {
    /// Whether it waits for more.
    pub fn wants_in(&self) -> bool {
        !self.ended && !self.blocked
    }

    /// Whether it waits for the socket that it leads to.
    pub fn wants_out(&self) -> bool {
        self.blocked
    }

    /// Whether all has come through, and the end, too.
    pub fn is_over(&self) -> bool {
        self.passed_on
    }

    /// Moves what can be moved now.
    ///
    /// # Errors
    /// Those of one of the sockets: the connection is over.
    pub fn pump(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        pipes: &mut Pipes,
        buf: &mut [u8],
    ) -> io::Result<()> {
        self.blocked = false;
        for _ in 0..TURNS {
            if self.held == 0 && (self.ended || !self.take_in(from, to, pipes, buf)?) {
                break;
            }
            if self.held > 0 && !self.give_out(to)? {
                break;
            }
        }
        if self.held == 0
            && let Some(pipe) = self.pipe.take()
        {
            pipes.take_back(pipe);
        }
        if self.ended && self.held == 0 && !self.blocked && !self.passed_on {
            self.passed_on = true;
            // The other side may have ended all by itself.
            match rustix::net::shutdown(to, Shutdown::Write) {
                Ok(()) | Err(Errno::NOTCONN) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Whether something came.
    fn take_in(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        pipes: &mut Pipes,
        buf: &mut [u8],
    ) -> io::Result<bool> {
        if self.pipe.is_none() {
            self.pipe = pipes.lend();
        }
        let Some(pipe) = &self.pipe else { return self.copy(from, to, buf) };
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        match rustix::pipe::splice(from, None, &pipe.start, None, PIECE, flags) {
            // The end, or a byte that was sent as urgent, which the kernel does not lead into a pipe.
            Ok(0) => self.copy(from, to, buf),
            Ok(len) => {
                self.held = len;
                Ok(true)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether all of it went.
    fn give_out(&mut self, to: BorrowedFd<'_>) -> io::Result<bool> {
        let Some(pipe) = &self.pipe else { return Ok(true) };
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        match rustix::pipe::splice(&pipe.end, None, to, None, self.held, flags) {
            Ok(len) => self.held -= len.min(self.held),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        self.blocked = self.held > 0;
        Ok(!self.blocked)
    }

    /// Copies, and takes from the one socket only what the other has taken. Whether there may be more.
    fn copy(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<bool> {
        let len = match rustix::net::recv(from, &mut *buf, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((0, _)) => {
                self.ended = true;
                return Ok(false);
            }
            Ok((len, _)) => len.min(buf.len()),
            Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        };
        let sent = match rustix::net::send(to, &buf[..len], SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(sent) => sent,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        if sent > 0 {
            // TCP forgets them without a copy.
            rustix::net::recv(from, &mut buf[..sent], RecvFlags::TRUNC | RecvFlags::DONTWAIT)?;
        }
        self.blocked = sent < len;
        Ok(!self.blocked)
    }

    /// Its pipe is nobody's any more, whatever is in it.
    pub fn give_up(&mut self, pipes: &mut Pipes) {
        if let Some(pipe) = self.pipe.take() {
            match self.held {
                0 => pipes.take_back(pipe),
                _ => pipes.lent -= 1,
            }
        }
    }
}
