//! What a process gets at its start, and what there is of it afterwards.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// A process's ends of its streams.
#[derive(Debug)]
pub enum Stdio {
    /// Input, output, error.
    Pipes([OwnedFd; 3]),
    /// A new terminal of the container, of so many rows and columns.
    Terminal(Option<(u16, u16)>),
}

impl Stdio {
    /// The descriptors in it, which a forked process has to keep.
    pub fn descriptors(&self) -> Vec<RawFd> {
        match self {
            Self::Pipes(ends) => ends.iter().map(AsRawFd::as_raw_fd).collect(),
            Self::Terminal(_) => Vec::new(),
        }
    }
}

/// Namespaces that the process shares with others. One that is neither here nor in the plan is the caller's own; one
/// that only the plan has is made anew.
#[derive(Debug, Default)]
pub struct Namespaces {
    /// Network; also one that was made for this process alone, to be configured before the program runs.
    pub network: Option<OwnedFd>,
    /// Interprocess communication.
    pub ipc: Option<OwnedFd>,
    /// Process ids.
    pub pid: Option<OwnedFd>,
}

/// A process that runs its program.
#[derive(Debug)]
pub struct Started {
    /// Its id in the caller's pid namespace.
    pub pid: i32,
    /// Its terminal's master, if it was to have one.
    pub terminal: Option<OwnedFd>,
    /// The root file system, which stays as long as this is open; none for a further process in a container.
    pub rootfs: Option<OwnedFd>,
    /// Its mount namespace, for [`end_all`](super::end_all); none where the kernel ends all processes of the container
    /// with its first.
    pub mounts: Option<OwnedFd>,
}

impl Started {
    /// One of which there is nothing but its terminal to have.
    pub fn new(pid: i32, terminal: Option<OwnedFd>) -> Self {
        Self { pid, terminal, rootfs: None, mounts: None }
    }
}
