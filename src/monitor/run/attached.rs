//! A client attached to a session: its own socket, on which the monitor speaks Docker's stream protocol.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use rustix::time::Timespec;

use super::spill::{Drained, Spill};
use crate::monitor::detach::Detach;
use crate::state::logfile::LogReader;
use crate::sys::epoll::Interest;

/// Bytes of the header before each frame of a multiplexed stream.
pub const HEADER: usize = 8;
/// How long the container's output may wait for a client that has been keeping up, before what it does not take is
/// spilled: below this, passing data straight on is faster and a stall is not noticed.
const GRACE: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
/// Log bytes replayed at once.
const REPLAY: usize = 128 * 1024;

/// The stream by which Docker's clients are told of an error of the engine's.
const ERROR: usize = 2;

/// Writes the header of a frame of stream 0 (stdout), 1 (stderr) or [`ERROR`] with `len` bytes.
pub fn header(stream: usize, len: usize) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[0] = stream as u8 + 1;
    header[4..].copy_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
    header
}

/// What a client's socket brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Input {
    /// So many bytes.
    Bytes(usize),
    /// Nothing now.
    Blocked,
    /// It will send no more.
    End,
}

/// How a client stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Live,
    /// Gets what waits for it, and nothing new.
    Finishing,
    Gone,
}

/// How a client is attached.
#[derive(Debug)]
pub struct Options {
    /// Gets stdout, stderr.
    pub wants: [bool; 2],
    /// Its bytes are the session's input.
    pub stdin: bool,
    /// Frames, as without a terminal; else raw.
    pub framed: bool,
    /// Stays after the replay.
    pub stream: bool,
    /// Watches for keys that detach.
    pub detach: Option<Detach>,
    /// Gets the log first.
    pub replay: Option<LogReader>,
}

/// An attached client.
#[derive(Debug)]
pub struct Client {
    socket: OwnedFd,
    /// How it is attached; `stdin` becomes false when its input has ended.
    pub options: Options,
    spill: Option<Spill>,
    /// What could not be kept for it, once that has happened: the rest of a frame, and a word that the end is missing.
    cut: Option<Vec<u8>>,
    stage: Stage,
    /// The peer has closed altogether; its last input may still wait to be read.
    pub hung_up: bool,
    /// What it is being watched for.
    pub watched: Option<Interest>,
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Client {
    /// Takes over a socket.
    ///
    /// # Errors
    /// If it is no socket of ours to use.
    pub fn new(socket: OwnedFd, options: Options) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        // More in flight means fewer wake-ups; the kernel caps it.
        let _ = rustix::net::sockopt::set_socket_send_buffer_size(&socket, 1 << 20);
        Ok(Self { socket, options, spill: None, cut: None, stage: Stage::Live, hung_up: false, watched: None })
    }

    /// Its descriptor, by which events name it.
    pub fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Whether it can be dropped.
    pub fn is_gone(&self) -> bool {
        self.stage == Stage::Gone
    }

    /// Whether something waits for its socket to take more.
    pub fn is_waiting(&self) -> bool {
        self.stage != Stage::Gone && (self.spill.is_some() || self.cut.is_some() || self.options.replay.is_some())
    }

    /// What to wait for; none: not to be watched now.
    pub fn interest(&self, stdin_blocked: bool) -> Option<Interest> {
        if self.hung_up && stdin_blocked {
            // A hang-up is always reported, and would be again and again.
            return None;
        }
        let mut interest = Interest::empty();
        interest.set(Interest::IN, self.options.stdin && !stdin_blocked);
        interest.set(Interest::OUT, self.is_waiting());
        Some(interest)
    }

    /// Passes on output: `frame` is a header and then `frame[HEADER..]`, from stream 0 or 1. `dir` is for spilling.
    pub fn deliver(&mut self, stream: usize, frame: &[u8], dir: &Path) {
        // While the log is being replayed, what comes now is met there.
        if self.stage == Stage::Live && self.options.wants[stream] && self.options.replay.is_none() {
            let bytes = if self.options.framed { frame } else { &frame[HEADER..] };
            self.send(bytes, dir, true);
        }
    }

    fn send(&mut self, mut bytes: &[u8], dir: &Path, patient: bool) {
        if self.hung_up {
            return;
        }
        if self.cut.is_some() {
            return;
        }
        let whole = bytes.len();
        while self.spill.is_none() && !bytes.is_empty() {
            match rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let mut polled = [PollFd::new(&self.socket, PollFlags::OUT)];
                    if patient && rustix::event::poll(&mut polled, Some(&GRACE)) == Ok(1) {
                        continue;
                    }
                    match Spill::new(dir) {
                        Ok(spill) => self.spill = Some(spill),
                        Err(error) => return self.cut_off(bytes, whole, &error),
                    }
                }
                Err(_) => return self.lose(),
            }
        }
        if let Some(spill) = &mut self.spill
            && let Err(error) = spill.append(bytes)
        {
            self.cut_off(bytes, whole, &error);
        }
    }

    /// No more can be kept for it: it still gets what was, and is told that more is missing, so that it does not take
    /// this for the end. `rest` is what is left of so many bytes; a frame that it has the start of is completed.
    fn cut_off(&mut self, rest: &[u8], whole: usize, why: &io::Error) {
        let mut last = if rest.len() < whole { rest.to_vec() } else { Vec::new() };
        let text = format!("the output was not read for so long that it is cut off here: {why}\r\n");
        if self.options.framed {
            last.extend_from_slice(&header(ERROR, text.len()));
        }
        last.extend_from_slice(text.as_bytes());
        self.cut = Some(last);
        self.options.replay = None;
        self.finish();
    }

    /// Sends the last of what was kept; true when all of it has gone.
    fn send_cut(&mut self) -> bool {
        let Some(last) = &mut self.cut else { return true };
        while !last.is_empty() {
            match rustix::net::send(&self.socket, last, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(sent) => drop(last.drain(..sent)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return false,
                Err(_) => {
                    self.lose();
                    return false;
                }
            }
        }
        self.cut = None;
        true
    }

    /// The socket takes more: sends what waited, replays on. `unfinished` is the start of a line, by stream, that is in
    /// no log yet.
    pub fn writable(&mut self, dir: &Path, unfinished: [&[u8]; 2]) {
        if let Some(spill) = &mut self.spill {
            match spill.drain(&self.socket) {
                Ok(Drained::All) => self.spill = None,
                Ok(Drained::Blocked) => return,
                Err(_) => return self.lose(),
            }
        }
        if !self.send_cut() {
            return;
        }
        if self.options.replay.is_some() {
            self.replay(dir, unfinished);
        }
        if self.stage == Stage::Finishing && !self.is_waiting() {
            self.close();
        }
    }

    fn replay(&mut self, dir: &Path, unfinished: [&[u8]; 2]) {
        let Some(reader) = &mut self.options.replay else { return };
        let mut batch = Vec::with_capacity(REPLAY);
        let mut done = false;
        while batch.len() < REPLAY {
            let Some(entry) = reader.next_entry() else {
                done = true;
                break;
            };
            let stream = entry.stream as usize - 1;
            if self.options.wants[stream] {
                if self.options.framed {
                    batch.extend_from_slice(&header(stream, entry.bytes.len()));
                }
                batch.extend_from_slice(entry.bytes);
            }
        }
        if done {
            self.options.replay = None;
            for (stream, start) in unfinished.into_iter().enumerate() {
                if self.options.wants[stream] && !start.is_empty() {
                    if self.options.framed {
                        batch.extend_from_slice(&header(stream, start.len()));
                    }
                    batch.extend_from_slice(start);
                }
            }
        }
        self.send(&batch, dir, false);
        if done && !self.options.stream {
            self.finish();
        }
    }

    /// Reads what it sends.
    pub fn read(&mut self, buf: &mut [u8]) -> Input {
        loop {
            return match rustix::net::recv(&self.socket, &mut *buf, RecvFlags::DONTWAIT) {
                Ok((0, _)) => Input::End,
                Ok((len, _)) => Input::Bytes(len),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => Input::Blocked,
                Err(_) => {
                    self.hung_up = true;
                    Input::End
                }
            };
        }
    }

    /// Nothing new will come: closes as soon as nothing waits.
    pub fn finish(&mut self) {
        if self.stage == Stage::Live {
            self.stage = Stage::Finishing;
        }
        if self.stage == Stage::Finishing && !self.is_waiting() {
            self.close();
        }
    }

    /// Ends the connection in an orderly way: the peer gets all, then end of file.
    fn close(&mut self) {
        // The shutdown reaches the peer even while another process still holds a copy of the socket.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Write);
        // Closing with unread input would make the peer see an error instead of the end.
        let mut waste = [0; 4096];
        for _ in 0..256 {
            match rustix::net::recv(&self.socket, &mut waste, RecvFlags::DONTWAIT) {
                Ok((1.., _)) => {}
                _ => break,
            }
        }
        self.drop_now();
    }

    /// It takes no more output. What it sent before it went is still to be read.
    fn lose(&mut self) {
        self.hung_up = true;
        (self.spill, self.cut) = (None, None);
        self.options.replay = None;
        if !self.options.stdin {
            self.drop_now();
        }
    }

    /// Gives it up.
    pub fn drop_now(&mut self) {
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
        self.stage = Stage::Gone;
        (self.spill, self.cut) = (None, None);
        self.options.replay = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    fn client(framed: bool) -> (Client, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("pair");
        let options = Options { wants: [true, false], stdin: false, framed, stream: true, detach: None, replay: None };
        (Client::new(ours.into(), options).expect("client"), theirs)
    }

    fn frame(stream: usize, text: &[u8]) -> Vec<u8> {
        [&header(stream, text.len())[..], text].concat()
    }

    #[test]
    fn frames_or_raw_bytes_of_the_wanted_stream() {
        for (framed, expected) in [(true, &b"\x01\0\0\0\0\0\0\x02hi"[..]), (false, b"hi")] {
            let (mut client, mut theirs) = client(framed);
            let dir = std::env::temp_dir();
            client.deliver(0, &frame(0, b"hi"), &dir);
            client.deliver(1, &frame(1, b"no"), &dir);
            // What the client sent and nobody read must not turn its end of file into an error.
            theirs.write_all(b"unread").expect("write");
            client.finish();
            assert!(client.is_gone());
            let mut got = Vec::new();
            theirs.read_to_end(&mut got).expect("read");
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn a_slow_client_loses_nothing_and_stalls_nobody() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let (mut client, mut theirs) = client(false);
        let text = frame(0, &[b'x'; 100_000]);
        let before = std::time::Instant::now();
        for _ in 0..100 {
            client.deliver(0, &text, dir.path());
        }
        assert!(before.elapsed().as_secs() < 2);
        assert!(client.is_waiting());
        client.finish();
        assert!(!client.is_gone());
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            theirs.read_to_end(&mut got).expect("read");
            got.len()
        });
        while !client.is_gone() {
            client.writable(dir.path(), [b"", b""]);
            std::thread::yield_now();
        }
        assert_eq!(reader.join().expect("reader"), 10_000_000);
    }

    #[test]
    fn what_cannot_be_kept_is_said_to_be_missing() {
        let (mut client, mut theirs) = client(true);
        // Nothing can be spilled there.
        let dir = Path::new("/proc/nowhere");
        let text = frame(0, &[b'x'; 100_000]);
        for _ in 0..100 {
            client.deliver(0, &text, dir);
        }
        assert!(client.is_waiting());
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            theirs.read_to_end(&mut got).expect("read");
            got
        });
        while !client.is_gone() {
            client.writable(dir, [b"", b""]);
            std::thread::yield_now();
        }
        let got = reader.join().expect("reader");
        let (whole, rest) = got.split_at(got.len() - got.len() % text.len());
        assert!(whole.chunks(text.len()).all(|one| one == text) && !whole.is_empty());
        assert_eq!(rest[0], 3, "an error of the engine's");
        let said = String::from_utf8_lossy(&rest[HEADER..]);
        assert!(said.contains("cut off") && header(ERROR, said.len()) == rest[..HEADER], "{said}");
    }
}
