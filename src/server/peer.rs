//! Who may speak to the socket: its owner and root.
//!
//! The process lives in the user's namespace, and the kernel tells credentials in its terms: the owner, and a
//! container's root to whom the socket was mounted, is 0; a container's other users are numbers of their own; whoever
//! is not mapped, host root among them, is the overflow id. Nothing tells host root from another stranger there, but
//! the file system already did: through a socket file without permissions for group and others only its owner and
//! root get. So a stranger is let in through such a file, and refused where somebody opened the file wider.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tokio::net::UnixStream;

/// Checks a new connection's peer.
///
/// # Errors
/// Why it may not.
pub fn check(stream: &UnixStream, socket: Option<&Path>) -> Result<(), String> {
    let peer = stream.peer_cred().map_err(|err| format!("no credentials: {err}"))?;
    let owner = rustix::process::geteuid().as_raw();
    let uid = peer.uid();
    if uid == owner || uid == 0 {
        return Ok(());
    }
    let closed = |path: &Path| std::fs::metadata(path).is_ok_and(|meta| meta.mode() & 0o077 == 0);
    if uid == overflow_uid() && socket.is_some_and(closed) {
        return Ok(());
    }
    Err(format!("uid {uid} (pid {}) is neither the socket's owner nor root", peer.pid().unwrap_or(0)))
}

/// What the kernel says for an id that is not mapped here.
fn overflow_uid() -> u32 {
    std::fs::read_to_string("/proc/sys/kernel/overflowuid")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(65534)
}
