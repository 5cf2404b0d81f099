//! From a container's record to what the runtime starts: a root file system, a plan, and what it shares with others.

use std::borrow::Cow;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Process, Spec};
use rustix::fs::Mode;

use crate::holder::Entered;
use crate::runtime::rootfs::RootFs;
use crate::runtime::{Namespaces, StartError, errno_text, host, skeleton, user};
use crate::spec::{self, Etc, Input};
use crate::state::container::{ContainerRecord, Driver};
use crate::state::exec::ExecRecord;
use crate::state::paths::Home;
use crate::state::store::{self, PROBE};
use crate::sys::mountinfo;
use crate::sys::namespaces;
use crate::sys::openat2::{Leaf, Root};
use crate::sys::{mounts, process};

/// All that a start needs of a container.
#[derive(Debug)]
pub struct Prepared {
    /// Its root file system, placed nowhere yet.
    pub root: Root,
    /// What is to run, and how.
    pub plan: Spec,
    /// Namespaces of other containers.
    pub namespaces: Namespaces,
    /// Mounts whose source is in another mount namespace.
    pub trees: Vec<(PathBuf, OwnedFd)>,
}

/// Mounts the root file system, and plans the start by what is in it and on the host.
///
/// # Errors
/// What was asked for cannot be had now.
pub fn prepare(home: &Home, entered: &Entered, record: &ContainerRecord) -> Result<Prepared, StartError> {
    let root =
        root_of(home, record, entered.rootless).map_err(StartError::at("error mounting the root file system"))?;
    let (record, namespaces, shm) = share(home, record)?;
    let record = &*record;
    let (paths, config, asked) = (home.container(&record.id), &record.config, &record.host_config);
    let user = user::resolve(&root, &config.user, asked.group_add.as_deref().unwrap_or_default())?;
    let directory = Path::new(&config.working_dir);
    root.make(directory, Leaf::Directory, Mode::from_raw_mode(0o755))
        .map_err(|err| StartError::other(format!("mkdir {}: {}", directory.display(), errno_text(&err))))?;
    // By which programs know that they are in a container. An image may have something else in its place.
    let _ = root.make(Path::new("/.dockerenv"), Leaf::File, Mode::from_raw_mode(0o755));
    let file = |name| Some(paths.etc(name)).filter(|path| path.exists());
    let etc = Etc { hostname: file("hostname"), hosts: file("hosts"), resolv_conf: file("resolv.conf") };
    let mut host = host::facts(home, entered, asked.privileged);
    for device in asked.devices.iter().flatten() {
        host.asked_devices.extend(host::device_nodes(&device.path_on_host, device.inside())?);
    }
    let throttles = [
        &asked.blkio_device_read_bps,
        &asked.blkio_device_write_bps,
        &asked.blkio_device_read_iops,
        &asked.blkio_device_write_iops,
    ];
    let weighed = asked.blkio_weight_device.iter().flatten().map(|device| &device.path);
    let limited = weighed.chain(throttles.into_iter().flatten().flatten().map(|device| &device.path));
    host.block_devices = limited.filter_map(|path| Some((path.clone(), host::block_device(path)?))).collect();
    let input =
        Input { record, rootfs: &paths.rootfs(), user: &user, etc: &etc, host: &host, shared_shm: shm.is_some() };
    let plan = spec::build(&input)?;
    let mut trees = propagating(&plan, entered.rootless)?;
    trees.extend(shm.map(|tree| (PathBuf::from("/dev/shm"), tree)));
    Ok(Prepared { root, plan, namespaces, trees })
}

/// What is to run for an exec session in the container whose first process is `init`.
///
/// # Errors
/// No such user there; the container has ended.
pub fn exec(plan: &Spec, record: &ContainerRecord, session: &ExecRecord, init: i32) -> Result<Process, StartError> {
    let gone = |_| StartError::other(format!("container {} is not running", record.id));
    let root = Root::open(Path::new(&format!("/proc/{init}/root"))).map_err(gone)?;
    let name = if session.user.is_empty() { &record.config.user } else { &session.user };
    let user = user::resolve(&root, name, record.host_config.group_add.as_deref().unwrap_or_default())?;
    Ok(spec::process::exec(plan, session, &user)?)
}

fn root_of(home: &Home, record: &ContainerRecord, rootless: bool) -> io::Result<Root> {
    let paths = home.container(&record.id);
    let (upper, work) = (paths.upper(), paths.work());
    match record.driver {
        Driver::Overlay if !record.layers.is_empty() => {
            let lower = home.lower_dirs(&record.layers);
            let root = RootFs::Overlay { lower: &lower, upper: Some((&upper, &work)) };
            match root.mount(rootless) {
                // The first start of all; or another one has made it since.
                Err(err) if err.kind() == io::ErrorKind::NotFound => {
                    let draft = home.containers().join(format!("{PROBE}{}", std::process::id()));
                    skeleton::make(&home.skeleton(), &draft)?;
                    root.mount(rootless)
                }
                other => other,
            }
        }
        _ => RootFs::Directory(&upper).mount(rootless),
    }
}

/// A record, what of other containers it needs: namespaces, and a /dev/shm.
type Sharing<'a> = (Cow<'a, ContainerRecord>, Namespaces, Option<OwnedFd>);

/// The namespaces of the containers that this one shares some with, and the other one's /dev/shm. Who shares with a
/// container that shares the host's, shares the host's; the returned record says so.
fn share<'a>(home: &Home, record: &'a ContainerRecord) -> Result<Sharing<'a>, StartError> {
    let mut record = Cow::Borrowed(record);
    let host = &record.host_config;
    let network = other(home, &host.network_mode, "net")?;
    let pid = other(home, &host.pid_mode, "pid")?;
    let ipc = other(home, &host.ipc_mode, "ipc")?;
    if [&network, &pid, &ipc].iter().any(|other| matches!(other, Other::Host)) {
        let host = &mut record.to_mut().host_config;
        for (mode, other) in
            [(&mut host.network_mode, &network), (&mut host.pid_mode, &pid), (&mut host.ipc_mode, &ipc)]
        {
            if matches!(other, Other::Host) {
                *mode = "host".to_owned();
            }
        }
    }
    // A file system of that container's own mount namespace; without one there is nothing to share.
    let shm = match &ipc {
        Other::Container(_, first) => namespaces::open(*first, "mnt")
            .and_then(|namespace| mounts::clone_from(namespace, Path::new("/dev/shm"), false))
            .ok(),
        _ => None,
    };
    let namespaces = Namespaces { network: network.namespace(), ipc: ipc.namespace(), pid: pid.namespace() };
    Ok((record, namespaces, shm))
}

/// Whose namespace a mode asks for.
enum Other {
    /// Nobody else's, or as the mode says.
    None,
    /// Another container's, which is the host's.
    Host,
    /// Another container's, with that one's first process.
    Container(OwnedFd, i32),
}

impl Other {
    fn namespace(self) -> Option<OwnedFd> {
        match self {
            Self::Container(namespace, _) => Some(namespace),
            _ => None,
        }
    }
}

/// The namespace of the container that a mode `container:ID` names.
fn other(home: &Home, mode: &str, name: &str) -> Result<Other, StartError> {
    let Some(id) = mode.strip_prefix("container:") else { return Ok(Other::None) };
    let gone = || StartError::other(format!("cannot join namespace of a non running container: {id}"));
    let state = store::load_state(home, id).map_err(|err| StartError::other(err.to_string()))?;
    if !state.is_running() {
        return Err(gone());
    }
    let opened = namespaces::open(state.pid, name);
    // What was opened was that process's, if it lives now.
    if process::start_time(state.pid).ok() != Some(state.pid_start) {
        return Err(gone());
    }
    let namespace = opened.map_err(StartError::at(format!("cannot join the {name} namespace of {mode}")))?;
    let own = namespaces::identity("self", name).map_err(StartError::at("/proc/self/ns"))?;
    let theirs = namespaces::identity_of(&namespace).map_err(StartError::at("/proc/self/ns"))?;
    Ok(if theirs == own { Other::Host } else { Other::Container(namespace, state.pid) })
}

/// The sources of mounts that are to show the host what is mounted on them. This process's mount namespace only takes
/// from the host's, so they come from the host's own; in a user namespace that cannot be.
fn propagating(plan: &Spec, rootless: bool) -> Result<Vec<(PathBuf, OwnedFd)>, StartError> {
    let mut trees = Vec::new();
    for mount in plan.mounts().iter().flatten() {
        let has = |word: &str| mount.options().iter().flatten().any(|option| option == word);
        let Some(source) = mount.source().as_ref().filter(|_| has("shared") || has("rshared")) else { continue };
        let place = mountinfo::of(source, if rootless { "self" } else { "1" }).map_err(StartError::at("mountinfo"))?;
        if rootless || !place.shared {
            return Err(StartError::other(format!(
                "path {} is mounted on {} but it is not a shared mount",
                source.display(),
                place.point.display()
            )));
        }
        let host = namespaces::open(1, "mnt").map_err(StartError::at("cannot open the host's mount namespace"))?;
        let tree = mounts::clone_from(host, source, has("rbind")).map_err(StartError::at(source.display()))?;
        trees.push((mount.destination().clone(), tree));
    }
    Ok(trees)
}
