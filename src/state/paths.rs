//! Where everything is, and whose it is.

use std::env;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{Error, Result};

use crate::model::mounting::DOCKER_SOCKETS;

/// Marks a directory that is being removed: nobody lists it, and whoever finds it without an owner ends it.
pub(super) const GONE: &str = ".gone-";

/// What was asked, in a container's directory, wherever that has been put.
pub(super) const RECORD: &str = "container.json";

/// What happened, there.
pub(super) const STATE: &str = "state.json";

/// In a container's directory while its name changes.
pub(super) const RENAMING: &str = "renaming";

/// The monitor's socket in its container's run directory.
pub(super) const DOOR: &str = "monitor.sock";

/// The two directories of one user's pierless.
///
/// `data` survives a reboot; `run` is emptied by it, so nothing there can be stale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// `$PIERLESS_DATA`, else `$XDG_DATA_HOME/pierless`, else `~/.local/share/pierless`; for root `/var/lib/pierless`.
    pub data: PathBuf,
    /// `$PIERLESS_RUN`, else `$XDG_RUNTIME_DIR/pierless`, else `/run/user/UID/pierless`; for root `/run/pierless`.
    pub run: PathBuf,
}

impl Home {
    /// From the environment. `uid` is the user's on the host.
    pub fn from_env(uid: u32) -> Self {
        let var = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let own = |name| var(name).filter(|path| path.is_absolute());
        let data = own("PIERLESS_DATA").unwrap_or_else(|| match uid {
            0 => PathBuf::from("/var/lib/pierless"),
            _ => {
                let home = || var("HOME").unwrap_or_else(|| PathBuf::from("/")).join(".local/share");
                own("XDG_DATA_HOME").unwrap_or_else(home).join("pierless")
            }
        });
        let run = own("PIERLESS_RUN").unwrap_or_else(|| match uid {
            0 => PathBuf::from("/run/pierless"),
            _ => own("XDG_RUNTIME_DIR").unwrap_or_else(|| PathBuf::from(format!("/run/user/{uid}"))).join("pierless"),
        });
        Self { data, run }
    }

    /// Makes both directories where they are missing. They are the user's alone, whatever is below them: other users
    /// of the host must not run a setuid file that a container wrote. A wrong mode is mended.
    ///
    /// # Errors
    /// A directory is another user's, or those of the file system.
    pub fn make(&self) -> Result<()> {
        private_dir(&self.data)?;
        private_dir(&self.run)
    }

    /// The API's socket.
    pub fn socket(&self) -> PathBuf {
        self.run.join("docker.sock")
    }

    /// The directory of an unpacked layer, by its chain id: a lower directory for overlayfs.
    pub fn layer_diff(&self, chain: &str) -> PathBuf {
        self.layers().join(chain).join("diff")
    }

    /// What is below the lowest layer of every container, see [`crate::runtime::skeleton`].
    pub fn skeleton(&self) -> PathBuf {
        self.data.join("skeleton")
    }

    /// The read-only directories of a container with these layers, the lowest first.
    pub fn lower_dirs(&self, layers: &[String]) -> Vec<PathBuf> {
        std::iter::once(self.skeleton()).chain(layers.iter().map(|chain| self.layer_diff(chain))).collect()
    }

    /// All unpacked layers.
    pub fn layers(&self) -> PathBuf {
        self.images().join("layers")
    }

    /// Compiled system call filters.
    pub fn filters(&self) -> PathBuf {
        self.run.join("seccomp")
    }

    /// Whether a bind's source means the API's socket: clients write Docker's well-known path for it.
    pub fn is_own_socket(&self, source: &Path) -> bool {
        DOCKER_SOCKETS.map(Path::new).contains(&source) || source == self.socket()
    }

    /// All containers' lasting directories.
    pub fn containers(&self) -> PathBuf {
        self.data.join("containers")
    }

    /// Where a container's lasting directory is while it is being removed.
    pub fn gone(&self, id: &str) -> PathBuf {
        self.containers().join(format!("{GONE}{id}"))
    }

    /// The symbolic links that reserve container names.
    pub fn names(&self) -> PathBuf {
        self.data.join("containers/names")
    }

    /// All containers' directories until the next reboot.
    pub fn running(&self) -> PathBuf {
        self.run.join("containers")
    }

    /// One container's directories.
    pub fn container(&self, id: &str) -> ContainerPaths {
        ContainerPaths { data: self.containers().join(id), run: self.running().join(id) }
    }

    /// The index of exec sessions: links to where they are.
    pub fn execs(&self) -> PathBuf {
        self.run.join("execs")
    }

    /// The directory of the event log.
    pub fn events(&self) -> PathBuf {
        self.data.join("events")
    }

    /// The image store.
    pub fn images(&self) -> PathBuf {
        self.data.join("images")
    }

    /// Everything of containers and images in the two directories: all but what reaches the API and what is not
    /// pierless's.
    pub fn contents(&self) -> impl Iterator<Item = PathBuf> {
        let data =
            ["containers", "images", "skeleton", "events", "networks", "volumes"].map(|name| self.data.join(name));
        let run = ["containers", "execs", "networks", "seccomp"].map(|name| self.run.join(name));
        data.into_iter().chain(run)
    }

    /// The records of the user's networks.
    pub fn networks(&self) -> PathBuf {
        self.data.join("networks")
    }

    /// What the networks have until the next reboot.
    pub fn live_networks(&self) -> PathBuf {
        self.run.join("networks")
    }

    /// Locked by the process that is the containers' way out, with its process id in it.
    pub fn way_out(&self) -> PathBuf {
        self.live_networks().join("way-out")
    }

    /// Held while ports of the host are taken: for microseconds.
    pub fn ports_lock(&self) -> PathBuf {
        self.run.join("ports.lock")
    }

    /// What the holder of the namespaces is found by.
    pub fn holder(&self) -> PathBuf {
        self.run.join("holder")
    }
}

/// One container's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerPaths {
    /// Its lasting directory.
    pub data: PathBuf,
    /// Its directory until the next reboot.
    pub run: PathBuf,
}

impl ContainerPaths {
    /// Which ports of the host it has: as good as its monitor lives.
    pub fn ports(&self) -> PathBuf {
        self.run.join("ports")
    }

    /// What was asked.
    pub fn record(&self) -> PathBuf {
        self.data.join(RECORD)
    }
    /// What happened.
    pub fn state(&self) -> PathBuf {
        self.data.join(STATE)
    }
    /// Room for the next `state.json`.
    pub fn spare(&self) -> PathBuf {
        self.data.join("state.spare")
    }
    /// What happened last, where the data directory could not take it.
    pub fn late_state(&self) -> PathBuf {
        self.run.join(STATE)
    }
    /// A link to both names, while its name changes.
    pub fn renaming(&self) -> PathBuf {
        self.data.join(RENAMING)
    }
    /// What it printed.
    pub fn log(&self) -> PathBuf {
        self.data.join("container.log")
    }
    /// The writable layer.
    pub fn upper(&self) -> PathBuf {
        self.data.join("upper")
    }
    /// The overlay's scratch directory.
    pub fn work(&self) -> PathBuf {
        self.data.join("work")
    }
    /// The engine's lock on the container's record and on verbs that must not overlap.
    pub fn verb_lock(&self) -> PathBuf {
        self.data.join("lock")
    }
    /// Held by the monitor for as long as it lives.
    pub fn monitor_lock(&self) -> PathBuf {
        self.run.join("lock")
    }
    /// Held by a monitor while it begins.
    pub fn monitor_gate(&self) -> PathBuf {
        self.run.join("gate")
    }
    /// Where the monitor listens.
    pub fn monitor_socket(&self) -> PathBuf {
        self.run.join(DOOR)
    }
    /// The OCI bundle.
    pub fn bundle(&self) -> PathBuf {
        self.run.join("bundle")
    }
    /// Where the root file system is mounted, in the mount namespace of whoever mounts it.
    pub fn rootfs(&self) -> PathBuf {
        self.run.join("bundle/rootfs")
    }
    /// One exec session's directory.
    pub fn exec(&self, exec_id: &str) -> PathBuf {
        self.run.join("execs").join(exec_id)
    }
    /// `hostname`, `hosts` or `resolv.conf` as mounted into the container.
    pub fn etc(&self, file: &str) -> PathBuf {
        self.data.join("etc").join(file)
    }
}

/// Makes a directory that only this user may look into, whatever the umask; an existing one becomes so.
///
/// # Errors
/// It is another user's, or those of the file system.
pub fn private_dir(dir: &Path) -> Result<()> {
    const MODE: u32 = 0o700;
    let found = match fs::metadata(dir) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(MODE).create(dir).map_err(Error::at(dir))?;
            fs::metadata(dir)
        }
        other => other,
    };
    let found = found.map_err(Error::at(dir))?;
    if !found.is_dir() {
        return Err(Error::at(dir)(io::ErrorKind::NotADirectory.into()));
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(Error::at(dir)(io::Error::new(io::ErrorKind::PermissionDenied, "the directory is another user's")));
    }
    if found.mode() & 0o777 != MODE {
        fs::set_permissions(dir, Permissions::from_mode(MODE)).map_err(Error::at(dir))?;
    }
    Ok(())
}

/// Whether a directory entry's name is an id, not one of the store's own entries.
pub fn entry_id(path: &Path) -> Option<&str> {
    path.file_name()?.to_str().filter(|name| crate::model::ids::is_full_id(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_made_and_mended() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let home = Home { data: dir.path().join("a/data"), run: dir.path().join("run") };
        let mode = |path: &Path| fs::metadata(path).expect("made").mode() & 0o777;
        fs::create_dir(&home.run).expect("directory");
        fs::set_permissions(&home.run, Permissions::from_mode(0o755)).expect("mode");
        home.make().expect("make");
        assert_eq!([mode(&home.data), mode(&home.run)], [0o700, 0o700]);
        fs::remove_dir(&home.data).expect("remove");
        fs::write(&home.data, "").expect("file");
        assert!(home.make().is_err());
    }
}
