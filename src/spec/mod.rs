//! From a container's record to the OCI runtime specification: pure, so that everything that a container gets can be
//! tested without starting one. What depends on the host is given as input.

pub mod capabilities;
mod error;
mod input;
mod mounts;
pub mod process;
mod resources;
pub mod seccomp;
pub mod security;

use std::collections::HashMap;

use oci_spec::runtime::{Linux, LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType, Root, Spec};

use crate::model::host_config::HostConfig;
use capabilities::CapSet;
pub use error::Error;
pub use input::{Etc, Host, Input, User};
use security::{Filter, Security};

/// Builds the specification.
///
/// # Errors
/// What was asked for does not exist, or is not supported.
pub fn build(input: &Input<'_>) -> Result<Spec, Error> {
    let (config, host) = (&input.record.config, &input.record.host_config);
    let empty = Vec::new();
    let list = |list: &'_ Option<Vec<String>>| list.clone().unwrap_or_default();
    let security = Security::parse(host.security_opt.as_ref().unwrap_or(&empty))?;
    let mut caps = CapSet::asked(&list(&host.cap_add), &list(&host.cap_drop), host.privileged)?;
    let mknod = ["MKNOD", "CAP_MKNOD"];
    let names_it = host.cap_add.iter().flatten().any(|name| mknod.iter().any(|it| name.eq_ignore_ascii_case(it)));
    if !input.host.rootless && !host.privileged && !names_it {
        // Real root's devices would be the host's, and nothing else holds a container off from them yet.
        caps = caps.without("CAP_MKNOD");
    }

    let mut spec = Spec::default();
    let mut root = Root::default();
    root.set_path(input.rootfs.to_owned());
    root.set_readonly(Some(host.readonly_rootfs));
    spec.set_root(Some(root));
    spec.set_process(Some(process::build(input, caps, &security)?));
    spec.set_mounts(Some(mounts::build(input)?));
    let own_uts = host.uts_mode != "host";
    spec.set_hostname((own_uts && !config.hostname.is_empty()).then(|| config.hostname.clone()));
    spec.set_domainname((own_uts && !config.domainname.is_empty()).then(|| config.domainname.clone()));
    let mut annotations: HashMap<String, String> = host.annotations.clone().into_iter().flatten().collect();
    if host.init == Some(true) {
        annotations.insert(process::OWN_INIT.to_owned(), "true".to_owned());
    }
    spec.set_annotations((!annotations.is_empty()).then_some(annotations));

    let mut linux = Linux::default();
    linux.set_resources(resources::resources(host, &|path| input.host.block_devices.get(path).copied())?);
    linux.set_devices(None);
    linux.set_namespaces(Some(namespaces(input)));
    linux.set_sysctl(sysctls(input)?);
    linux.set_rootfs_propagation(Some("private".to_owned()));
    let open = host.privileged || security.all_paths;
    let paths = |paths: Vec<String>| (!open).then_some(paths);
    linux.set_masked_paths(paths(security::masked(host.masked_paths.as_ref())));
    linux.set_readonly_paths(paths(security::read_only(host.readonly_paths.as_ref())));
    linux.set_seccomp(match security.filter {
        Filter::Unconfined => None,
        Filter::Default if host.privileged => None,
        Filter::Default => Some(seccomp::default_profile(caps, input.host.kernel)),
        Filter::Profile(text) => Some(seccomp::custom_profile(&text, caps, input.host.kernel)?),
    });
    spec.set_linux(Some(linux));
    Ok(spec)
}

/// The namespaces that are not the host's. Those of another container come as descriptors, see `runtime`: a path could
/// be another process's by the time it is opened.
fn namespaces(input: &Input<'_>) -> Vec<LinuxNamespace> {
    use LinuxNamespaceType::{Cgroup, Ipc, Mount, Network, Pid, Uts};
    let host = &input.record.host_config;
    let modes = [
        (Mount, ""),
        (Uts, host.uts_mode.as_str()),
        (Ipc, &host.ipc_mode),
        (Network, &host.network_mode),
        (Pid, &host.pid_mode),
        (Cgroup, &host.cgroupns_mode),
    ];
    let namespace = |kind| LinuxNamespaceBuilder::default().typ(kind).build().expect("every field is given");
    modes.into_iter().filter(|(_, mode)| *mode != "host").map(|(kind, _)| namespace(kind)).collect()
}

/// The last group of Docker's own range of those that may ping.
const MOST_GROUPS: u32 = 2_147_483_647;

/// The asked ones over Docker's, which let any user of the container bind every port, and every group that exists ping.
fn sysctls(input: &Input<'_>) -> Result<Option<HashMap<String, String>>, Error> {
    let host = &input.record.host_config;
    let mut sysctls = HashMap::new();
    let own_network = host.network_mode != "host" && !host.network_mode.starts_with("container:");
    if own_network && !host.privileged {
        sysctls.insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned());
        let last = input.host.last_gid.min(MOST_GROUPS);
        sysctls.insert("net.ipv4.ping_group_range".to_owned(), format!("0 {last}"));
    }
    sysctls.extend(asked_sysctls(host)?.map(|(name, value)| (name.clone(), value.clone())));
    Ok((!sysctls.is_empty()).then_some(sysctls))
}

/// The kernel parameters that are asked for.
///
/// # Errors
/// One that is the host's.
pub fn asked_sysctls(host: &HostConfig) -> Result<impl Iterator<Item = (&String, &String)>, Error> {
    let asked = || host.sysctls.iter().flatten();
    match asked().find(|(name, _)| !is_namespaced(name, &host.ipc_mode, &host.network_mode, &host.uts_mode)) {
        Some((name, _)) => Err(Error(format!("sysctl \"{name}\" is not in a separate kernel namespace"))),
        None => Ok(asked()),
    }
}

/// Whether a kernel parameter is a namespace's that this container does not share with the host: runc's list.
fn is_namespaced(name: &str, ipc: &str, network: &str, uts: &str) -> bool {
    const IPC: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    let name = name.replace('/', ".");
    if name.split('.').any(str::is_empty) {
        return false;
    }
    match name.as_str() {
        "kernel.domainname" => uts != "host",
        name if IPC.contains(&name) || name.starts_with("fs.mqueue.") => ipc != "host",
        name => name.starts_with("net.") && network != "host",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::container::ContainerRecord;
    use std::path::Path;

    /// A container that asks for nothing.
    #[derive(Default)]
    pub struct Fixture {
        pub record: ContainerRecord,
        pub user: User,
        pub etc: Etc,
        pub host: Host,
    }

    impl Fixture {
        pub fn input(&mut self) -> Input<'_> {
            self.record.path = "/bin/true".to_owned();
            self.user.home = "/root".to_owned();
            self.host.kernel = (6, 1);
            Input {
                record: &self.record,
                rootfs: Path::new("/rootfs"),
                user: &self.user,
                etc: &self.etc,
                host: &self.host,
                shared_shm: false,
            }
        }
    }

    fn built(fixture: &mut Fixture) -> Spec {
        build(&fixture.input()).expect("spec")
    }

    fn kinds(spec: &Spec) -> Vec<LinuxNamespaceType> {
        let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().clone()).unwrap_or_default();
        namespaces.iter().map(LinuxNamespace::typ).collect()
    }

    #[test]
    fn confined_by_default() {
        let spec = built(&mut Fixture::default());
        let linux = spec.linux().as_ref().expect("linux");
        assert!(linux.seccomp().is_some());
        assert!(linux.masked_paths().as_ref().expect("masked").contains(&"/proc/kcore".to_owned()));
        assert!(linux.readonly_paths().as_ref().expect("read-only").contains(&"/proc/sys".to_owned()));
        assert_eq!(kinds(&spec).len(), 6);
        assert_eq!(linux.sysctl().as_ref().map(HashMap::len), Some(2));
        assert_eq!(spec.process().as_ref().expect("process").no_new_privileges(), None);
    }

    #[test]
    fn privileged_is_open() {
        let mut fixture = Fixture::default();
        fixture.record.host_config.privileged = true;
        fixture.host.devices = vec!["/dev/fuse".into()];
        let spec = built(&mut fixture);
        let linux = spec.linux().as_ref().expect("linux");
        assert!(linux.seccomp().is_none() && linux.masked_paths().is_none() && linux.readonly_paths().is_none());
        assert!(spec.mounts().iter().flatten().any(|mount| mount.destination() == Path::new("/dev/fuse")));
    }

    #[test]
    fn shares_namespaces() {
        let mut fixture = Fixture::default();
        let host = &mut fixture.record.host_config;
        (host.network_mode, host.pid_mode, host.uts_mode) = ("host".into(), "container:x".into(), "host".into());
        fixture.record.config.hostname = "box".into();
        let spec = built(&mut fixture);
        assert!(!kinds(&spec).contains(&LinuxNamespaceType::Network));
        assert!(!kinds(&spec).contains(&LinuxNamespaceType::Uts));
        assert_eq!(spec.hostname(), &None);
        assert!(kinds(&spec).contains(&LinuxNamespaceType::Pid));
    }

    #[test]
    fn only_its_own_kernel_parameters() {
        let mut fixture = Fixture::default();
        let mut refused = |name: &str, network: &str| {
            fixture.record.host_config.network_mode = network.to_owned();
            fixture.record.host_config.sysctls = Some([(name.to_owned(), "1".to_owned())].into());
            build(&fixture.input()).is_err()
        };
        assert!(!refused("net.ipv4.ip_forward", "none") && !refused("kernel.shmmax", "none"));
        for name in ["kernel.panic", "vm.swappiness", "fs.file-max", "kernel.hostname", "net.../kernel.panic"] {
            assert!(refused(name, "none"), "{name}");
        }
        assert!(refused("net.ipv4.ip_forward", "host"));
    }

    #[test]
    fn real_root_makes_no_devices() {
        let has = |rootless, add: Option<Vec<String>>| {
            let mut fixture = Fixture::default();
            fixture.host.rootless = rootless;
            fixture.record.host_config.cap_add = add;
            let process = built(&mut fixture).process().clone().expect("process");
            CapSet::from_oci(process.capabilities().as_ref().expect("capabilities").bounding().as_ref())
                .has("CAP_MKNOD")
        };
        assert!(has(true, None) && !has(false, None) && has(false, Some(vec!["MKNOD".to_owned()])));
    }

    #[test]
    fn security_options_are_read() {
        let mut fixture = Fixture::default();
        fixture.record.host_config.security_opt = Some(vec!["no-new-privileges".into(), "seccomp=unconfined".into()]);
        let spec = built(&mut fixture);
        assert_eq!(spec.process().as_ref().expect("process").no_new_privileges(), Some(true));
        assert!(spec.linux().as_ref().expect("linux").seccomp().is_none());
        fixture.record.host_config.security_opt = Some(vec!["beer".into()]);
        assert!(build(&fixture.input()).is_err());
    }
}
