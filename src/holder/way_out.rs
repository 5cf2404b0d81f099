//! The end of the process that is the containers' way out of their network namespace. It begins in `network`, whose
//! business it is; it ends with the holder, for nobody else knows when nobody needs it any more.

use std::path::Path;
use std::time::Duration;

use super::find;
use crate::model::signal;
use crate::sys::pidfd;

/// How long it may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ends the process that has this file locked, if there is one.
pub fn end(path: &Path) {
    if let Some(found) = find::keeper(path) {
        let _ = pidfd::send_signal(found.pidfd(), signal::KILL);
        let _ = pidfd::wait_exit(found.pidfd(), PATIENCE);
    }
}
