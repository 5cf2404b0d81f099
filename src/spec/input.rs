//! All that a specification is made of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::state::container::ContainerRecord;

/// Who a process is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// User id in the container.
    pub uid: u32,
    /// Group id in the container.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
    /// Home directory; what `HOME` is if nobody sets it.
    pub home: String,
}

/// What there is of the host.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// Whether this is in a user namespace.
    pub rootless: bool,
    /// Whether only one id exists in it.
    pub single_id: bool,
    /// The highest group id there is.
    pub last_gid: u32,
    /// The kernel's version.
    pub kernel: (u32, u32),
    /// The host's devices that a privileged container gets.
    pub devices: Vec<PathBuf>,
    /// What `--device` asks for: for each, in its order, the device nodes, and where each of them is in the container.
    pub asked_devices: Vec<(PathBuf, String)>,
    /// The numbers of the block devices that limits name, by their paths.
    pub block_devices: BTreeMap<String, (i64, i64)>,
    /// The API's socket, which containers that mount Docker's mean.
    pub socket: PathBuf,
}

/// Files of the container's own for /etc, on the host; none: the image's.
#[derive(Debug, Clone, Default)]
pub struct Etc {
    /// Its host name.
    pub hostname: Option<PathBuf>,
    /// Its hosts.
    pub hosts: Option<PathBuf>,
    /// Its resolver's configuration.
    pub resolv_conf: Option<PathBuf>,
}

/// All that a specification is made of.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// What was asked.
    pub record: &'a ContainerRecord,
    /// Where the root file system is, or will be mounted.
    pub rootfs: &'a Path,
    /// Who the process is: `record.config.user` looked up.
    pub user: &'a User,
    /// Files for /etc.
    pub etc: &'a Etc,
    /// The host.
    pub host: &'a Host,
    /// Whether another container's /dev/shm is there to be shared with its namespace.
    pub shared_shm: bool,
}
