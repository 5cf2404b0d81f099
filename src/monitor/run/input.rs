//! A process's input: what clients type, held until the process takes it.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;

use super::watch::{Role, Watch};
use crate::sys::epoll::Interest;

/// The input of a process. Before the start everything is held.
#[derive(Debug, Default)]
pub struct Input {
    fd: Option<OwnedFd>,
    /// What the process has not taken yet.
    pending: Vec<u8>,
    /// Its end comes behind what is pending.
    ends: bool,
    /// There is none, or none any more: what clients send is dropped.
    closed: bool,
}

impl Input {
    /// An input, or none.
    pub fn new(exists: bool) -> Self {
        Self { closed: !exists, ..Self::default() }
    }

    /// Whether there is none, or none any more.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether the process has to take something before clients may send more.
    pub fn is_blocked(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The process's end of it is there: a non-blocking descriptor.
    pub fn open(&mut self, fd: OwnedFd) {
        self.fd = Some(fd);
    }

    /// Nothing will come behind what has been put in.
    pub fn end(&mut self) {
        self.ends = true;
    }

    /// Writes what the process takes now, keeps the rest.
    pub fn put(&mut self, bytes: &[u8]) {
        if !self.ends {
            self.write(bytes);
        }
    }

    fn write(&mut self, mut bytes: &[u8]) {
        if self.closed {
            return;
        }
        if let Some(fd) = &self.fd
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

    /// The process may take more. It is watched only while it is full: a pipe without readers would be reported all
    /// the time.
    pub fn feed(&mut self, at: usize, watch: &mut Watch) {
        if self.fd.is_some() && !self.pending.is_empty() {
            let pending = std::mem::take(&mut self.pending);
            self.write(&pending);
        }
        if let Some(fd) = &self.fd {
            watch.remove(fd.as_fd());
            if !self.pending.is_empty() {
                let _ = watch.add(fd.as_fd(), Role::Input(at), Interest::OUT);
            }
        }
        if self.ends && self.pending.is_empty() {
            self.close(watch);
        }
    }

    /// Gives it up.
    pub fn close(&mut self, watch: &mut Watch) {
        self.pending = Vec::new();
        self.closed = true;
        if let Some(fd) = self.fd.take() {
            watch.remove(fd.as_fd());
        }
    }
}
