use std::ffi::CStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::{CWD, Mode, mkdirat, openat};

use super::*;

/// More than any path can have, and far more than there are descriptors.
const LEVELS: usize = 8_000;

/// Runs it on a thread whose stack is too small for any recursion over the tree.
fn on_a_small_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    thread::Builder::new().stack_size(64 << 10).spawn(work).expect("thread").join().expect("no panic")
}

/// Makes directories in each other, and in the last one a file of 3 bytes.
fn deep(top: &Path, levels: usize) {
    fs::create_dir_all(top).expect("top");
    let mut at = open_directory(CWD, top).expect("open");
    for _ in 0..levels {
        mkdirat(&at, "directory", Mode::RWXU).expect("directory");
        at = open_directory(at.as_fd(), "directory").expect("open");
    }
    let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CREATE;
    let file = openat(&at, "file", flags, Mode::RUSR).expect("file");
    rustix::io::write(&file, b"abc").expect("write");
}

#[test]
fn deeper_than_a_stack_a_path_and_a_table_of_descriptors() {
    // Not on a disk, which other tests are writing to: every level is a directory to make.
    let dir = tempfile::tempdir_in("/dev/shm").expect("directory");
    let top = dir.path().join("top");
    deep(&top, LEVELS);
    // Beside the deep one there are others, so that the way up is read on where it was left.
    for name in ["a", "b", "c"] {
        deep(&top.join("directory").join(name), 30);
    }
    let counted = top.clone();
    assert_eq!(on_a_small_stack(move || size(&counted)), 12);
    let removed = top.clone();
    on_a_small_stack(move || remove(&removed)).expect("removed");
    assert!(!top.exists());
}

#[test]
fn wide_directories_are_read_to_their_end() {
    let dir = tempfile::tempdir().expect("directory");
    let top = dir.path().join("top");
    for at in 0..1_000 {
        fs::create_dir_all(top.join(format!("{at:0200}/inner"))).expect("directory");
        fs::write(top.join(format!("{at:0200}/file")), "x").expect("file");
    }
    fs::hard_link(top.join(format!("{:0200}/file", 0)), top.join("again")).expect("link");
    assert_eq!(size(&top), 1_000);
    remove(&top).expect("removed");
    assert!(!top.exists());
    remove(&top).expect("nothing there is fine");
}

#[test]
fn links_are_removed_and_never_followed() {
    let dir = tempfile::tempdir().expect("directory");
    let path = |name: &str| dir.path().join(name);
    fs::create_dir_all(path("outside/kept")).expect("directory");
    fs::create_dir_all(path("top/a")).expect("directory");
    symlink(path("outside"), path("top/a/link")).expect("link");
    symlink("..", path("top/up")).expect("link");
    symlink(path("outside"), path("alone")).expect("link");
    remove(&path("top")).expect("removed");
    remove(&path("alone")).expect("removed");
    assert!(path("outside/kept").exists() && !path("top").exists());
    assert!(fs::symlink_metadata(path("alone")).is_err());
}

#[test]
fn directories_without_permissions_are_given_some() {
    let dir = tempfile::tempdir().expect("directory");
    let top = dir.path().join("top");
    fs::create_dir_all(top.join("none/below")).expect("directory");
    fs::create_dir_all(top.join("unwritable")).expect("directory");
    fs::write(top.join("unwritable/file"), "x").expect("file");
    for (name, mode) in [("none/below", 0), ("none", 0), ("unwritable", 0o500), ("", 0)] {
        fs::set_permissions(top.join(name), fs::Permissions::from_mode(mode)).expect("mode");
    }
    remove(&top).expect("removed");
    assert!(!top.exists());
}

#[test]
fn several_may_remove_the_same() {
    let dir = tempfile::tempdir().expect("directory");
    let top = dir.path().join("top");
    for at in 0..60 {
        deep(&top.join(format!("{at}")), 40);
    }
    thread::scope(|scope| {
        let all: Vec<_> = (0..4).map(|_| scope.spawn(|| remove(&top))).collect();
        all.into_iter().for_each(|one| one.join().expect("join").expect("removed"));
    });
    assert!(!top.exists());
}

#[test]
fn a_place_that_was_moved_away_leads_nowhere_else() {
    let dir = tempfile::tempdir().expect("directory");
    let path = |name: &str| dir.path().join(name);
    deep(&path("top"), 20);
    fs::create_dir(path("elsewhere")).expect("directory");
    let mut place = Descent::new(open_directory(CWD, path("top").as_path()).expect("open"));
    for _ in 0..20 {
        place.down("directory").expect("down");
    }
    let third: PathBuf = path("top").join("directory/directory/directory");
    fs::rename(third, path("elsewhere/moved")).expect("move");
    let ups = std::iter::repeat_with(|| place.up()).take_while(Result::is_ok).count();
    assert_eq!(ups, 17, "up to the moved one, and no further");
}

#[test]
fn what_cannot_be_removed_is_named_and_the_rest_is_removed() {
    struct Refusing(Removed);
    #[derive(Default)]
    struct Removed(Vec<String>, Option<String>);
    impl Visitor for Refusing {
        fn other(&mut self, _: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
            if name == c"bad" {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            self.0.0.push(name.to_string_lossy().into_owned());
            Ok(())
        }
        fn failed(&mut self, error: io::Error) -> io::Result<()> {
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            self.0.1 = Some(error.to_string());
            Ok(())
        }
    }
    let dir = tempfile::tempdir().expect("directory");
    fs::create_dir_all(dir.path().join("x/y")).expect("directory");
    for name in ["x/y/bad", "x/y/good", "x/also"] {
        File::create(dir.path().join(name)).expect("file");
    }
    let mut refusing = Refusing(Removed::default());
    walk(open_directory(CWD, dir.path()).expect("open"), &mut refusing).expect("goes on");
    let Removed(mut seen, failure) = refusing.0;
    seen.sort();
    assert_eq!(seen, ["also", "good"]);
    assert!(failure.as_ref().is_some_and(|text| text.starts_with("x/y/bad: ")), "{failure:?}");
}
