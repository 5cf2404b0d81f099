//! `pierless check`: what this host has and lacks for containers without root, item by item, and what mends it.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{Uid, User, geteuid};

use crate::cgroup;

/// How much an item matters where it is not as it should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Containers run; something they may need is absent or slower.
    Lacking,
    /// No container can run.
    Broken,
}

/// One thing looked at.
#[derive(Debug)]
pub struct Item {
    /// What was looked at, one or two words.
    pub name: &'static str,
    /// How it stands.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// The command that mends it; empty where nothing is to be done.
    pub mend: String,
}

impl Item {
    fn ok(name: &'static str, found: impl Into<String>) -> Item {
        Item { name, verdict: Verdict::Ok, found: found.into(), mend: String::new() }
    }

    fn bad(name: &'static str, verdict: Verdict, found: impl Into<String>, mend: impl Into<String>) -> Item {
        Item { name, verdict, found: found.into(), mend: mend.into() }
    }
}

/// Looks at everything; never fails, an unreadable thing counts as absent.
pub fn items() -> Vec<Item> {
    let uid = geteuid();
    let user = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
    let mut items = vec![kernel(), memory_programs()];
    if !uid.is_root() {
        items.push(user_namespaces());
        items.push(subordinate_ids("subuid", "--add-subuids", &user, uid));
        items.push(subordinate_ids("subgid", "--add-subgids", &user, uid));
        items.push(id_helper("newuidmap"));
        items.push(id_helper("newgidmap"));
    }
    items.extend([overlay(), cgroups(uid), runtime_dir(uid), program("pasta", Verdict::Lacking, "passt", "passt")]);
    items.push(tun());
    if !uid.is_root() {
        items.push(systemd_user());
        items.push(linger(&user));
    }
    items
}

/// The items as text for a terminal, one a line, with what mends each below it.
pub fn report(items: &[Item]) -> String {
    let mut text = String::new();
    for item in items {
        let mark = match item.verdict {
            Verdict::Ok => "ok     ",
            Verdict::Lacking => "lacking",
            Verdict::Broken => "BROKEN ",
        };
        let _ = writeln!(text, "{mark}  {:<16} {}", item.name, item.found);
        if !item.mend.is_empty() {
            let _ = writeln!(text, "{:>11}{}", "mend: ", item.mend);
        }
    }
    text
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The command that installs a package, by the package manager that is there.
fn install(debian: &str, fedora: &str) -> String {
    match find_program("apt-get") {
        Some(_) => format!("sudo apt-get install {debian}"),
        None => format!("sudo dnf install {fedora}"),
    }
}

fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps administrators' programs out of a user's PATH; those with rights of their own work all the same.
    let more = ["/usr/sbin", "/sbin"].into_iter().map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(more)
        .map(|dir| dir.join(name))
        .find(|path| fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0))
}

fn kernel() -> Item {
    let release = read("/proc/sys/kernel/osrelease").trim().to_owned();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= (5, 11) {
        Item::ok("kernel", release)
    } else {
        let found = format!("{release}; overlay file systems without root need 5.11");
        Item::bad("kernel", Verdict::Lacking, found, "boot a newer kernel; until then layers are copied")
    }
}

fn user_namespaces() -> Item {
    let name = "user namespaces";
    if read("/proc/sys/user/max_user_namespaces").trim() == "0" {
        return Item::bad(name, Verdict::Broken, "forbidden", "sudo sysctl -w user.max_user_namespaces=28633");
    }
    if read("/proc/sys/kernel/unprivileged_userns_clone").trim() == "0" {
        let mend = "sudo sysctl -w kernel.unprivileged_userns_clone=1";
        return Item::bad(name, Verdict::Broken, "forbidden to users", mend);
    }
    if read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").trim() == "1" {
        let mend = "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile for pierless";
        return Item::bad(name, Verdict::Lacking, "restricted by AppArmor", mend);
    }
    Item::ok(name, "allowed")
}

/// What runs beside containers runs from memory, see `holder::program`.
fn memory_programs() -> Item {
    let name = "memfd";
    match read("/proc/sys/vm/memfd_noexec").trim() {
        "2" => Item::bad(name, Verdict::Broken, "programs in memory are forbidden", "sudo sysctl -w vm.memfd_noexec=1"),
        _ => Item::ok(name, "programs in memory are allowed"),
    }
}

/// The user's ranges in /etc/subuid or /etc/subgid, whose lines are `name-or-id:first:count`.
fn subordinate_ids(file: &'static str, option: &str, user: &str, uid: Uid) -> Item {
    let (id, text) = (uid.to_string(), read(Path::new("/etc").join(file)));
    let count: u64 = text
        .lines()
        .filter_map(|line| {
            let mut fields = line.trim().split(':');
            let owner = fields.next()?;
            (owner == user || owner == id).then(|| fields.nth(1)?.parse::<u64>().ok()).flatten()
        })
        .sum();
    let mend = format!("sudo usermod {option} 100000-165535 {user}");
    match count {
        0 => Item::bad(file, Verdict::Lacking, "no range: containers have the one id 0", mend),
        1..65536 => Item::bad(file, Verdict::Lacking, format!("{count} ids; images use up to 65536"), mend),
        _ => Item::ok(file, format!("{count} ids")),
    }
}

fn id_helper(name: &'static str) -> Item {
    let mend = install("uidmap", "shadow-utils");
    let Some(path) = find_program(name) else {
        return Item::bad(name, Verdict::Lacking, "absent: containers have the one id 0", mend);
    };
    let setuid = fs::metadata(&path).is_ok_and(|found| found.uid() == 0 && found.mode() & 0o4000 != 0);
    let mut byte = [0u8; 64];
    let capable = rustix::fs::getxattr(&path, "security.capability", &mut byte[..]).is_ok_and(|length| length > 0);
    if setuid || capable {
        Item::ok(name, path.display().to_string())
    } else {
        let mend = format!("sudo chmod u+s {}", path.display());
        Item::bad(name, Verdict::Lacking, format!("{} has no rights of its own", path.display()), mend)
    }
}

fn overlay() -> Item {
    let there =
        read("/proc/filesystems").lines().any(|line| line.trim() == "nodev\toverlay" || line.ends_with("\toverlay"));
    if there {
        return Item::ok("overlay", "known to the kernel");
    }
    Item::bad("overlay", Verdict::Lacking, "not loaded: layers are copied", "sudo modprobe overlay")
}

fn cgroups(uid: Uid) -> Item {
    let root = Path::new("/sys/fs/cgroup");
    if !cgroup::is_v2() {
        let mend = "boot with systemd.unified_cgroup_hierarchy=1; until then there are no resource limits";
        return Item::bad("cgroups", Verdict::Lacking, "not version 2 alone", mend);
    }
    if uid.is_root() {
        return Item::ok("cgroups", "version 2");
    }
    let service = root.join(format!("user.slice/user-{uid}.slice/user@{uid}.service"));
    let given = read(service.join("cgroup.controllers"));
    let lacking: Vec<&str> =
        cgroup::CONTROLLERS.into_iter().filter(|want| !given.split_whitespace().any(|had| had == *want)).collect();
    if lacking.is_empty() {
        return Item::ok("cgroups", format!("version 2, delegated: {}", given.trim()));
    }
    let mend = "sudo mkdir -p /etc/systemd/system/user@.service.d && printf '[Service]\\nDelegate=cpu cpuset io memory \
                pids\\n' | sudo tee /etc/systemd/system/user@.service.d/delegate.conf && sudo systemctl daemon-reload";
    Item::bad("cgroups", Verdict::Lacking, format!("version 2; not delegated: {}", lacking.join(" ")), mend)
}

fn runtime_dir(uid: Uid) -> Item {
    let name = "XDG_RUNTIME_DIR";
    if uid.is_root() {
        return Item::ok(name, "root keeps what runs in /run/pierless");
    }
    let mend = format!("export XDG_RUNTIME_DIR=/run/user/{uid} (made by a login session, or by linger)");
    match std::env::var_os(name).map(PathBuf::from) {
        None => Item::bad(name, Verdict::Broken, "not set", mend),
        Some(dir) => match fs::metadata(&dir) {
            Ok(found) if found.is_dir() && found.uid() == uid.as_raw() && found.mode() & 0o077 == 0 => {
                Item::ok(name, dir.display().to_string())
            }
            Ok(_) => {
                let found = format!("{} is open to others", dir.display());
                Item::bad(name, Verdict::Lacking, found, format!("chmod 0700 {}", dir.display()))
            }
            Err(error) => Item::bad(name, Verdict::Broken, format!("{}: {error}", dir.display()), mend),
        },
    }
}

fn program(name: &'static str, verdict: Verdict, debian: &str, fedora: &str) -> Item {
    match find_program(name) {
        Some(path) => Item::ok(name, path.display().to_string()),
        None => Item::bad(name, verdict, "absent: container networks need it", install(debian, fedora)),
    }
}

fn tun() -> Item {
    match fs::File::options().read(true).write(true).open("/dev/net/tun") {
        Ok(_) => Item::ok("/dev/net/tun", "usable"),
        Err(error) => {
            let mend = "sudo modprobe tun; sudo chmod 0666 /dev/net/tun";
            Item::bad("/dev/net/tun", Verdict::Lacking, error.to_string(), mend)
        }
    }
}

/// Whether a systemd of this user answers. Asked, not guessed from files: a user may be logged in without one.
pub fn systemd_user_works() -> bool {
    Command::new("systemctl")
        .args(["--user", "--quiet", "show-environment"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn systemd_user() -> Item {
    if systemd_user_works() {
        return Item::ok("systemd --user", "answers");
    }
    let found = "does not answer: `pierless up` starts a stand-in that holds the socket";
    Item::bad("systemd --user", Verdict::Lacking, found, install("dbus-user-session libpam-systemd", "systemd"))
}

fn linger(user: &str) -> Item {
    if Path::new("/var/lib/systemd/linger").join(user).exists() {
        return Item::ok("linger", "on: containers outlive the login session");
    }
    Item::bad("linger", Verdict::Lacking, "off: containers end at logout", format!("loginctl enable-linger {user}"))
}
