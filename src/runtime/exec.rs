//! Further processes in a running container.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::{Process, Spec};

use super::child;
use super::start::{filter, kinds};
use super::{StartError, Started, Stdio};
use crate::sys::namespaces::{self, Kinds};
use crate::sys::process;

const CONTEXT: &str = "OCI runtime exec failed: exec failed: unable to start container process: ";

/// What a further process needs.
pub struct Exec<'a> {
    /// The plan by which the container was started.
    pub plan: &'a Spec,
    /// What is to run.
    pub program: &'a Process,
    /// A pidfd of the container's first process.
    pub init: BorrowedFd<'a>,
    /// The container's cgroup, if it has one.
    pub cgroup: Option<OwnedFd>,
    /// Where compiled system call filters are kept.
    pub filters: &'a Path,
    /// The program's streams.
    pub stdio: Stdio,
    /// Waits until the program is wanted; false: it never will be. All is prepared by then.
    pub wanted: &'a dyn Fn() -> bool,
}

/// Starts the program.
///
/// Leaves this process in the container's namespaces: it has to end afterwards.
///
/// # Errors
/// Why it does not run; nothing of it remains.
pub fn exec(exec: Exec<'_>) -> Result<Started, StartError> {
    let Exec { plan, program, init, cgroup, filters, stdio, wanted } = exec;
    let filter = filter(filters, plan)?;
    if let Some(score) = program.oom_score_adj() {
        process::set_oom_score_adj(score.into()).map_err(StartError::at("cannot set oom_score_adj"))?;
    }
    // Nobody in the container may look into this process, or write to the file of its program, while it is not theirs.
    process::set_not_dumpable().map_err(StartError::at("prctl"))?;
    // Before it is where all are ended that are there when the container ends.
    if !wanted() {
        return Err(StartError::other("nobody wants it any more".to_owned()));
    }
    // Only those that the container has of its own: the host's are another user namespace's, and not to be joined.
    let kinds = kinds(plan);
    let (later, now) = (kinds & Kinds::CLONE_NEWCGROUP, kinds - Kinds::CLONE_NEWCGROUP);
    namespaces::join(init, now).map_err(StartError::at("cannot join the container's namespaces"))?;
    let keep = [stdio.descriptors(), vec![init.as_raw_fd()]].concat();
    let started = child::launch(&keep, cgroup.as_ref().map(AsFd::as_fd), |channel| {
        // Whoever is in a cgroup namespace without being in its groups puts nothing into those.
        let joined = match later.is_empty() {
            true => Ok(()),
            false => namespaces::join(init, later).map_err(StartError::at("cannot join the cgroup namespace")),
        };
        let ready = joined.and_then(|()| {
            rustix::process::setsid().map_err(|err| StartError::other(format!("setsid: {err}")))?;
            child::attach(stdio, false, channel)
        });
        match ready {
            Ok(()) => child::become_program(program, filter.as_ref(), None),
            Err(err) => err,
        }
    });
    started.map_err(|err| err.in_context(CONTEXT))
}
