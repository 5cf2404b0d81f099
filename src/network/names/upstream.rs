//! The servers that answer what a container's resolver does not know.

use std::fs;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::network::resolvers::words;

/// How many servers are asked at the most, as in dockerd and the C library.
pub const MOST: usize = 3;
const PORT: u16 = 53;

/// Which version of a file was read: its device, number, time of change, and size.
type Version = (u64, u64, i64, i64, u64);

/// The host's servers: those that its file names now.
#[derive(Debug, Default)]
pub struct Upstream {
    version: Option<Version>,
    servers: Vec<SocketAddr>,
}

impl Upstream {
    /// The servers. The file is read again when it has changed.
    pub fn servers(&mut self) -> &[SocketAddr] {
        let path = host_file();
        let version =
            fs::metadata(&path).ok().map(|meta| (meta.dev(), meta.ino(), meta.ctime(), meta.ctime_nsec(), meta.size()));
        if version.is_none() || version != self.version {
            self.servers = servers(&read(&path));
            self.version = version;
        }
        &self.servers
    }
}

/// In the environment of whoever starts containers: another file in the place of the host's own, for tests.
pub const VARIABLE: &str = "PIERLESS_RESOLV_CONF";

/// The host's own resolv.conf.
fn host_file() -> PathBuf {
    let named = std::env::var_os(VARIABLE).filter(|path| !path.is_empty());
    named.map_or_else(|| PathBuf::from("/etc/resolv.conf"), PathBuf::from)
}

/// The text of the host's own resolv.conf.
pub fn host_text() -> String {
    read(&host_file())
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// The servers that a resolv.conf names. With ports, as tests have them; the C library knows none.
fn servers(text: &str) -> Vec<SocketAddr> {
    words(text, "nameserver").into_iter().filter_map(server).take(MOST).collect()
}

/// One server: an address, which may be an interface's.
pub fn server(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(address, PORT));
    }
    if let Some((address, interface)) = text.split_once('%') {
        let known = !interface.is_empty() && !interface.contains(['/', '.']);
        let index = || fs::read_to_string(format!("/sys/class/net/{interface}/ifindex")).ok()?.trim().parse().ok();
        let scope = interface.parse().ok().or_else(|| known.then(index).flatten())?;
        return Some(SocketAddrV6::new(address.parse().ok()?, PORT, 0, scope).into());
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read() {
        let text = "# nameserver 9.9.9.9\nnameserver 127.0.0.53\nsearch x\nnameserver\tfe80::1%lo\nnameserver nonsense\n\
                    nameserver 10.0.0.1:5300\nnameserver 10.0.0.2\n";
        let seen: Vec<String> = servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(seen, ["127.0.0.53:53", "[fe80::1%1]:53", "10.0.0.1:5300"]);
        assert_eq!(server("fe80::1%../../x"), None);
    }
}
