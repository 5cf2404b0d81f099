//! Making a holder, and with it, unless there is one already, the user namespace.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::idmap::{self, Range};
use super::{Error, find, program, way_out};
use crate::cgroup;
use crate::state::lock::{self, Kind};
use crate::state::paths::Home;
use crate::sys::namespaces::{self, Identity, Kinds};
use crate::sys::{fdpass, pidfd, process, spawn};

/// Where a holder is to be.
pub enum Place {
    /// In this process's own user namespace: it is root there.
    Here,
    /// In that user namespace.
    In(OwnedFd),
    /// In a new one.
    New,
}

/// Makes a holder and joins it. The caller holds the lock under which holders are made.
pub fn holder(home: &Home, place: &Place) -> Result<(), Error> {
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

    if let Place::In(namespace) = place {
        namespaces::join(namespace, Kinds::CLONE_NEWUSER).map_err(Error::at("cannot join the user namespace"))?;
    }
    let make = matches!(place, Place::New);
    let network = match make {
        // What is left serves a namespace that nobody can enter any more.
        true => {
            way_out::end(&home.way_out());
            None
        }
        false => find::network(home),
    };
    let (ours, theirs) = fdpass::pair().map_err(Error::at("socketpair"))?;
    let mut ours = Some(ours);
    let child = spawn::fork(|| {
        // With a copy of this end the holder-to-be would wait for ever for a creator that has failed.
        ours = None;
        // Its own child is nobody's here: this process may well end before the holder, or wait for other children.
        let forked = rustix::process::setsid()
            .map_err(io::Error::from)
            .and_then(|_| spawn::fork(|| hold(&lock, &users, &theirs, make, network.as_ref())));
        i32::from(forked.is_err())
    });
    let child = child.map_err(Error::at("cannot fork"))?;
    drop(theirs);
    spawn::wait_for(child);
    let ours = ours.expect("only the child gives it up");

    let pid = receive_pid(&ours)?;
    let pidfd = pidfd::open(pid).map_err(Error::at("the holder has ended"))?;
    let mapping = make.then(|| start_mapping(pid)).transpose()?;
    // While the helpers work.
    let program = program::copy(home).map_err(Error::at("cannot copy this program to memory"));
    if let Some(helpers) = mapping {
        helpers.into_iter().flatten().map(|(program, child)| finish(&program, child)).fold(Ok(()), Result::and)?;
        find::record(home, find::USERS, identity(pid, "user")?)?;
    }
    // It is where it is to be, and has given up what it does not need.
    receive_ready(&ours)?;
    // Before it can be found.
    find::record(home, find::NETWORK, identity(pid, "net")?)?;
    // Before this process joins the user namespace, and before it is used. Without, containers run in no group of theirs.
    if let Err(err) = cgroup::make(home, pid, idmap::host_uid()) {
        tracing::debug!("no cgroup for containers: {err}");
    }
    let start = process::start_time(pid).map_err(Error::at("the holder has ended"))?;
    lock.write_at(format!("{pid} {start}\n").as_bytes(), 0).map_err(Error::at("holder/lock"))?;
    let path = home.way_out().into_os_string().into_encoded_bytes();
    fdpass::send(&ours, &[b"go", &path], &[program?.as_fd()]).map_err(Error::at("the holder has ended"))?;
    if make {
        namespaces::join(&pidfd, Kinds::CLONE_NEWUSER).map_err(Error::at("cannot join the user namespace"))?;
    }
    Ok(())
}

fn identity(pid: i32, name: &str) -> Result<Identity, Error> {
    namespaces::identity(&pid.to_string(), name).map_err(Error::at("the holder has ended"))
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

const READY: &[u8] = b"ready";

fn receive_ready(socket: &OwnedFd) -> Result<(), Error> {
    match fdpass::recv(socket, &mut [0; 8]) {
        Ok(got) if got.len == READY.len() => Ok(()),
        Ok(_) => Err(Error::at("the holder has ended")(io::ErrorKind::UnexpectedEof.into())),
        Err(err) => Err(Error::at("the holder does not answer")(err)),
    }
}

/// In the holder-to-be: makes the namespaces, waits until its ids are mapped, and becomes `pierless holder`. `network` is
/// the network namespace that the containers have already.
fn hold(lock: &File, users: &File, socket: &OwnedFd, make: bool, network: Option<&OwnedFd>) -> i32 {
    if make && let Err(err) = namespaces::unshare(Kinds::CLONE_NEWUSER) {
        let _ = fdpass::send(socket, &[err.to_string().as_bytes()], &[]);
        return 1;
    }
    if fdpass::send(socket, &[std::process::id().to_string().as_bytes()], &[]).is_err() {
        return 1;
    }
    // While the ids are mapped. Where the kernel gives none, containers have no networks: who needs one is told.
    let _ = match network {
        Some(namespace) => namespaces::join(namespace, Kinds::CLONE_NEWNET),
        None => namespaces::unshare(Kinds::CLONE_NEWNET),
    };
    // It needs none; and only those without look into the namespaces of those without, as `pasta` has to.
    let _ = process::drop_capabilities();
    if fdpass::send(socket, &[READY], &[]).is_err() {
        return 1;
    }
    let mut buf = [0; 8192];
    let (program, way_out) = match fdpass::recv(socket, &mut buf) {
        Ok(mut got) => {
            (got.fds.pop(), String::from_utf8_lossy(buf[..got.len].get(2..).unwrap_or_default()).into_owned())
        }
        Err(_) => return 1,
    };
    let Some(program) = program else { return 1 };
    // Its two locks and, for its role, the program as standard streams: the only descriptors that outlive exec.
    let placed = rustix::stdio::dup2_stdin(lock.as_fd())
        .and_then(|()| rustix::stdio::dup2_stdout(users.as_fd()))
        .and_then(|()| rustix::stdio::dup2_stderr(&program));
    let _ = std::env::set_current_dir("/");
    spawn::ordinary_signals();
    if placed.is_err() || process::close_on_exec_from(3).is_err() {
        return 1;
    }
    let args = [program::path().to_string_lossy().into_owned(), "holder".to_owned(), way_out];
    process::execute(&program::executable(&program), &args, &[]);
    1
}

/// Begins to map the whole ranges that the user was given, by the helpers that may; [`finish`] each. The user's own ids
/// alone are mapped only where nothing was given, or where the helpers are not installed: what fails now and then must
/// not change who owns files.
fn start_mapping(pid: i32) -> Result<Option<[Helper; 2]>, Error> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let name = idmap::user_name(uid);
    let grants = |path: &'static str| match fs::read(path) {
        Ok(text) => Ok(idmap::granted(&String::from_utf8_lossy(&text), name.as_deref(), uid)),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(err) => Err(Error::at(path)(err)),
    };
    let (subuids, subgids) = (grants("/etc/subuid")?, grants("/etc/subgid")?);
    let helpers = (find_program("newuidmap"), find_program("newgidmap"));
    if let (Some(for_users), Some(for_groups)) = helpers
        && !subuids.is_empty()
        && !subgids.is_empty()
    {
        // Both at once: each is a setuid program that the kernel has to load.
        let users = helper(&for_users, pid, &idmap::mapping(uid, &subuids));
        let groups = helper(&for_groups, pid, &idmap::mapping(gid, &subgids));
        return Ok(Some([(for_users, users), (for_groups, groups)]));
    }
    let map = |file, text: &str| namespaces::write_map(pid, file, text);
    map("setgroups", "deny")
        .and_then(|()| map("uid_map", &format!("0 {uid} 1")))
        .and_then(|()| map("gid_map", &format!("0 {gid} 1")))
        .map_err(Error::at("cannot map the user's id"))?;
    Ok(None)
}

/// A helper's file and, where it could be started, its process.
type Helper = (PathBuf, io::Result<Child>);

fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|path| path.is_file())
}

fn helper(program: &Path, pid: i32, map: &[Range]) -> io::Result<Child> {
    let mut command = Command::new(program);
    command.arg(pid.to_string());
    for range in map {
        command.args([range.inside, range.outside, range.count].map(|number| number.to_string()));
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()
}

fn finish(program: &Path, child: io::Result<Child>) -> Result<(), Error> {
    let failed = |why: &str| {
        Error::Refused(format!(
            "cannot map the user's subordinate ids: {} failed: {why}; `pierless check` may tell more",
            program.display()
        ))
    };
    let output = child.and_then(Child::wait_with_output).map_err(|err| failed(&err.to_string()))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(failed(format!("{} ({})", String::from_utf8_lossy(&output.stderr).trim(), output.status).trim())),
    }
}
