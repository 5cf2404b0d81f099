//! Where the user's cgroups are: one delegated scope, made with the holder and found by all others.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::Access;

use super::bus::{Body, Bus, Object, Reader, Value};
use super::group;
use crate::state::atomic::{self, Durability};
use crate::state::paths::Home;
use crate::sys::spawn;

/// In the holder's directory: the place, and the bus by which it was made.
const FILE: &str = "cgroup";
/// The holder's own group, where those are that are no container's.
const HOLDER: &str = "holder";
/// How often it is tried to make a scope while one of the same name ends.
const TRIES: usize = 5;

const MANAGER: Object = Object {
    destination: "org.freedesktop.systemd1",
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
};

/// The cgroup below which all of a user's containers are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its directory.
    pub path: PathBuf,
    /// The scope's name and its manager's bus, if systemd made it.
    scope: Option<(String, PathBuf)>,
}

/// The place, if it is there.
pub fn find(home: &Home) -> Option<Place> {
    let text = fs::read_to_string(home.holder().join(FILE)).ok()?;
    let mut lines = text.lines();
    let path = PathBuf::from(lines.next()?);
    let scope = lines.next().zip(lines.next()).map(|(name, bus)| (name.to_owned(), bus.into()));
    path.is_dir().then_some(Place { path, scope })
}

/// Makes the place for a new holder, or finds the one that is left, and puts the holder there. `uid` is the user's on the
/// host.
///
/// # Errors
/// Why there is none. Containers run all the same.
pub fn make(home: &Home, holder: i32, uid: u32) -> io::Result<Place> {
    if !group::is_v2() {
        return Err(io::Error::other("the host has no cgroups of version 2 alone"));
    }
    let place = by_manager(home, holder, uid)
        .or_else(|by_bus| below_own(home).map_err(|err| io::Error::other(format!("{by_bus}; {err}"))))?;
    let own = place.path.join(HOLDER);
    group::make(&own)?;
    fs::write(own.join("cgroup.procs"), holder.to_string())?;
    group::delegate(&place.path);
    let mut text = format!("{}\n", place.path.display());
    if let Some((name, bus)) = &place.scope {
        text.push_str(&format!("{name}\n{}\n", bus.display()));
    }
    atomic::write(&home.holder().join(FILE), text.as_bytes(), Durability::Process).map_err(io::Error::other)?;
    Ok(place)
}

/// A scope's name: of the usual place the plain one; each other has its own.
fn scope_name(home: &Home, uid: u32) -> String {
    let usual = [PathBuf::from(format!("/run/user/{uid}/pierless")), PathBuf::from("/run/pierless")];
    if usual.contains(&home.run) {
        return "pierless.scope".to_owned();
    }
    use sha2::{Digest, Sha256};
    let hash = Sha256::digest(home.run.as_os_str().as_encoded_bytes());
    let hex: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("pierless-{hex}.scope")
}

/// Asks the user's service manager, or for root the system's.
fn by_manager(home: &Home, holder: i32, uid: u32) -> io::Result<Place> {
    let (path, slice) = match uid {
        0 => (PathBuf::from("/run/dbus/system_bus_socket"), "system.slice"),
        _ => (PathBuf::from(format!("/run/user/{uid}/bus")), "app.slice"),
    };
    let mut bus = Bus::connect(&path)?;
    bus.subscribe(MANAGER.interface, "JobRemoved")?;
    let name = scope_name(home, uid);
    let pid = holder.unsigned_abs();
    let mut last = io::Error::other("no scope");
    for _ in 0..TRIES {
        // The policy is not known to older managers, which do not end a scope for want of memory in one group either.
        let started =
            start_scope(&mut bus, &name, slice, pid, true).or_else(|_| start_scope(&mut bus, &name, slice, pid, false));
        // It is there, with containers in it whose holder was killed; in its topmost group nobody can be any more.
        let joined = started.or_else(|_| attach(&mut bus, &name, &format!("/{HOLDER}"), pid));
        match joined.and_then(|()| group::of(holder)) {
            Ok(group) if group.ends_with(&name) => return Ok(Place { path: group, scope: Some((name, path)) }),
            Ok(group) if group.ends_with(PathBuf::from(&name).join(HOLDER)) => {
                let scope = group.parent().unwrap_or(&group).to_owned();
                return Ok(Place { path: scope, scope: Some((name, path)) });
            }
            Ok(group) => last = io::Error::other(format!("the manager put it into {}", group.display())),
            Err(err) => last = err,
        }
    }
    Err(last)
}

fn start_scope(bus: &mut Bus, name: &str, slice: &str, pid: u32, policy: bool) -> io::Result<()> {
    let mut body = Body::default();
    body.text(name);
    body.text("fail");
    body.array(8, |properties| {
        properties.property("Description", &Value::Text("Containers of pierless"));
        properties.property("Slice", &Value::Text(slice));
        properties.property("Delegate", &Value::Flag(true));
        properties.property("CollectMode", &Value::Text("inactive-or-failed"));
        properties.property("TasksMax", &Value::Long(u64::MAX));
        if policy {
            properties.property("OOMPolicy", &Value::Text("continue"));
        }
        properties.property("PIDs", &Value::Numbers(&[pid]));
    });
    body.array(8, |_| {});
    let job = bus.call(MANAGER, "StartTransientUnit", "ssa(sv)a(sa(sv))", &body)?;
    // The answer comes before the deed.
    bus.wait_for("JobRemoved", |body| {
        let mut reader = Reader::new(body);
        reader.number().is_some() && reader.text().is_some_and(|removed| removed == job)
    })
}

fn attach(bus: &mut Bus, name: &str, group: &str, pid: u32) -> io::Result<()> {
    let mut body = Body::default();
    body.text(name);
    body.text(group);
    body.numbers(&[pid]);
    bus.call(MANAGER, "AttachProcessesToUnit", "ssau", &body).map(drop)
}

/// Below the group that this process is in, if the user may write there.
fn below_own(home: &Home) -> io::Result<Place> {
    let own = group::of(std::process::id().cast_signed())?;
    // Where one was made before, its descendants are in it.
    let name = scope_name(home, u32::MAX);
    let parent = match own.ancestors().find(|group| group.ends_with(&name)) {
        Some(scope) => scope.parent().unwrap_or(scope).to_owned(),
        None => own,
    };
    let refused = |err| io::Error::other(format!("{} is not this user's to write: {err}", parent.display()));
    rustix::fs::access(parent.join("cgroup.procs"), Access::WRITE_OK).map_err(refused)?;
    // It has what it was given for its groups: to give those more while processes are in it would make it one of threads.
    let path = parent.join(name);
    group::make(&path)?;
    Ok(Place { path, scope: None })
}

impl Place {
    /// A container's groups.
    pub fn container(&self, id: &str) -> PathBuf {
        self.path.join(id)
    }

    /// Who made it, in Docker's words.
    pub fn driver(&self) -> &'static str {
        if self.scope.is_some() { "systemd" } else { "cgroupfs" }
    }

    /// The controllers that containers may have.
    pub fn controllers(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path.join("cgroup.controllers")).unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// Makes a container's groups, and opens the one of its monitor.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn monitor(&self, id: &str) -> io::Result<OwnedFd> {
        let all = self.container(id);
        group::make(&all)?;
        group::delegate(&all);
        let own = all.join(group::MONITOR);
        group::make(&own)?;
        group::open(&own)
    }

    /// Puts a process into the group of a container's monitor; out of a login session only the manager can.
    ///
    /// # Errors
    /// The manager's refusal.
    pub fn fetch(&self, id: &str, pid: i32) -> io::Result<()> {
        drop(self.monitor(id)?);
        let procs = self.container(id).join(group::MONITOR).join("cgroup.procs");
        let Err(refused) = fs::write(procs, pid.to_string()) else { return Ok(()) };
        let Some((name, bus)) = &self.scope else { return Err(refused) };
        attach(&mut Bus::connect(bus)?, name, &format!("/{id}/{}", group::MONITOR), pid.unsigned_abs())
    }
}

/// The group of those that are no container's, for a process that outlives the container whose it is now.
pub fn beside(home: &Home) -> Option<OwnedFd> {
    find(home).and_then(|place| group::open(&place.path.join(HOLDER)).ok())
}

/// Has a container's groups taken away when this process, its monitor, has ended, and what it started: they are in one of
/// them.
pub fn sweep(home: &Home, id: &str) {
    if let Some(groups) = group::of_monitor(id) {
        // Nobody waits for it.
        let _ = spawn::fork_beside(beside(home).as_ref().map(AsFd::as_fd), || {
            // Among them is the container's lock.
            if spawn::close_all_but(&[]).is_err() {
                return 1;
            }
            let own = groups.join(group::MONITOR);
            let _ = group::emptied(&own);
            // These two alone: if the next monitor is there already, they are its.
            let _ = fs::remove_dir(own);
            let _ = fs::remove_dir(&groups);
            0
        });
    }
}
