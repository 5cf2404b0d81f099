//! The streams of one process: the container's own, or an exec session's. Output goes to clients and the log, clients'
//! input to the process.

use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::attached::{self, Client, HEADER, header};
use super::context::Context;
use super::input::Input;
use super::launch::Stdio;
use super::log::JsonLog;
use super::watch::{Role, Watch};
use crate::sys::epoll::Interest;

/// Most bytes of input read from a client at once; so much may wait for the process.
const STDIN: usize = 64 * 1024;
/// Reads in a row before other descriptors have their turn.
const TURN: usize = 8;
/// Most bytes read after the process has ended: more than any pipe holds, less than for ever.
const LAST_WORDS: usize = 8 << 20;
/// A pipe's usual capacity, and that of one that is kept busy, in bytes.
const PIPE: usize = 64 * 1024;
const BUSY_PIPE: usize = 1 << 20;

/// What reading an output came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pumped {
    /// There may be more.
    More,
    /// Nothing now.
    Blocked,
    /// Nobody can write now; somebody may, later.
    Away,
    /// Nobody can write any more.
    Ended,
}

/// A client left by its keys.
#[derive(Debug, PartialEq, Eq)]
pub struct Detached;

/// What a process has for streams.
#[derive(Debug)]
pub struct Shape {
    /// With a terminal: one stream, raw.
    pub tty: bool,
    /// It has an input.
    pub stdin: bool,
    /// The input ends with the first client's.
    pub stdin_once: bool,
    /// The terminal's rows and columns, if someone has said.
    pub size: Option<(u16, u16)>,
}

/// A process's streams, and who is at their other end.
#[derive(Debug)]
pub struct Streams {
    /// What descriptors that belong to it are known by.
    at: usize,
    shape: Shape,
    clients: Vec<Client>,
    log: Option<JsonLog>,
    /// That the log cannot be written is told once.
    log_complained: bool,
    outputs: [Option<OwnedFd>; 2],
    input: Input,
    busy: u32,
    /// The terminal's last user has closed it; it may be opened again as long as the process lives.
    away: bool,
    /// The process has ended.
    ended: bool,
}

impl Streams {
    /// Streams of a process that does not run yet.
    pub fn new(at: usize, shape: Shape) -> Self {
        let input = Input::new(shape.stdin);
        Self {
            at,
            shape,
            clients: Vec::new(),
            log: None,
            log_complained: false,
            outputs: [None, None],
            input,
            busy: 0,
            away: false,
            ended: false,
        }
    }

    /// Whether somebody is attached.
    pub fn has_clients(&self) -> bool {
        !self.clients.is_empty()
    }

    /// From now on output is logged.
    pub fn log_to(&mut self, log: JsonLog) {
        self.log = Some(log);
    }

    /// Makes the streams: the process's ends. Nothing is read before [`Streams::listen`].
    pub fn open(&mut self, watch: &mut Watch) -> io::Result<Stdio> {
        if self.shape.tty {
            return Ok(Stdio::Terminal(self.shape.size));
        }
        let pair = || pipe_with(PipeFlags::CLOEXEC);
        let (input, ours): (OwnedFd, _) = if self.shape.stdin {
            let (read, write) = pair()?;
            (read, Some(write))
        } else {
            (rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?, None)
        };
        let (out_read, out) = pair()?;
        let (err_read, err) = pair()?;
        for (stream, fd) in [out_read, err_read].into_iter().enumerate() {
            rustix::io::ioctl_fionbio(&fd, true)?;
            watch.add(fd.as_fd(), Role::Output(self.at, stream), Interest::empty())?;
            self.outputs[stream] = Some(fd);
        }
        if let Some(fd) = ours {
            rustix::io::ioctl_fionbio(&fd, true)?;
            self.input.open(fd);
            self.feed(watch);
        }
        Ok(Stdio::Pipes([input, out, err]))
    }

    /// From now on output is read. That the process runs is written down before: who sees its output and asks for
    /// something is not told that it does not.
    pub fn listen(&self, watch: &Watch) {
        for fd in self.outputs.iter().flatten() {
            let _ = watch.set(fd.as_fd(), Interest::IN);
        }
    }

    /// Takes the master of the process's terminal.
    pub fn take_terminal(&mut self, master: OwnedFd, watch: &mut Watch) -> io::Result<()> {
        rustix::io::ioctl_fionbio(&master, true)?;
        if !self.input.is_closed() {
            // A descriptor of its own, to be waited for on its own.
            self.input.open(rustix::io::fcntl_dupfd_cloexec(&master, 3)?);
        }
        if let Some((rows, columns)) = self.shape.size {
            let _ = crate::sys::pty::resize(&master, rows, columns);
        }
        watch.add(master.as_fd(), Role::Output(self.at, 0), Interest::IN)?;
        self.outputs[0] = Some(master);
        self.feed(watch);
        Ok(())
    }

    /// Sets the terminal's size, now or when there is one.
    pub fn resize(&mut self, rows: u16, columns: u16) -> io::Result<()> {
        self.shape.size = Some((rows, columns));
        match &self.outputs[0] {
            Some(master) if self.shape.tty => crate::sys::pty::resize(master, rows, columns),
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
    pub fn readable(&mut self, stream: usize, cx: &mut Context) {
        let mut away = false;
        for _ in 0..TURN {
            match self.pump(stream, cx) {
                (Pumped::More, _) => {}
                (Pumped::Blocked, _) => break,
                (Pumped::Away, _) => {
                    away = true;
                    break;
                }
                (Pumped::Ended, _) => {
                    self.close_output(stream, &mut cx.watch);
                    break;
                }
            }
        }
        self.leave_terminal(away, &mut cx.watch);
        // A client for which something waits now has to be told when it may have more.
        self.watch_clients(&mut cx.watch);
    }

    /// Nobody has the terminal open, or somebody has again. The hang-up would be told all the time: while it lasts only
    /// changes are, and what is printed after it is one.
    fn leave_terminal(&mut self, away: bool, watch: &mut Watch) {
        if let Some(master) = &self.outputs[0]
            && std::mem::replace(&mut self.away, away) != away
        {
            let _ = watch.set(master.as_fd(), if away { Interest::IN | Interest::ET } else { Interest::IN });
        }
    }

    /// Reads an output once, and passes that on; returns the number of bytes.
    fn pump(&mut self, stream: usize, cx: &mut Context) -> (Pumped, usize) {
        let Some(fd) = &self.outputs[stream] else { return (Pumped::Ended, 0) };
        cx.io.dirty = true;
        let len = match rustix::io::read(fd, &mut cx.io.input[HEADER..]) {
            // A terminal whose last user has gone says EIO.
            Err(Errno::IO) if self.shape.tty && !self.ended => return (Pumped::Away, 0),
            Ok(0) | Err(Errno::IO) => return (Pumped::Ended, 0),
            Ok(len) => len,
            Err(Errno::INTR) => return (Pumped::More, 0),
            Err(_) => return (Pumped::Blocked, 0),
        };
        if len >= PIPE && !self.shape.tty {
            self.busy += 1;
            if self.busy == 2 {
                let _ = rustix::pipe::fcntl_setpipe_size(fd, BUSY_PIPE);
            }
        }
        cx.io.input[..HEADER].copy_from_slice(&header(stream, len));
        let frame = &cx.io.input[..HEADER + len];
        for client in &mut self.clients {
            client.deliver(stream, frame, &cx.files.paths.data);
        }
        if let Some(log) = &mut self.log
            && let Err(error) = log.write(stream, &frame[HEADER..], &mut cx.io.scratch)
        {
            self.log_failed(&error, cx);
        }
        (if len < PIPE { Pumped::Blocked } else { Pumped::More }, len)
    }

    fn log_failed(&mut self, error: &io::Error, cx: &Context) {
        if !std::mem::replace(&mut self.log_complained, true) {
            cx.files.complain(&format!("log: {error}"));
        }
    }

    fn close_output(&mut self, stream: usize, watch: &mut Watch) {
        if let Some(fd) = self.outputs[stream].take() {
            watch.remove(fd.as_fd());
        }
    }

    /// The process has ended: takes what it left in its outputs, and completes the log.
    pub fn last_words(&mut self, cx: &mut Context) {
        self.ended = true;
        for stream in 0..2 {
            let mut total = 0;
            while total < LAST_WORDS && self.outputs[stream].is_some() {
                let (pumped, len) = self.pump(stream, cx);
                total += len;
                if pumped == Pumped::Ended {
                    self.close_output(stream, &mut cx.watch);
                } else if len == 0 && pumped == Pumped::Blocked {
                    break;
                }
            }
        }
        self.input.close(&mut cx.watch);
        if let Some(log) = &mut self.log
            && let Err(error) = log.finish(&mut cx.io.scratch)
        {
            self.log_failed(&error, cx);
        }
    }

    /// Gives up all that connects it to its process.
    pub fn disconnect(&mut self, watch: &mut Watch) {
        (0..2).for_each(|stream| self.close_output(stream, watch));
        self.input.close(watch);
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
    pub fn attach(&mut self, mut client: Client, sent: &[u8], cx: &mut Context) {
        let mut detached = None;
        if client.options.stdin && !sent.is_empty() {
            detached = self.type_in(&mut client, sent);
        }
        client.writable(&cx.files.paths.data, Self::unfinished(self.log.as_ref()));
        if detached.is_some() {
            client.finish();
        }
        self.clients.push(client);
        self.feed(&mut cx.watch);
    }

    /// A client's socket has something to say.
    pub fn client_ready(&mut self, fd: RawFd, what: Interest, cx: &mut Context) -> Option<Detached> {
        let place = self.clients.iter().position(|client| client.fd() == fd)?;
        let mut client = self.clients.swap_remove(place);
        client.hung_up |= what.intersects(Interest::HUP | Interest::ERR);
        let mut detached = None;
        if client.options.stdin && what.intersects(Interest::IN | Interest::HUP) && !self.input.is_blocked() {
            cx.io.dirty = true;
            match client.read(&mut cx.io.input[..STDIN]) {
                attached::Input::Bytes(len) => detached = self.type_in(&mut client, &cx.io.input[..len]),
                attached::Input::Blocked => {}
                attached::Input::End => self.input_ended(&mut client),
            }
        }
        if detached.is_some() {
            self.input_ended(&mut client);
            client.finish();
        } else if client.hung_up && !client.options.stdin {
            client.drop_now();
        } else if what.intersects(Interest::OUT) {
            client.writable(&cx.files.paths.data, Self::unfinished(self.log.as_ref()));
        }
        self.clients.push(client);
        self.feed(&mut cx.watch);
        detached
    }

    /// Passes on what a client typed, up to its detach keys.
    fn type_in(&mut self, client: &mut Client, bytes: &[u8]) -> Option<Detached> {
        match &mut client.options.detach {
            Some(detach) => {
                let mut out = Vec::with_capacity(bytes.len());
                let done = detach.filter(bytes, &mut out);
                self.input.put(&out);
                done.then_some(Detached)
            }
            None => {
                self.input.put(bytes);
                None
            }
        }
    }

    /// A client will send no more.
    fn input_ended(&mut self, client: &mut Client) {
        if std::mem::take(&mut client.options.stdin) && self.shape.stdin_once && !self.shape.tty {
            self.input.end();
        }
    }

    /// The process's input may take more; afterwards every client is watched for what matters now.
    pub fn feed(&mut self, watch: &mut Watch) {
        self.input.feed(self.at, watch);
        self.watch_clients(watch);
    }

    fn watch_clients(&mut self, watch: &mut Watch) {
        let blocked = self.input.is_blocked();
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
                    let _ = watch.add(client.as_fd(), Role::Client(self.at, client.fd()), interest);
                }
                Some(interest) => {
                    let _ = watch.set(client.as_fd(), interest);
                }
            }
            client.watched = interest;
        }
    }

    /// Nothing new will come for the clients.
    pub fn finish_clients(&mut self, cx: &mut Context) {
        for client in &mut self.clients {
            client.finish();
            if !client.is_gone() {
                client.writable(&cx.files.paths.data, Self::unfinished(None));
            }
        }
        self.feed(&mut cx.watch);
    }

    /// Nothing will come for those clients that want nothing.
    pub fn finish_deaf_clients(&mut self, cx: &mut Context) {
        for client in &mut self.clients {
            if client.options.wants == [false, false] && !client.options.stdin {
                client.finish();
            }
        }
        self.feed(&mut cx.watch);
    }

    /// Lets all clients go at once.
    pub fn drop_clients(&mut self, watch: &mut Watch) {
        self.clients.iter_mut().for_each(Client::drop_now);
        self.feed(watch);
    }

    /// Tells the clients something in-band, on standard output.
    pub fn announce(&mut self, text: &str, cx: &Context) {
        let frame = [&header(0, text.len())[..], text.as_bytes()].concat();
        for client in &mut self.clients {
            client.options.wants[0] = true;
            client.deliver(0, &frame, &cx.files.paths.data);
        }
    }
}
