//! A process with its streams: the container's own, or an exec session's. Output goes to clients and the log, clients'
//! input to the process.

use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::io::Errno;

use super::attached::{Client, HEADER, Input, header};
use super::log::JsonLog;
use super::watch::{Role, Watch};
use crate::sys::epoll::Interest;
use crate::sys::memory::Buffer;

/// Most bytes read from an output at once.
const READ: usize = 128 * 1024;
/// Room for what the log makes of that.
const SCRATCH: usize = 384 * 1024;
/// Most bytes of input read from a client at once; so much may wait for the process.
const STDIN: usize = 64 * 1024;
/// Reads in a row before other descriptors have their turn.
const TURN: usize = 8;
/// Most bytes read after the process has ended: more than any pipe holds, less than for ever.
const LAST_WORDS: usize = 8 << 20;
/// A pipe's usual capacity, and that of one that is kept busy, in bytes.
const PIPE: usize = 64 * 1024;
const BUSY_PIPE: usize = 1 << 20;

/// The monitor's two large buffers, which cost nothing at rest.
#[derive(Debug)]
pub struct Io {
    /// Where output is read to, behind room for a header.
    pub input: Buffer,
    /// Where log entries are made.
    pub scratch: Buffer,
    /// Whether they hold pages.
    pub dirty: bool,
}

impl Io {
    /// Reserves them.
    pub fn new() -> io::Result<Self> {
        Ok(Self { input: Buffer::new(HEADER + READ)?, scratch: Buffer::new(SCRATCH)?, dirty: false })
    }

    /// Gives their pages back.
    pub fn release(&mut self) {
        self.input.release();
        self.scratch.release();
        self.dirty = false;
    }
}

/// What reading an output came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pumped {
    /// There may be more.
    More,
    /// Nothing now.
    Blocked,
    /// Nobody can write any more.
    Ended,
}

/// A client left by its keys.
#[derive(Debug, PartialEq, Eq)]
pub struct Detached;

/// A process with its streams.
#[derive(Debug, Default)]
pub struct Session {
    /// The exec session's id; none: the container's own process.
    pub exec: Option<String>,
    /// With a terminal: one stream, raw.
    pub tty: bool,
    /// The process's input ends with the first client's.
    pub close_stdin: bool,
    /// The process; 0 before the start.
    pub pid: i32,
    /// The forked starter, while it works: its process and the socket on which it reports.
    pub starter: Option<(i32, OwnedFd)>,
    /// Its exit code, once it has ended.
    pub ended: Option<i32>,
    /// When it started.
    pub started: i64,
    /// The terminal's rows and columns, if someone has said.
    pub size: Option<(u16, u16)>,
    /// Attached clients.
    pub clients: Vec<Client>,
    /// Its log.
    pub log: Option<JsonLog>,
    /// Why the log could not be written.
    pub log_error: Option<io::Error>,
    /// That has been told, once.
    pub log_complained: bool,
    pub(super) outputs: [Option<OwnedFd>; 2],
    pub(super) input: Option<OwnedFd>,
    /// Input that the process has not taken yet.
    pub(super) pending: Vec<u8>,
    pub(super) input_ends: bool,
    /// It has no input, or none any more: what clients send is dropped.
    pub input_closed: bool,
    pub(super) busy: u32,
}

impl Session {
    /// Takes the monitor's ends of three pipes; `stdin` is none where the process has no input.
    pub fn take_pipes(
        &mut self,
        at: usize,
        stdin: Option<OwnedFd>,
        out: OwnedFd,
        err: OwnedFd,
        watch: &mut Watch,
    ) -> io::Result<()> {
        for (stream, fd) in [out, err].into_iter().enumerate() {
            rustix::io::ioctl_fionbio(&fd, true)?;
            watch.add(fd.as_fd(), Role::Output(at, stream), Interest::IN)?;
            self.outputs[stream] = Some(fd);
        }
        if let Some(fd) = stdin {
            rustix::io::ioctl_fionbio(&fd, true)?;
            self.input = Some(fd);
            self.feed(at, watch);
        }
        Ok(())
    }

    /// Takes a terminal's master.
    pub fn take_terminal(&mut self, at: usize, master: OwnedFd, stdin: bool, watch: &mut Watch) -> io::Result<()> {
        rustix::io::ioctl_fionbio(&master, true)?;
        if stdin {
            // A descriptor of its own, to be waited for on its own.
            self.input = Some(rustix::io::fcntl_dupfd_cloexec(&master, 3)?);
        }
        if let Some((rows, columns)) = self.size {
            let _ = crate::sys::pty::resize(&master, rows, columns);
        }
        watch.add(master.as_fd(), Role::Output(at, 0), Interest::IN)?;
        self.outputs[0] = Some(master);
        self.feed(at, watch);
        Ok(())
    }

    /// Sets the terminal's size, now or when there is one.
    pub fn resize(&mut self, rows: u16, columns: u16) -> io::Result<()> {
        self.size = Some((rows, columns));
        match &self.outputs[0] {
            Some(master) if self.tty => crate::sys::pty::resize(master, rows, columns),
            _ => Ok(()),
        }
    }

    /// Whether nobody can write to its outputs any more.
    pub fn is_silent(&self) -> bool {
        self.outputs.iter().all(Option::is_none)
    }

    /// The unfinished line of each stream.
    fn unfinished(log: Option<&JsonLog>) -> [&[u8]; 2] {
        log.map_or([&[], &[]], |log| [log.unfinished(0), log.unfinished(1)])
    }

    /// An output is readable.
    pub fn readable(&mut self, stream: usize, io: &mut Io, dir: &Path, watch: &mut Watch) {
        for _ in 0..TURN {
            match self.pump(stream, io, dir) {
                (Pumped::More, _) => {}
                (Pumped::Blocked, _) => break,
                (Pumped::Ended, _) => {
                    self.close_output(stream, watch);
                    break;
                }
            }
        }
    }

    /// Reads an output once, and passes that on; returns the number of bytes.
    fn pump(&mut self, stream: usize, io: &mut Io, dir: &Path) -> (Pumped, usize) {
        let Some(fd) = &self.outputs[stream] else { return (Pumped::Ended, 0) };
        io.dirty = true;
        let len = match rustix::io::read(fd, &mut io.input[HEADER..]) {
            // A terminal whose last user has gone says EIO.
            Ok(0) | Err(Errno::IO) => return (Pumped::Ended, 0),
            Ok(len) => len,
            Err(Errno::INTR) => return (Pumped::More, 0),
            Err(_) => return (Pumped::Blocked, 0),
        };
        if len >= PIPE && !self.tty {
            self.busy += 1;
            if self.busy == 2 {
                let _ = rustix::pipe::fcntl_setpipe_size(fd, BUSY_PIPE);
            }
        }
        if self.ended.is_none() || !self.clients.is_empty() || self.log.is_some() {
            io.input[..HEADER].copy_from_slice(&header(stream, len));
            let frame = &io.input[..HEADER + len];
            for client in &mut self.clients {
                client.deliver(stream, frame, dir);
            }
            if let Some(log) = &mut self.log
                && let Err(error) = log.write(stream, &frame[HEADER..], &mut io.scratch)
            {
                self.log_error = Some(error);
            }
        }
        (if len < PIPE { Pumped::Blocked } else { Pumped::More }, len)
    }

    fn close_output(&mut self, stream: usize, watch: &mut Watch) {
        if let Some(fd) = self.outputs[stream].take() {
            watch.remove(fd.as_fd());
        }
    }

    /// The process has ended: takes what it left in its outputs, and completes the log.
    pub fn last_words(&mut self, io: &mut Io, dir: &Path, watch: &mut Watch) {
        for stream in 0..2 {
            let mut total = 0;
            while total < LAST_WORDS && self.outputs[stream].is_some() {
                let (pumped, len) = self.pump(stream, io, dir);
                total += len;
                if pumped == Pumped::Ended {
                    self.close_output(stream, watch);
                } else if len == 0 && pumped == Pumped::Blocked {
                    break;
                }
            }
        }
        self.close_input(watch);
        if let Some(log) = &mut self.log
            && let Err(error) = log.finish(&mut io.scratch)
        {
            self.log_error = Some(error);
        }
    }

    /// Gives up all that connects it to its process.
    pub fn disconnect(&mut self, watch: &mut Watch) {
        (0..2).for_each(|stream| self.close_output(stream, watch));
        self.close_input(watch);
    }

    /// Back to small pipes after a busy time: the user's allowance of pipe memory is shared.
    pub fn calm_down(&mut self) {
        if std::mem::take(&mut self.busy) >= 2 {
            for fd in self.outputs.iter().flatten() {
                let _ = rustix::pipe::fcntl_setpipe_size(fd, PIPE);
            }
        }
    }

    /// Adds a client, with bytes that it already sent.
    pub fn attach(&mut self, at: usize, mut client: Client, sent: &[u8], dir: &Path, watch: &mut Watch) {
        let mut detached = None;
        if client.options.stdin && !sent.is_empty() {
            detached = self.type_in(&mut client, sent);
        }
        client.writable(dir, Self::unfinished(self.log.as_ref()));
        if detached.is_some() {
            client.finish();
        }
        self.clients.push(client);
        self.feed(at, watch);
    }

    /// A client's socket has something to say.
    pub fn client_ready(
        &mut self,
        at: usize,
        fd: RawFd,
        what: Interest,
        io: &mut Io,
        dir: &Path,
        watch: &mut Watch,
    ) -> Option<Detached> {
        let place = self.clients.iter().position(|client| client.fd() == fd)?;
        let mut client = self.clients.swap_remove(place);
        client.hung_up |= what.intersects(Interest::HUP | Interest::ERR);
        let mut detached = None;
        if client.options.stdin && what.intersects(Interest::IN | Interest::HUP) && self.pending.is_empty() {
            io.dirty = true;
            match client.read(&mut io.input[..STDIN]) {
                Input::Bytes(len) => detached = self.type_in(&mut client, &io.input[..len]),
                Input::Blocked => {}
                Input::End => self.input_ended(&mut client),
            }
        }
        if detached.is_some() {
            self.input_ended(&mut client);
            client.finish();
        } else if client.hung_up && !client.options.stdin {
            client.drop_now();
        } else if what.intersects(Interest::OUT) {
            client.writable(dir, Self::unfinished(self.log.as_ref()));
        }
        self.clients.push(client);
        self.feed(at, watch);
        detached
    }

    /// Passes on what a client typed, up to its detach keys.
    fn type_in(&mut self, client: &mut Client, bytes: &[u8]) -> Option<Detached> {
        match &mut client.options.detach {
            Some(detach) => {
                let mut out = Vec::with_capacity(bytes.len());
                let done = detach.filter(bytes, &mut out);
                self.put_in(&out);
                done.then_some(Detached)
            }
            None => {
                self.put_in(bytes);
                None
            }
        }
    }

    /// Writes to the process's input what it takes now, keeps the rest. Before the start all is kept.
    fn put_in(&mut self, mut bytes: &[u8]) {
        if self.input_ends || self.input_closed {
            return;
        }
        if let Some(fd) = &self.input
            && self.pending.is_empty()
        {
            while !bytes.is_empty() {
                match rustix::io::write(fd, bytes) {
                    Ok(written) => bytes = &bytes[written..],
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => break,
                    // The process has closed its input: what comes goes nowhere, as with any pipe.
                    Err(_) => return,
                }
            }
        }
        self.pending.extend_from_slice(bytes);
    }

    /// A client will send no more.
    fn input_ended(&mut self, client: &mut Client) {
        if std::mem::take(&mut client.options.stdin) && self.close_stdin && !self.tty {
            self.input_ends = true;
        }
    }

    /// The process's input may take more; afterwards every client is watched for what matters now.
    pub fn feed(&mut self, at: usize, watch: &mut Watch) {
        if self.input.is_some() && !self.pending.is_empty() {
            let pending = std::mem::take(&mut self.pending);
            let ends = std::mem::take(&mut self.input_ends);
            self.put_in(&pending);
            self.input_ends = ends;
        }
        let blocked = !self.pending.is_empty();
        if let Some(fd) = &self.input {
            // Watched only while it is full: a pipe without readers would be reported all the time.
            watch.remove(fd.as_fd());
            if blocked {
                let _ = watch.add(fd.as_fd(), Role::Input(at), Interest::OUT);
            }
        }
        if self.input_ends && !blocked {
            self.close_input(watch);
        }
        self.clients.retain(|client| {
            if client.is_gone() {
                watch.remove(client.as_fd());
            }
            !client.is_gone()
        });
        for client in &mut self.clients {
            let interest = client.interest(blocked);
            if interest == client.watched {
                continue;
            }
            match interest {
                None => watch.remove(client.as_fd()),
                Some(interest) if client.watched.is_none() => {
                    let _ = watch.add(client.as_fd(), Role::Client(at, client.fd()), interest);
                }
                Some(interest) => {
                    let _ = watch.set(client.as_fd(), interest);
                }
            }
            client.watched = interest;
        }
    }

    fn close_input(&mut self, watch: &mut Watch) {
        self.pending = Vec::new();
        self.input_closed = true;
        if let Some(fd) = self.input.take() {
            watch.remove(fd.as_fd());
        }
    }

    /// Nothing new will come for the clients.
    pub fn finish_clients(&mut self, at: usize, dir: &Path, watch: &mut Watch) {
        for client in &mut self.clients {
            client.finish();
            if !client.is_gone() {
                client.writable(dir, Self::unfinished(None));
            }
        }
        self.feed(at, watch);
    }

    /// Tells the clients something in-band, on standard output.
    pub fn announce(&mut self, text: &str, dir: &Path) {
        let frame = [&header(0, text.len())[..], text.as_bytes()].concat();
        for client in &mut self.clients {
            client.options.wants[0] = true;
            client.deliver(0, &frame, dir);
        }
    }
}
