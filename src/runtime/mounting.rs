//! The container's file systems, placed beneath its root before that is anybody's root.
//!
//! Nothing that an image or a volume holds is trusted on the way: every target is looked up, and made if it is missing,
//! as if the container's root were the root, one component at a time.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Mount, Spec};
use rustix::fs::{FileType, Mode, OFlags};

use super::options::Options;
use super::{StartError, dev};
use crate::sys::mounts::{self, Change};
use crate::sys::openat2::{Leaf, Root};

/// Files below /proc that something may be mounted on, relative to it: what they tell, no kernel trusts.
const PROC_FILES: [&str; 10] = [
    "cpuinfo",
    "diskstats",
    "meminfo",
    "stat",
    "swaps",
    "uptime",
    "loadavg",
    "slabinfo",
    "sys/kernel/ns_last_pid",
    "sys/crypto/fips_enabled",
];

/// Mounts all that the plan asks for beneath `root`, which is placed in this process's own mount namespace. A mount
/// whose destination is among `trees` is that tree.
pub(super) fn mount_all(root: &Root, plan: &Spec, trees: &[(PathBuf, OwnedFd)]) -> Result<(), StartError> {
    for mount in plan.mounts().iter().flatten() {
        let target = mount.destination();
        let given = trees.iter().find(|(of, _)| of == target).map(|(_, tree)| tree);
        let mounted = mount_one(root, mount, given);
        mounted.map_err(|err| {
            let source = mount.source().as_deref().unwrap_or(Path::new("")).display();
            let text = super::errno_text(&err);
            StartError::other(format!("error mounting \"{source}\" to rootfs at \"{}\": {text}", target.display()))
        })?;
        if target == Path::new("/dev") && !is_bind(mount) {
            dev::fill(root).map_err(StartError::at("cannot make devices"))?;
        }
    }
    Ok(())
}

/// Whether it shows files that are there already.
fn is_bind(mount: &Mount) -> bool {
    mount.typ().as_deref() == Some("bind") || mount.options().iter().flatten().any(|word| word.ends_with("bind"))
}

fn mount_one(root: &Root, mount: &Mount, given: Option<&OwnedFd>) -> io::Result<()> {
    let options = Options::read(mount.options().as_deref().unwrap_or_default());
    if given.is_none() && !is_bind(mount) {
        return mount_new(root, mount, &options);
    }
    // One that is given is placed itself: before Linux 6.15 what is placed nowhere cannot be copied.
    let tree = match given {
        Some(tree) => tree,
        None => {
            let source = mount.source().as_deref().ok_or(io::ErrorKind::InvalidInput)?;
            &mounts::clone_tree(source, options.recursive)?
        }
    };
    let is_dir = FileType::from_raw_mode(rustix::fs::fstat(tree)?.st_mode).is_dir();
    let leaf = if is_dir { Leaf::Directory } else { Leaf::File };
    let target = root.make(mount.destination(), leaf, Mode::from_raw_mode(if is_dir { 0o755 } else { 0o644 }))?;
    refuse_proc(root, mount, &target)?;
    let propagation = Change { propagation: options.propagation, ..Change::default() };
    mounts::change(tree, propagation, options.recursive_propagation)?;
    // Those below keep what they have, unless all are to be read-only. Most mounts ask for neither.
    for (set, recursive) in [(options.set, false), (options.set_below, true)] {
        if !set.is_empty() {
            mounts::change(tree, Change { set, ..Change::default() }, recursive)?;
        }
    }
    mounts::attach(tree, target)
}

fn mount_new(root: &Root, mount: &Mount, options: &Options<'_>) -> io::Result<()> {
    let kind = mount.typ().as_deref().unwrap_or_default();
    let pairs = options.data.iter().map(|word| match word.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (*word, None),
    });
    let source = mount.source().as_deref().and_then(Path::to_str).unwrap_or(kind);
    let mut data: Vec<_> = std::iter::once(("source", Some(source))).chain(pairs).collect();
    // As with runc: one that covers a directory has its mode.
    let covered = (kind == "tmpfs" && !data.iter().any(|(name, _)| *name == "mode"))
        .then(|| root.open_beneath(mount.destination(), OFlags::PATH | OFlags::DIRECTORY, Mode::empty()));
    let covered = covered.and_then(Result::ok).and_then(|dir| rustix::fs::fstat(dir).ok());
    let mode = covered.map(|stat| format!("{:o}", stat.st_mode & 0o7777));
    data.extend(mode.as_deref().map(|mode| ("mode", Some(mode))));
    let target = root.make(mount.destination(), Leaf::Directory, Mode::from_raw_mode(0o755))?;
    refuse_proc(root, mount, &target)?;
    match mounts::new(kind, &data, options.set) {
        Ok(tree) => mounts::attach(tree, target),
        // The one file system that a container can do without: it sees an empty directory.
        Err(_) if kind == "cgroup2" => Ok(()),
        Err(err) => Err(err),
    }
}

/// Nothing covers what a kernel tells of itself, by whatever name it is reached: a program could then be made to trust
/// what it reads there, or to write elsewhere.
fn refuse_proc(root: &Root, mount: &Mount, target: &OwnedFd) -> io::Result<()> {
    if rustix::fs::fstatfs(target)?.f_type != rustix::fs::PROC_SUPER_MAGIC {
        return Ok(());
    }
    let own = root.open_beneath(Path::new("/proc"), OFlags::PATH, Mode::empty())?;
    for name in PROC_FILES {
        let file = crate::sys::openat2::open_in(&own, Path::new(name), OFlags::PATH, Mode::empty());
        if file.is_ok_and(|file| same(&file, target)) {
            return Ok(());
        }
    }
    let path = mount.destination().display();
    Err(io::Error::other(format!("\"{path}\" cannot be mounted because it is inside /proc")))
}

fn same(a: impl AsFd, b: impl AsFd) -> bool {
    let id = |fd: &dyn AsFd| rustix::fs::fstat(fd.as_fd()).map(|stat| (stat.st_dev, stat.st_ino)).ok();
    id(&a).is_some_and(|of_a| Some(of_a) == id(&b))
}
