//! Facts about the host and the whole engine, read when they are asked for.

use std::fs;
use std::path::Path;

use rustix::fs::statfs;
use rustix::system::uname;
use sha2::{Digest, Sha256};

use super::containers::ListOptions;
use super::{Engine, Result};
use crate::cgroup;
use crate::holder;
use crate::image::Store;
use crate::state::container::{Driver, Status};

/// What a client is told of host and engine.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The same as long as host and state directory are.
    pub id: String,
    /// Containers by state: running, paused, any other.
    pub containers: [usize; 3],
    /// Images, each counted once however many names it has.
    pub images: usize,
    /// How root file systems are made.
    pub driver: Driver,
    /// The file system under the state directory.
    pub backing: &'static str,
    /// Bytes of memory.
    pub memory: u64,
    /// Processors that this process may use.
    pub processors: usize,
    /// The kernel's version.
    pub kernel: String,
    /// The machine, as `x86_64`.
    pub architecture: String,
    /// The host's name.
    pub hostname: String,
    /// The distribution, as it calls itself.
    pub operating_system: String,
    /// The distribution's version.
    pub os_version: String,
    /// Whether /sys/fs/cgroup is of version 2.
    pub cgroup_v2: bool,
    /// Who made the place for containers' cgroups; none: they have none.
    pub cgroup_driver: &'static str,
    /// The cgroup controllers that containers have.
    pub controllers: Vec<String>,
    /// Whether the host forwards IPv4.
    pub forwards: bool,
    /// Whether the engine runs without root: in a user namespace.
    pub rootless: bool,
    /// Open descriptors and threads of this process.
    pub open: [usize; 2],
    /// What a person should know, a sentence each.
    pub warnings: Vec<String>,
}

impl Engine {
    /// Collects the facts.
    ///
    /// # Errors
    /// The state cannot be listed.
    pub fn facts(&self) -> Result<Facts> {
        let views = self.list(&ListOptions { all: true, ..ListOptions::default() })?;
        let count = |status| views.iter().filter(|view| view.state.status == status).count();
        let (running, paused) = (count(Status::Running), count(Status::Paused));
        let images = Store::open(self.home()).and_then(|store| store.metas()).map_or(0, |metas| metas.len());
        let driver = self.driver();
        let kernel = uname();
        let text = |name: &std::ffi::CStr| name.to_string_lossy().into_owned();
        let release = os_release();
        let rootless = holder::is_rootless();
        let place = cgroup::find(self.home());
        let controllers = place.as_ref().map(|place| place.controllers()).unwrap_or_default();
        Ok(Facts {
            id: self.identity(),
            containers: [running, paused, views.len() - running - paused],
            images,
            driver,
            backing: file_system(&self.home().data),
            memory: memory(),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: text(kernel.release()),
            architecture: text(kernel.machine()),
            hostname: text(kernel.nodename()),
            operating_system: release("PRETTY_NAME").or_else(|| release("NAME")).unwrap_or_else(|| "Linux".to_owned()),
            os_version: release("VERSION_ID").unwrap_or_default(),
            cgroup_v2: cgroup::is_v2(),
            cgroup_driver: place.as_ref().map_or("none", |place| place.driver()),
            forwards: read("/proc/sys/net/ipv4/ip_forward").trim() == "1",
            rootless,
            open: [entries("/proc/self/fd"), entries("/proc/self/task")],
            warnings: warnings(driver, rootless, &controllers),
            controllers,
        })
    }

    /// The cgroup controllers that containers have.
    pub(in crate::engine) fn controllers(&self) -> Vec<String> {
        cgroup::find(self.home()).map(|place| place.controllers()).unwrap_or_default()
    }

    /// A stable id in the form of Docker's: of machine and state directory, so nothing needs to be kept.
    fn identity(&self) -> String {
        let seed = format!("{}\0{}", read("/etc/machine-id").trim(), self.home().data.display());
        let hex: String = Sha256::digest(seed).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
    }
}

/// What the host lacks, as far as it concerns every container.
fn warnings(driver: Driver, rootless: bool, controllers: &[String]) -> Vec<String> {
    let mut warnings = Vec::new();
    if driver == Driver::Copy {
        warnings.push(
            "WARNING: overlayfs is refused by the kernel or the file system: images are copied for each container"
                .to_owned(),
        );
    }
    if rootless && holder::is_single_id() {
        warnings.push(
            "WARNING: only one user id is available: give the user a range in /etc/subuid and /etc/subgid, and \
             install uidmap"
                .to_owned(),
        );
    }
    match controllers {
        [] => warnings
            .push("WARNING: No cpu, memory or pids limit support: containers are not put into cgroups".to_owned()),
        had => {
            let lacking = cgroup::CONTROLLERS.iter().filter(|wanted| !had.iter().any(|had| had == *wanted));
            warnings.extend(lacking.map(|name| {
                format!("WARNING: No {name} limit support: the cgroup controller is not delegated to this user")
            }));
        }
    }
    warnings
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn entries(path: &str) -> usize {
    fs::read_dir(path).map_or(0, Iterator::count)
}

fn memory() -> u64 {
    let text = read("/proc/meminfo");
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kib| kib * 1024)
}

/// Looks fields up in os-release(5).
fn os_release() -> impl Fn(&str) -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").or_else(|_| fs::read_to_string("/usr/lib/os-release"));
    let text = text.unwrap_or_default();
    move |name| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        Some(value.trim_matches(['"', '\'']).to_owned()).filter(|value| !value.is_empty())
    }
}

/// The name of the file system that holds a path, or the nearest folder above it that exists.
fn file_system(path: &Path) -> &'static str {
    let kind = path.ancestors().find_map(|path| statfs(path).ok()).map_or(0, |fs| fs.f_type as u64);
    match kind {
        0xef53 => "extfs",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x0102_1994 => "tmpfs",
        0x794c_7630 => "overlayfs",
        0x2fc1_2fc1 => "zfs",
        0x6969 => "nfs",
        0xf2f5_2010 => "f2fs",
        0xca45_1a4e => "bcachefs",
        _ => "<unknown>",
    }
}
