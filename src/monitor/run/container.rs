//! The launcher of real containers: the runtime, called in a starter.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::Spec;

use super::files::complain;
use super::launch::{Launched, Launcher, Network, Refusal, Resolver, Started, Stdio};
use super::plan;
use crate::cgroup::{group, limits};
use crate::holder::Entered;
use crate::model::mounting::MountPoint;
use crate::monitor::protocol::{Failure, MOUNT_SOURCE};
use crate::network::names::Terms;
use crate::network::{self, Plan, ports};
use crate::runtime::{self, Exec, Start, StartError, StartErrorKind};
use crate::state::container::ContainerRecord;
use crate::state::exec::ExecRecord;
use crate::state::paths::Home;
use crate::state::store;
use crate::sys::{pidfd, process};

/// One container, for the runtime.
#[derive(Debug)]
pub struct Container {
    home: Home,
    id: String,
    /// Held as long as the container: it keeps the user's namespaces.
    entered: Entered,
}

impl Container {
    /// The container with this id, in the namespaces that this process has entered.
    pub fn new(home: &Home, id: &str, entered: Entered) -> Self {
        Self { home: home.clone(), id: id.to_owned(), entered }
    }
}

impl Launcher for Container {
    fn start(&self, stdio: Stdio) -> Result<Launched, Refusal> {
        let record = store::load(&self.home, &self.id).map_err(Refusal::system)?;
        make_sources(&self.home, &record)?;
        let plan = network::plan(&self.home, &record).map_err(no_network)?;
        let launched = self.start_in(&record, plan.as_ref(), stdio);
        if let (Err(_), Some(plan)) = (&launched, &plan) {
            network::release(&self.home, &self.id, &plan.endpoints());
        }
        launched
    }

    fn exec(
        &self,
        session: &ExecRecord,
        init: i32,
        stdio: Stdio,
        wanted: &dyn Fn() -> bool,
    ) -> Result<Started, Refusal> {
        let record = store::load(&self.home, &self.id).map_err(Refusal::system)?;
        let gone = || Refusal { failure: Failure::Conflict, message: format!("container {} is not running", self.id) };
        let container = pidfd::open(init).map_err(|_| gone())?;
        // By what is opened now: afterwards this process is in the container, where /proc is another one.
        let watched = process::Watched::open(init).map_err(|_| gone())?;
        let plan = runtime::plan(&self.home.container(&self.id).bundle());
        let result = plan.and_then(|plan| {
            runtime::exec(Exec {
                plan: &plan,
                program: &plan::exec(&plan, &record, session, init)?,
                init: container.as_fd(),
                cgroup: self.group_of(init),
                filters: &self.home.filters(),
                stdio,
                wanted,
            })
        });
        // One that ends, though it has not ended, lets nobody in.
        if let Err(StartError { kind: StartErrorKind::Other, .. }) = &result
            && !watched.lives()
        {
            return Err(gone());
        }
        result.map_err(refusal)
    }

    fn delete(&self) {
        runtime::delete(&self.home.container(&self.id).bundle());
        if let Some(group) = group::payload(&self.id)
            && let Err(error) = group::end(&group)
        {
            complain(&self.home.container(&self.id).run, &format!("{}: {error}", group.display()));
        }
    }
}

impl Container {
    /// The cgroup that the container is to be born in, with its limits; none where there is no place for it.
    fn group(&self, plan: &Spec) -> io::Result<Option<OwnedFd>> {
        let Some(group) = group::payload(&self.id) else { return Ok(None) };
        // What a kill left of the last run.
        group::end(&group)?;
        group::make(&group)?;
        if let Some(resources) = plan.linux().as_ref().and_then(|linux| linux.resources().as_ref()) {
            limits::apply(&group, &limits::limits(resources))?;
        }
        group::open(&group).map(Some)
    }

    /// The cgroup of a container's first process: a further one cannot be in the container's own if that has groups
    /// below it.
    fn group_of(&self, init: i32) -> Option<OwnedFd> {
        let all = group::payload(&self.id)?;
        let own = group::of(init).ok().filter(|own| own.starts_with(&all)).unwrap_or(all);
        group::open(&own).ok()
    }

    fn start_in(&self, record: &ContainerRecord, plan: Option<&Plan>, stdio: Stdio) -> Result<Launched, Refusal> {
        let endpoints = plan.map(Plan::endpoints).unwrap_or_default();
        // While this process is in the host's network namespace.
        let published = ports::open(&self.home, record, &endpoints).map_err(no_network)?;
        network::etc::write(&self.home, record, &endpoints).map_err(Refusal::system)?;
        let mut prepared = plan::prepare(&self.home, &self.entered, record).map_err(refusal)?;
        let mut network = Network { endpoints, published, ..Network::default() };
        if let Some(plan) = plan {
            let bound: Vec<_> = network.published.iter().map(|one| one.bound).collect();
            let attached = network::attach(&self.home, plan, &bound).map_err(no_network)?;
            network.own = Some(attached.namespace.try_clone().map_err(Refusal::system)?);
            prepared.namespaces.network = Some(attached.namespace);
            (network.hub, network.troubles) = (Some(attached.hub), attached.troubles);
            network.resolver = attached.resolver.map(|sockets| Resolver { sockets, terms: Terms::of(record) });
            if network.resolver.is_none() {
                network::etc::write_unserved(&self.home, record, &network.endpoints).map_err(Refusal::system)?;
            }
        }
        let group = self.group(&prepared.plan).map_err(Refusal::system)?;
        let start = Start {
            root: prepared.root,
            plan: &prepared.plan,
            bundle: &self.home.container(&self.id).bundle(),
            namespaces: prepared.namespaces,
            trees: prepared.trees,
            cgroup: group,
            filters: &self.home.filters(),
            stdio,
        };
        let started = runtime::start(start).map_err(refusal)?;
        Ok(Launched { started, network })
    }
}

/// Missing sources of binds are made, as directories. Here rather than by who asks for the start: to look at a network
/// file system whose server is gone takes for ever, and a starter can be ended.
fn make_sources(home: &Home, record: &ContainerRecord) -> Result<(), Refusal> {
    let settings = record.settings().map_err(Refusal::system)?;
    for bind in settings.mounts.iter().filter_map(MountPoint::bind).filter(|bind| bind.make) {
        let (source, path) = (&bind.path, Path::new(&bind.path));
        if !home.is_own_socket(path) && fs::symlink_metadata(path).is_err() {
            let text = |err| Refusal::system(format!("{MOUNT_SOURCE} '{source}': {err}"));
            fs::create_dir_all(path).map_err(text)?;
        }
    }
    Ok(())
}

/// Why a container has no network, in dockerd's words.
fn no_network(error: network::Error) -> Refusal {
    Refusal::system(format!("failed to set up container networking: {error}"))
}

/// A failure as the monitor's clients are told it.
fn refusal(error: StartError) -> Refusal {
    Refusal {
        failure: match error.kind {
            StartErrorKind::NotFound => Failure::CommandNotFound,
            StartErrorKind::NotExecutable => Failure::NotExecutable,
            StartErrorKind::Other => Failure::System,
        },
        message: error.message,
    }
}
