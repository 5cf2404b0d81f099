//! Further processes in a running container.

use std::path::Path;

use oci_spec::runtime::Spec;

use super::child;
use super::start::{CONFIG, filter, join_cgroup};
use super::{StartError, Started, Stdio, user};
use crate::state::container::ContainerRecord;
use crate::state::exec::ExecRecord;
use crate::state::paths::Home;
use crate::sys::namespaces::{self, Kinds};
use crate::sys::openat2::Root;
use crate::sys::{pidfd, process};

const CONTEXT: &str = "OCI runtime exec failed: exec failed: unable to start container process: ";

/// What an exec session needs.
#[derive(Debug)]
pub struct Exec<'a> {
    /// Where the state is.
    pub home: &'a Home,
    /// What was asked of the container.
    pub record: &'a ContainerRecord,
    /// What is asked of the session.
    pub session: &'a ExecRecord,
    /// The container's first process, which is the caller's child or known by its start time: it is running.
    pub init: i32,
    /// The delegated cgroup of [`super::Start`].
    pub cgroup: Option<&'a Path>,
    /// The program's streams.
    pub stdio: Stdio,
}

/// Starts the session's program.
///
/// Leaves this process in the container's namespaces: it has to end afterwards.
///
/// # Errors
/// Why it does not run; nothing of it remains.
pub fn exec(exec: Exec<'_>) -> Result<Started, StartError> {
    let Exec { home, record, session, init, cgroup, stdio } = exec;
    let gone = || StartError::other(format!("container {} is not running", record.id));
    let container = pidfd::open(init).map_err(|_| gone())?;
    let spec = Spec::load(home.container(&record.id).bundle().join(CONFIG))
        .map_err(|err| StartError::other(format!("{CONFIG}: {err}")))?;
    let root = Root::open(Path::new(&format!("/proc/{init}/root"))).map_err(|_| gone())?;
    let name = if session.user.is_empty() { &record.config.user } else { &session.user };
    let groups = record.host_config.group_add.as_deref().unwrap_or_default();
    let user = user::resolve(&root, name, groups)?;
    let program = crate::spec::process::exec(&spec, session, &user)?;
    let filter = filter(home, &spec)?;
    drop(root);

    if let Some(score) = program.oom_score_adj() {
        process::set_oom_score_adj(score.into()).map_err(StartError::at("cannot set oom_score_adj"))?;
    }
    if let Some(parent) = cgroup {
        join_cgroup(&parent.join(&record.id)).map_err(StartError::at("cannot enter the container's cgroup"))?;
    }
    // Nobody in the container may look into this process, or write to the file of its program, while it is not theirs.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(|err| StartError::other(format!("prctl: {err}")))?;
    let all = Kinds::CLONE_NEWNS
        | Kinds::CLONE_NEWUTS
        | Kinds::CLONE_NEWIPC
        | Kinds::CLONE_NEWNET
        | Kinds::CLONE_NEWCGROUP
        | Kinds::CLONE_NEWPID;
    namespaces::join(&container, all).map_err(StartError::at("cannot join the container's namespaces"))?;
    child::launch(|channel| {
        let ready = rustix::process::setsid().map_err(|err| StartError::other(format!("setsid: {err}")));
        match ready.and_then(|_| child::attach(stdio, false, channel)) {
            Ok(()) => child::become_program(&program, filter.as_ref()),
            Err(err) => err,
        }
    })
    .map_err(|err| err.in_context(CONTEXT))
}
