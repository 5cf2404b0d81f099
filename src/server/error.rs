//! Why the server could not run.

use std::path::PathBuf;

/// Why the server could not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The descriptor that was passed is not what we need.
    #[error("the socket passed in LISTEN_FDS cannot be used: {0}")]
    Passed(std::io::Error),
    /// Another server is there.
    #[error("{0} is in use: a server answers there")]
    InUse(PathBuf),
    /// The path cannot be bound.
    #[error("cannot listen on {path}: {source}")]
    Bind {
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The runtime failed.
    #[error("{0}")]
    Runtime(#[from] std::io::Error),
}
