//! Starting a container.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxNamespaceType, Spec};
use rustix::fs::Mode;

use super::child::{self, Channel};
use super::filter::Filter;
use super::{StartError, Started, Stdio, host, mounting, rootfs, user};
use crate::holder::Entered;
use crate::spec::{self, Etc, Input, Join};
use crate::state::container::{ContainerRecord, Driver};
use crate::state::paths::Home;
use crate::state::store;
use crate::sys::namespaces::{self, Kinds};
use crate::sys::openat2::Root;
use crate::sys::{mounts, process, tree};

/// The file of a bundle that holds the specification.
pub(super) const CONFIG: &str = "config.json";
const CONTEXT: &str = "OCI runtime create failed: unable to start container process: error during container init: ";

/// What a start needs.
#[derive(Debug)]
pub struct Start<'a> {
    /// Where the state is.
    pub home: &'a Home,
    /// The namespaces that this process is in.
    pub entered: &'a Entered,
    /// What was asked.
    pub record: &'a ContainerRecord,
    /// A delegated cgroup (version 2) in which the container gets one of its own, named by its id.
    pub cgroup: Option<&'a Path>,
    /// The program's streams.
    pub stdio: Stdio,
}

/// Mounts the root file system, makes the container, and starts its program.
///
/// Leaves this process in other namespaces: it has to end afterwards.
///
/// # Errors
/// Why it does not run; nothing of it remains.
pub fn start(start: Start<'_>) -> Result<Started, StartError> {
    let Start { home, entered, record, cgroup, stdio } = start;
    let paths = home.container(&record.id);
    // What is mounted from here on is this process's and the container's alone, and goes with them.
    namespaces::unshare(Kinds::CLONE_NEWNS)
        .and_then(|()| mounts::make_all_private())
        .map_err(StartError::at("cannot make a mount namespace"))?;
    let target = paths.rootfs();
    mount_rootfs(home, record, &target, entered.rootless)
        .map_err(StartError::at("error mounting the root file system"))?;
    let spec = specify(home, entered, record, &target)?;
    let file = paths.bundle().join(CONFIG);
    let text = serde_json::to_vec(&spec).map_err(|err| StartError::other(err.to_string()))?;
    fs::write(&file, text).map_err(StartError::at(file.display()))?;

    if let Some(score) = spec.process().as_ref().and_then(|process| process.oom_score_adj()) {
        process::set_oom_score_adj(score.into()).map_err(StartError::at("cannot set oom_score_adj"))?;
    }
    let group = cgroup.map(|parent| join_cgroup(&parent.join(&record.id))).transpose();
    group.map_err(StartError::at("cannot enter the container's cgroup"))?;
    enter_pid_namespace(&spec).map_err(StartError::at("cannot enter the pid namespace"))?;
    let filter = filter(home, &spec)?;
    child::launch(|channel| match contain(&spec, filter.as_ref(), &target, entered.rootless, stdio, channel) {
        Ok(never) => match never {},
        Err(err) => err,
    })
    .map_err(|err| err.in_context(CONTEXT))
}

/// Removes what a container that has ended has in the run directory for the runtime, and ends what still runs in its
/// cgroup.
pub fn delete(home: &Home, id: &str, cgroup: Option<&Path>) {
    if let Some(group) = cgroup.map(|parent| parent.join(id)) {
        let _ = fs::write(group.join("cgroup.kill"), "1");
        // The kernel takes a moment to empty it.
        for _ in 0..200 {
            match fs::remove_dir(&group) {
                Err(err) if err.raw_os_error() == Some(nix::libc::EBUSY) => {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                _ => break,
            }
        }
    }
    let _ = tree::remove(&home.container(id).bundle());
}

fn mount_rootfs(home: &Home, record: &ContainerRecord, target: &Path, rootless: bool) -> io::Result<()> {
    fs::create_dir_all(target)?;
    let paths = home.container(&record.id);
    let layers: Vec<PathBuf> = match record.driver {
        Driver::Overlay => record.layers.iter().map(|id| home.images().join("layers").join(id).join("diff")).collect(),
        Driver::Copy => Vec::new(),
    };
    rootfs::mount(&layers, &paths.upper(), &paths.work(), target, rootless)
}

/// The specification, with all of the host and of the mounted root file system that it depends on.
fn specify(home: &Home, entered: &Entered, record: &ContainerRecord, target: &Path) -> Result<Spec, StartError> {
    let (paths, config, host_config) = (home.container(&record.id), &record.config, &record.host_config);
    let root = Root::open(target).map_err(StartError::at("rootfs"))?;
    let groups = host_config.group_add.as_deref().unwrap_or_default();
    let user = user::resolve(&root, &config.user, groups)?;
    if !config.working_dir.is_empty() {
        let dir = Path::new(&config.working_dir);
        root.create_dir_all(dir, Mode::from_raw_mode(0o755))
            .map_err(StartError::at(format!("mkdir {}", dir.display())))?;
    }
    for device in host_config.devices.iter().flatten() {
        let path = &device.path_on_host;
        fs::metadata(path).map_err(|err| {
            let text = child::errno_text(&err);
            StartError::other(format!(
                "error gathering device information while adding custom device \"{path}\": {text}"
            ))
        })?;
    }
    let file = |name| Some(paths.etc(name)).filter(|path| path.exists());
    let etc = Etc { hostname: file("hostname"), hosts: file("hosts"), resolv_conf: file("resolv.conf") };
    let host = host::facts(home, entered, host_config.privileged);
    let join = joined(home, record)?;
    Ok(spec::build(&Input { record, rootfs: target, user: &user, etc: &etc, host: &host, join: &join })?)
}

/// The namespaces of the containers that this one shares some with.
fn joined(home: &Home, record: &ContainerRecord) -> Result<Join, StartError> {
    let host = &record.host_config;
    let path = |pid: i32, name: &str| PathBuf::from(format!("/proc/{pid}/ns/{name}"));
    let ipc = shared_with(home, &host.ipc_mode)?;
    let shm = ipc.and_then(|pid| {
        // A file system of that container's own mount namespace; without one there is nothing to share.
        let dir = home.container(&record.id).bundle().join("shm");
        fs::create_dir_all(&dir).ok()?;
        let namespace = namespaces::open(pid, "mnt").ok()?;
        mounts::bind_from(namespace, Path::new("/dev/shm"), &dir).ok()?;
        Some(dir)
    });
    Ok(Join {
        network: shared_with(home, &host.network_mode)?.map(|pid| path(pid, "net")),
        ipc: ipc.map(|pid| path(pid, "ipc")),
        shm,
        pid: shared_with(home, &host.pid_mode)?.map(|pid| path(pid, "pid")),
    })
}

/// The first process of the container that a mode `container:ID` names.
fn shared_with(home: &Home, mode: &str) -> Result<Option<i32>, StartError> {
    let Some(id) = mode.strip_prefix("container:") else { return Ok(None) };
    let state = store::load_state(home, id).map_err(|err| StartError::other(err.to_string()))?;
    let alive = state.is_running() && process::start_time(state.pid).is_ok_and(|start| start == state.pid_start);
    if !alive {
        return Err(StartError::other(format!("cannot join namespace of a non running container: {id}")));
    }
    Ok(Some(state.pid))
}

/// The container's system call filter.
pub(super) fn filter(home: &Home, spec: &Spec) -> Result<Option<Filter>, StartError> {
    let profile = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
    profile.map(|profile| Filter::prepare(profile, &home.run.join("seccomp"))).transpose()
}

/// Makes a cgroup if it is missing, and moves this process in.
pub(super) fn join_cgroup(group: &Path) -> io::Result<()> {
    match fs::create_dir(group) {
        Err(err) if err.kind() != io::ErrorKind::AlreadyExists => return Err(err),
        _ => {}
    }
    fs::write(group.join("cgroup.procs"), "0")
}

/// The next child is in the pid namespace that the specification asks for.
fn enter_pid_namespace(spec: &Spec) -> io::Result<()> {
    let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_deref()).unwrap_or_default();
    match namespaces.iter().find(|namespace| namespace.typ() == LinuxNamespaceType::Pid) {
        None => Ok(()),
        Some(namespace) => match namespace.path() {
            Some(path) => namespaces::join(fs::File::open(path)?, Kinds::CLONE_NEWPID),
            None => namespaces::unshare(Kinds::CLONE_NEWPID),
        },
    }
}

/// In the container's first process: everything up to its program.
fn contain(
    spec: &Spec,
    filter: Option<&Filter>,
    rootfs: &Path,
    rootless: bool,
    stdio: Stdio,
    channel: &Channel,
) -> Result<std::convert::Infallible, StartError> {
    let missing = || StartError::other("incomplete specification");
    let linux = spec.linux().as_ref().ok_or_else(missing)?;
    let program = spec.process().as_ref().ok_or_else(missing)?;
    rustix::process::setsid().map_err(|err| StartError::other(format!("setsid: {err}")))?;
    enter_namespaces(spec).map_err(StartError::at("cannot enter namespaces"))?;
    // Streams that are pipes first, for then nothing that fails later can be printed to the monitor's own.
    let terminal = match stdio {
        Stdio::Pipes(_) => {
            child::attach(stdio, false, channel)?;
            None
        }
        terminal @ Stdio::Terminal(_) => Some(terminal),
    };
    mounting::enter(spec, rootfs, rootless)?;
    if let Some(stdio) = terminal {
        child::attach(stdio, true, channel)?;
    }
    let read_only = spec.root().as_ref().and_then(|root| root.readonly()) == Some(true);
    mounting::restrict(linux, read_only)?;
    Err(child::become_program(program, filter))
}

/// All but the pid namespace, which this process was born in.
fn enter_namespaces(spec: &Spec) -> io::Result<()> {
    let mut new = Kinds::empty();
    let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_deref()).unwrap_or_default();
    for namespace in namespaces {
        let kind = match namespace.typ() {
            LinuxNamespaceType::Mount => Kinds::CLONE_NEWNS,
            LinuxNamespaceType::Uts => Kinds::CLONE_NEWUTS,
            LinuxNamespaceType::Ipc => Kinds::CLONE_NEWIPC,
            LinuxNamespaceType::Network => Kinds::CLONE_NEWNET,
            LinuxNamespaceType::Cgroup => Kinds::CLONE_NEWCGROUP,
            _ => continue,
        };
        match namespace.path() {
            Some(path) => namespaces::join(fs::File::open(path)?, kind)?,
            None => new |= kind,
        }
    }
    namespaces::unshare(new)?;
    if new.contains(Kinds::CLONE_NEWNET) {
        namespaces::loopback_up()?;
    }
    if new.contains(Kinds::CLONE_NEWUTS) {
        if let Some(name) = spec.hostname() {
            rustix::system::sethostname(name.as_bytes())?;
        }
        if let Some(name) = spec.domainname() {
            namespaces::set_domainname(name)?;
        }
    }
    Ok(())
}
