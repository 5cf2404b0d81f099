//! Making a holder, and with it the user namespace.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use super::idmap::{self, Range};
use super::{Error, Home};
use crate::state::lock::{self, Kind};
use crate::sys::namespaces::{self, Kinds};
use crate::sys::{fdpass, pidfd, process, spawn};

/// Makes a holder and joins it: in the user namespace of `monitor`, else in a new one. The caller holds the lock under
/// which holders are made.
pub fn holder(home: &Home, monitor: Option<&OwnedFd>) -> Result<(), Error> {
    let dir = home.holder();
    let open = |path: &Path| {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        file.map_err(crate::state::Error::at(path))
    };
    let lock = open(&dir.join("lock"))?;
    let users = open(&dir.join("users"))?;
    // Free, as was just found, or about to be: its holder is ending.
    lock::acquire(&lock, Kind::Exclusive).map_err(Error::at("holder/lock"))?;
    lock.set_len(0).map_err(Error::at("holder/lock"))?;

    if let Some(monitor) = monitor {
        namespaces::join(monitor, Kinds::CLONE_NEWUSER).map_err(Error::at("cannot join the user namespace"))?;
    }
    let (ours, theirs) = fdpass::pair().map_err(Error::at("socketpair"))?;
    let child = spawn::fork(|| {
        // Its own child is nobody's here: this process may well end before the holder, or wait for other children.
        let forked = rustix::process::setsid()
            .map_err(io::Error::from)
            .and_then(|_| spawn::fork(|| hold(&lock, &users, &theirs, monitor.is_none())));
        i32::from(forked.is_err())
    });
    let child = child.map_err(Error::at("cannot fork"))?;
    drop(theirs);
    spawn::wait_for(child);

    let pid = receive_pid(&ours)?;
    let pidfd = pidfd::open(pid).map_err(Error::at("the holder has ended"))?;
    if monitor.is_none() {
        map_ids(pid)?;
    }
    let start = process::start_time(pid).map_err(Error::at("the holder has ended"))?;
    lock.write_at(format!("{pid} {start}\n").as_bytes(), 0).map_err(Error::at("holder/lock"))?;
    fdpass::send(&ours, &[b"go"], &[]).map_err(Error::at("the holder has ended"))?;
    if monitor.is_none() {
        namespaces::join(&pidfd, Kinds::CLONE_NEWUSER).map_err(Error::at("cannot join the user namespace"))?;
    }
    Ok(())
}

fn receive_pid(socket: &OwnedFd) -> Result<i32, Error> {
    let mut buf = [0; 256];
    let got = fdpass::recv(socket, &mut buf).map_err(Error::at("the holder does not answer"))?;
    let text = String::from_utf8_lossy(&buf[..got.len]);
    text.parse().map_err(|_| {
        Error::Refused(format!(
            "cannot make a user namespace: {}; `sysctl user.max_user_namespaces` and, where they exist, \
             `kernel.unprivileged_userns_clone` and `kernel.apparmor_restrict_unprivileged_userns` decide it",
            if text.is_empty() { "the process was killed" } else { &text }
        ))
    })
}

/// In the holder-to-be: makes the namespace, waits until its ids are mapped, and becomes `pierless holder`.
fn hold(lock: &File, users: &File, socket: &OwnedFd, make: bool) -> i32 {
    if make && let Err(err) = namespaces::unshare(Kinds::CLONE_NEWUSER) {
        let _ = fdpass::send(socket, &[err.to_string().as_bytes()], &[]);
        return 1;
    }
    if fdpass::send(socket, &[std::process::id().to_string().as_bytes()], &[]).is_err() {
        return 1;
    }
    let mut buf = [0; 8];
    if !matches!(fdpass::recv(socket, &mut buf), Ok(got) if got.len == 2) {
        return 1;
    }
    // Its two locks as standard streams: the only descriptors that outlive exec.
    let null = OpenOptions::new().write(true).open("/dev/null");
    let placed = rustix::stdio::dup2_stdin(lock.as_fd())
        .and_then(|()| rustix::stdio::dup2_stdout(users.as_fd()))
        .and_then(|()| null.map_or(Ok(()), |null| rustix::stdio::dup2_stderr(null.as_fd())));
    let _ = std::env::set_current_dir("/");
    spawn::ordinary_signals();
    if placed.is_err() || process::close_on_exec_from(3).is_err() {
        return 1;
    }
    let args = ["pierless".to_owned(), "holder".to_owned()];
    process::execute(Path::new("/proc/self/exe"), &args, &[]);
    1
}

/// Maps the whole ranges that the user was given, by the helpers that may; else the user's own ids alone.
fn map_ids(pid: i32) -> Result<(), Error> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let name = idmap::user_name(uid);
    let grants = |path| idmap::granted(&fs::read_to_string(path).unwrap_or_default(), name.as_deref(), uid);
    let (subuids, subgids) = (grants("/etc/subuid"), grants("/etc/subgid"));
    if !subuids.is_empty() && !subgids.is_empty() {
        // Both at once: each is a setuid program that the kernel has to load.
        let users = helper("newuidmap", pid, &idmap::mapping(uid, &subuids));
        let groups = helper("newgidmap", pid, &idmap::mapping(gid, &subgids));
        let ended =
            [users, groups].map(|child| child.and_then(|mut child| child.wait()).is_ok_and(|end| end.success()));
        match ended {
            [true, true] => return Ok(()),
            [false, false] => {}
            // Half a map cannot be taken back.
            _ => return Err(Error::Refused("only one of newuidmap and newgidmap succeeded".to_owned())),
        }
    }
    let map = |file, text: &str| namespaces::write_map(pid, file, text);
    map("setgroups", "deny")
        .and_then(|()| map("uid_map", &format!("0 {uid} 1")))
        .and_then(|()| map("gid_map", &format!("0 {gid} 1")))
        .map_err(Error::at("cannot map the user's id"))
}

fn helper(program: &str, pid: i32, map: &[Range]) -> io::Result<std::process::Child> {
    let mut command = Command::new(program);
    command.arg(pid.to_string());
    for range in map {
        command.args([range.inside, range.outside, range.count].map(|number| number.to_string()));
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()
}
