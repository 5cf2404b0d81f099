//! Starting a container.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxNamespaceType, Spec};

use super::child::{self, Channel};
use super::filter::Filter;
use super::{Namespaces, StartError, Started, Stdio, mounting, restrict};
use crate::spec::process::OWN_INIT;
use crate::sys::namespaces::{self, Kinds};
use crate::sys::openat2::Root;
use crate::sys::{mounts, process, tree};

/// The file of a bundle that holds the plan.
const CONFIG: &str = "config.json";
/// What dockerd says before it, with a shim and runc between: clients look for parts of it.
const CONTEXT: &str = "failed to create task for container: failed to create shim task: OCI runtime create failed: \
                       runc create failed: unable to start container process: error during container init: ";

/// What a start needs.
#[derive(Debug)]
pub struct Start<'a> {
    /// The root file system, mounted but not placed anywhere: see [`super::rootfs`].
    pub root: Root,
    /// What is to run, and how.
    pub plan: &'a Spec,
    /// A directory for the plan's text, with one named `rootfs` in it for the root file system; it is the container's
    /// alone.
    pub bundle: &'a Path,
    /// Namespaces to join.
    pub namespaces: Namespaces,
    /// Mounts of the plan, by their destination, whose source is this tree rather than a path.
    pub trees: Vec<(PathBuf, OwnedFd)>,
    /// The cgroup (version 2) that the container is born in.
    pub cgroup: Option<OwnedFd>,
    /// Where compiled system call filters are kept.
    pub filters: &'a Path,
    /// The program's streams.
    pub stdio: Stdio,
}

/// Makes the container and starts its program.
///
/// Leaves this process in other namespaces: it has to end afterwards.
///
/// # Errors
/// Why it does not run; nothing of it remains.
pub fn start(start: Start<'_>) -> Result<Started, StartError> {
    let Start { root, plan, bundle, mut namespaces, trees, cgroup, filters, stdio } = start;
    let file = bundle.join(CONFIG);
    let text = serde_json::to_vec(plan).map_err(|err| StartError::other(err.to_string()))?;
    fs::create_dir_all(bundle.join("rootfs"))
        .and_then(|()| fs::write(&file, text))
        .map_err(StartError::at(file.display()))?;
    if let Some(score) = plan.process().as_ref().and_then(|process| process.oom_score_adj()) {
        process::set_oom_score_adj(score.into()).map_err(StartError::at("cannot set oom_score_adj"))?;
    }
    // Nobody in the container may look into this process or its child, while that is not yet theirs.
    process::set_not_dumpable().map_err(StartError::at("prctl"))?;
    let filter = filter(filters, plan)?;
    let kinds = kinds(plan);
    if kinds.contains(Kinds::CLONE_NEWNET) && namespaces.network.is_none() {
        let made = namespaces::new_network().map_err(StartError::at("cannot make a network namespace"))?;
        namespaces.network = Some(made);
    }
    enter_pid_namespace(kinds, namespaces.pid.as_ref()).map_err(StartError::at("cannot enter the pid namespace"))?;
    let own_pids = kinds.contains(Kinds::CLONE_NEWPID) && namespaces.pid.is_none();
    let contained = Contained { plan, kinds, own_pids, filter: filter.as_ref(), bundle, root: &root };
    let mut keep = stdio.descriptors();
    keep.push(root.as_fd().as_raw_fd());
    keep.extend([&namespaces.network, &namespaces.ipc].into_iter().flatten().map(AsRawFd::as_raw_fd));
    keep.extend(trees.iter().map(|(_, tree)| tree.as_raw_fd()));
    let started = child::launch(&keep, cgroup.as_ref().map(AsFd::as_fd), |channel| {
        match contained.run(&namespaces, &trees, stdio, channel) {
            Ok(never) => match never {},
            Err(err) => err,
        }
    });
    let started = started.map_err(|err| err.in_context(CONTEXT))?;
    Ok(Started { rootfs: Some(root.into()), ..started })
}

/// The plan by which a container was started.
///
/// # Errors
/// It is not there, or cannot be read.
pub fn plan(bundle: &Path) -> Result<Spec, StartError> {
    Spec::load(bundle.join(CONFIG)).map_err(|err| StartError::other(format!("{CONFIG}: {err}")))
}

/// Removes the bundle of a container that has ended.
pub fn delete(bundle: &Path) {
    let _ = tree::remove(bundle);
}

/// The container's system call filter.
pub(super) fn filter(cache: &Path, plan: &Spec) -> Result<Option<Filter>, StartError> {
    let profile = plan.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
    profile.map(|profile| Filter::prepare(profile, cache)).transpose()
}

/// The namespaces in which a container of this plan is apart from its starter.
pub(super) fn kinds(plan: &Spec) -> Kinds {
    let namespaces = plan.linux().as_ref().and_then(|linux| linux.namespaces().as_deref()).unwrap_or_default();
    let kind = |kind| match kind {
        LinuxNamespaceType::Mount => Kinds::CLONE_NEWNS,
        LinuxNamespaceType::Uts => Kinds::CLONE_NEWUTS,
        LinuxNamespaceType::Ipc => Kinds::CLONE_NEWIPC,
        LinuxNamespaceType::Network => Kinds::CLONE_NEWNET,
        LinuxNamespaceType::Pid => Kinds::CLONE_NEWPID,
        LinuxNamespaceType::Cgroup => Kinds::CLONE_NEWCGROUP,
        _ => Kinds::empty(),
    };
    namespaces.iter().map(|namespace| kind(namespace.typ())).collect()
}

/// The next child is in the pid namespace that the plan asks for.
fn enter_pid_namespace(kinds: Kinds, shared: Option<&OwnedFd>) -> io::Result<()> {
    match shared {
        Some(namespace) => namespaces::join(namespace, Kinds::CLONE_NEWPID),
        None if kinds.contains(Kinds::CLONE_NEWPID) => namespaces::unshare(Kinds::CLONE_NEWPID),
        None => Ok(()),
    }
}

/// What the container's first process needs to know.
struct Contained<'a> {
    plan: &'a Spec,
    kinds: Kinds,
    /// Whether all processes of the container end with its first.
    own_pids: bool,
    filter: Option<&'a Filter>,
    bundle: &'a Path,
    root: &'a Root,
}

impl Contained<'_> {
    /// In the container's first process: everything up to its program.
    fn run(
        &self,
        namespaces: &Namespaces,
        trees: &[(PathBuf, OwnedFd)],
        stdio: Stdio,
        channel: &Channel,
    ) -> Result<std::convert::Infallible, StartError> {
        let missing = || StartError::other("incomplete specification");
        let linux = self.plan.linux().as_ref().ok_or_else(missing)?;
        let program = self.plan.process().as_ref().ok_or_else(missing)?;
        let own_init = self.plan.annotations().as_ref().is_some_and(|all| all.contains_key(OWN_INIT));
        let own_init =
            own_init.then(|| fs::File::open("/proc/self/exe")).transpose().map_err(StartError::at("init"))?;
        // What is made has the mode that it is made with, whoever launched this.
        nix::sys::stat::umask(nix::sys::stat::Mode::empty());
        rustix::process::setsid().map_err(|err| StartError::other(format!("setsid: {err}")))?;
        self.enter_namespaces(namespaces).map_err(StartError::at("cannot enter namespaces"))?;
        if !self.own_pids {
            channel.mounts().map_err(StartError::at("mount namespace"))?;
        }
        // Streams that are pipes first, for then nothing that fails later can be printed to the monitor's own.
        let terminal = match stdio {
            Stdio::Pipes(_) => {
                child::attach(stdio, false, channel)?;
                None
            }
            terminal @ Stdio::Terminal(_) => Some(terminal),
        };
        let place = self.bundle.join("rootfs");
        mounts::place(self.root.as_fd(), &place).map_err(StartError::at(place.display()))?;
        mounting::mount_all(self.root, self.plan, trees)?;
        mounts::pivot(self.root).map_err(StartError::at("cannot change the root"))?;
        child::reopen_null().map_err(StartError::at("/dev/null"))?;
        if let Some(stdio) = terminal {
            child::attach(stdio, true, channel)?;
        }
        let read_only = self.plan.root().as_ref().and_then(|root| root.readonly()) == Some(true);
        restrict::restrict(self.root, linux, read_only)?;
        Err(child::become_program(program, self.filter, own_init))
    }

    /// All but the pid namespace, which this process was born in.
    fn enter_namespaces(&self, shared: &Namespaces) -> io::Result<()> {
        let mut new = self.kinds - Kinds::CLONE_NEWPID;
        for (namespace, kind) in [(&shared.network, Kinds::CLONE_NEWNET), (&shared.ipc, Kinds::CLONE_NEWIPC)] {
            if let Some(namespace) = namespace {
                namespaces::join(namespace, kind)?;
                new -= kind;
            }
        }
        namespaces::unshare(new)?;
        if new.contains(Kinds::CLONE_NEWUTS) {
            if let Some(name) = self.plan.hostname() {
                rustix::system::sethostname(name.as_bytes())?;
            }
            if let Some(name) = self.plan.domainname() {
                namespaces::set_domainname(name)?;
            }
        }
        Ok(())
    }
}
