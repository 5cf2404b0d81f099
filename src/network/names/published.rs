//! Which names containers have in a network: files beside their leases.
//!
//! ```text
//! run/networks/<id>/names/<name>/<address>   a name: a link to the id of the container that has the address
//! run/networks/<id>/names/.<address>         all names of an address, the container's own first
//! ```
//!
//! A link counts only where the address is leased to the same container, and that one's monitor lives: nobody who is
//! killed leaves a name that is answered. What it leaves on disk goes when its address is next given back, or leased: the
//! list of an address's names is written before its links, and goes after them.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::state;
use crate::state::atomic::{self, Durability};

/// The longest name of a file.
const FILE_NAME: usize = 255;

/// The directory of a network's names.
fn dir(network: &Path) -> PathBuf {
    network.join("names")
}

fn list(network: &Path, address: IpAddr) -> PathBuf {
    dir(network).join(format!(".{address}"))
}

/// A name as that of a file: whatever is in it, it is one file's name, and no hidden one's. None for those that are too
/// long to be asked for.
fn file_name(name: &str) -> Option<String> {
    let mut text = String::with_capacity(name.len());
    for byte in name.to_lowercase().bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => text.push(byte.into()),
            b'.' if !text.is_empty() => text.push('.'),
            _ => text.push_str(&format!("%{byte:02x}")),
        }
    }
    (!text.is_empty() && text.len() <= FILE_NAME).then_some(text)
}

/// Gives an address that `owner` has leased these names, and takes all others from it. `network` is the directory of the
/// network, whose lock the caller holds.
///
/// # Errors
/// Those of the file system.
pub fn publish(network: &Path, address: IpAddr, owner: &str, names: &[String]) -> state::Result<()> {
    let dir = dir(network);
    fs::create_dir_all(&dir).map_err(state::Error::at(&dir))?;
    let before = read_list(network, address);
    let wanted: Vec<String> = names.iter().filter_map(|name| file_name(name)).collect();
    let path = list(network, address);
    let kept: Vec<&String> = before.iter().filter(|name| !names.contains(name)).collect();
    if !kept.is_empty() {
        let all: Vec<&String> = names.iter().chain(kept.iter().copied()).collect();
        atomic::write_json(&path, &all, Durability::Process)?;
    } else if before != names {
        atomic::write_json(&path, &names, Durability::Process)?;
    }
    for name in &wanted {
        place(&dir.join(name), address, owner)?;
    }
    let stale: Vec<String> =
        kept.iter().filter_map(|name| file_name(name)).filter(|name| !wanted.contains(name)).collect();
    stale.iter().for_each(|name| take_away(&dir.join(name), address));
    if !kept.is_empty() {
        atomic::write_json(&path, &names, Durability::Process)?;
    }
    Ok(())
}

/// One link; its directory is made, and may be taken away by others as soon as it is empty.
fn place(dir: &Path, address: IpAddr, owner: &str) -> state::Result<()> {
    let link = dir.join(address.to_string());
    loop {
        match symlink(owner, &link) {
            Ok(()) => return Ok(()),
            Err(err) if err.kind() == io::ErrorKind::NotFound => match fs::create_dir(dir) {
                Err(err) if err.kind() != io::ErrorKind::AlreadyExists => return Err(state::Error::at(dir)(err)),
                _ => {}
            },
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => match fs::read_link(&link) {
                Ok(has) if has == Path::new(owner) => return Ok(()),
                // One that was killed has left it.
                _ => drop(fs::remove_file(&link)),
            },
            Err(err) => return Err(state::Error::at(&link)(err)),
        }
    }
}

fn take_away(dir: &Path, address: IpAddr) {
    let _ = fs::remove_file(dir.join(address.to_string()));
    // If it is empty.
    let _ = fs::remove_dir(dir);
}

/// Takes all names from an address, whose lease is the caller's still, or nobody's.
pub fn withdraw(network: &Path, address: IpAddr) {
    let names = read_list(network, address);
    for name in names.iter().filter_map(|name| file_name(name)) {
        take_away(&dir(network).join(name), address);
    }
    if !names.is_empty() {
        let _ = fs::remove_file(list(network, address));
    }
}

/// The names that an address has, or once had.
pub fn read_list(network: &Path, address: IpAddr) -> Vec<String> {
    atomic::read_json(&list(network, address)).unwrap_or_default()
}

/// The addresses that have a name, each with the id of its container, if `counts` says so of that.
pub fn find(network: &Path, name: &str, mut counts: impl FnMut(&str) -> bool) -> Vec<(IpAddr, String)> {
    let Some(name) = file_name(name) else { return Vec::new() };
    let dir = dir(network).join(name);
    let mut found: Vec<(IpAddr, String)> = Vec::new();
    for address in entries(&dir).unwrap_or_default() {
        let link = |path: PathBuf| fs::read_link(path).ok()?.into_os_string().into_string().ok();
        let Some(owner) = link(dir.join(address.to_string())) else { continue };
        if link(network.join(address.to_string())).as_ref() == Some(&owner) && counts(&owner) {
            found.push((address, owner));
        }
    }
    found
}

/// The addresses that a directory's entries are named by. Without the large buffer that the standard library takes.
fn entries(dir: &Path) -> io::Result<Vec<IpAddr>> {
    use rustix::fs::{Mode, OFlags, RawDir};
    let dir = rustix::fs::open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut space = [std::mem::MaybeUninit::uninit(); 2048];
    let mut all = RawDir::new(dir, &mut space);
    let mut found = Vec::new();
    while let Some(entry) = all.next() {
        let name = entry?.file_name().to_bytes().to_owned();
        found.extend(std::ffi::OsStr::from_bytes(&name).to_str().and_then(|name| name.parse::<IpAddr>().ok()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_name_is_its_file_is_harmless() {
        for (name, file) in [
            ("Web-1.front_end", "web-1.front_end"),
            ("..", "%2e."),
            (".hidden", "%2ehidden"),
            ("a/../../b", "a%2f..%2f..%2fb"),
            ("a\0b\n%", "a%00b%0a%25"),
            ("Ä", "%c3%a4"),
        ] {
            assert_eq!(file_name(name).as_deref(), Some(file), "{name:?}");
        }
        assert_eq!((file_name(""), file_name(&"x".repeat(256)), file_name(&"/".repeat(86))), (None, None, None));
    }

    #[test]
    fn names_come_and_go_with_their_lease() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let network = dir.path();
        let address: IpAddr = "10.0.0.2".parse().expect("address");
        let other: IpAddr = "fd00::2".parse().expect("address");
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let found = |name: &str| {
            let mut all: Vec<String> = find(network, name, |_| true).iter().map(|(a, o)| format!("{a} {o}")).collect();
            all.sort();
            all
        };
        let lease = |address: IpAddr, owner: &str| symlink(owner, network.join(address.to_string())).expect("lease");
        publish(network, address, "one", &names(&["web", "WEB", "a/b"])).expect("published");
        assert!(found("web").is_empty(), "it has no lease");
        lease(address, "one");
        lease(other, "two");
        publish(network, other, "two", &names(&["web"])).expect("published");
        assert_eq!(found("Web"), ["10.0.0.2 one", "fd00::2 two"]);
        assert_eq!(find(network, "web", |owner| owner == "two").len(), 1);
        assert_eq!(found("A/B"), ["10.0.0.2 one"]);
        // Another name.
        publish(network, address, "one", &names(&["shop", "a/b"])).expect("published");
        assert_eq!((found("web").len(), found("shop").len(), found("a/b").len()), (1, 1, 1));
        assert_eq!(read_list(network, address), ["shop", "a/b"]);
        // Its owner was killed; the next one has the address and other names.
        fs::remove_file(network.join("10.0.0.2")).expect("lease");
        lease(address, "three");
        assert!(found("shop").is_empty());
        publish(network, address, "three", &names(&["a/b"])).expect("published");
        assert_eq!((found("shop").len(), found("a/b")), (0, names(&["10.0.0.2 three"])));
        withdraw(network, address);
        withdraw(network, other);
        assert_eq!(fs::read_dir(network.join("names")).expect("directory").count(), 0, "nothing is left");
        assert!(found("nobody").is_empty());
    }
}
