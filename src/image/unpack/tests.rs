use std::fs;
use std::io::Cursor;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use super::*;

/// An unprivileged process's: owners stay as they are.
fn plain() -> Privilege {
    Privilege { trusted: false, ids: None }
}

fn into(dir: &Path, archive: &[u8]) -> Result<Unpacked, UnpackError> {
    unpack(Cursor::new(archive), File::open(dir).expect("root").into(), plain())
}

struct Tar(tar::Builder<Vec<u8>>);

impl Tar {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    /// Adds an entry whose name and link are written as they are, which the library's own calls would refuse.
    fn raw(mut self, kind: tar::EntryType, path: &str, link: &str, data: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        let old = header.as_gnu_mut().expect("GNU header");
        old.name[..path.len()].copy_from_slice(path.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
        header.set_mtime(1_000_000_000);
        header.set_size(data.len() as u64);
        header.set_cksum();
        self.0.append(&header, data).expect("append");
        self
    }

    fn file(self, path: &str, data: &[u8]) -> Self {
        self.raw(tar::EntryType::Regular, path, "", data)
    }

    fn dir(self, path: &str) -> Self {
        self.raw(tar::EntryType::Directory, path, "", b"")
    }

    fn link(self, path: &str, target: &str) -> Self {
        self.raw(tar::EntryType::Symlink, path, target, b"")
    }

    fn hard(self, path: &str, target: &str) -> Self {
        self.raw(tar::EntryType::Link, path, target, b"")
    }

    fn pax<'a>(mut self, records: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        self.0.append_pax_extensions(records).expect("pax");
        self
    }

    fn done(self) -> Vec<u8> {
        self.0.into_inner().expect("archive")
    }
}

#[test]
fn files_links_and_times_arrive() {
    let dir = tempfile::tempdir().expect("directory");
    let archive = Tar::new()
        .dir("./")
        .dir("a/")
        .file("a/f", b"hello")
        .hard("a/g", "a/f")
        .link("a/l", "/nowhere")
        .file("implied/parents/f", b"x")
        .raw(tar::EntryType::Fifo, "a/pipe", "", b"")
        .raw(tar::EntryType::Char, "a/null", "", b"")
        .pax([("path", &b"/long".repeat(60)[..]), ("mtime", b"12.5".as_slice())])
        .file("short", b"long")
        .done();
    let done = into(dir.path(), &archive).expect("unpack");
    let at = |path: &str| fs::symlink_metadata(dir.path().join(path)).expect("entry");
    assert_eq!(fs::read(dir.path().join("a/g")).expect("read"), b"hello");
    assert_eq!(at("a/f").nlink(), 2);
    assert!(at("a/l").is_symlink() && at("a/pipe").file_type().is_fifo());
    assert_eq!((at("a").mtime(), at("a/f").mtime(), at("a/l").mtime()), (1_000_000_000, 1_000_000_000, 1_000_000_000));
    assert_eq!(at("a/f").permissions().mode() & 0o7777, 0o644);
    assert_eq!(at("implied").permissions().mode() & 0o7777, 0o755);
    assert!(!dir.path().join("a/null").exists());
    assert_eq!(done.noted, 1, "the device: {:?}", done.notes);
    let long = at(&"long/".repeat(60)[..299]);
    assert_eq!((long.len(), long.mtime(), long.mtime_nsec()), (4, 12, 500_000_000));
}

#[test]
fn later_entries_replace_earlier_ones() {
    let dir = tempfile::tempdir().expect("directory");
    let archive = Tar::new()
        .file("a/f", b"1")
        .file("a/f", b"2")
        .link("b", "a")
        .file("b", b"no longer a link")
        .dir("c/d")
        .file("c/d/e", b"x")
        .file("c", b"no longer a directory")
        .link("d", "a")
        .dir("d")
        .file("d/own", b"x")
        .done();
    into(dir.path(), &archive).expect("unpack");
    let read = |path: &str| fs::read_to_string(dir.path().join(path)).expect("read");
    assert_eq!((read("a/f"), read("b")), ("2".into(), "no longer a link".into()));
    assert_eq!(read("c"), "no longer a directory");
    assert!(dir.path().join("d").symlink_metadata().expect("d").is_dir());
    assert!(!dir.path().join("a/own").exists());
}

#[test]
fn nothing_leaves_the_root() {
    let outside = tempfile::tempdir().expect("outside");
    fs::write(outside.path().join("secret"), "s").expect("secret");
    let target = outside.path().to_str().expect("utf-8").to_owned();
    let absolute = |name: &str| format!("{target}/{name}");
    let hostile = [
        ("parent", Tar::new().file("../x", b"x")),
        ("hidden parent", Tar::new().dir("a").file("a/../../x", b"x")),
        ("hard link to a parent", Tar::new().hard("x", "../secret")),
        ("absolute hard link", Tar::new().hard("x", &absolute("secret"))),
        ("absolute link, then through it", Tar::new().link("l", &target).file("l/x", b"x")),
        ("relative link, then through it", Tar::new().link("l", "../../../../../../../../tmp").file("l/x", b"x")),
        ("hard link through a link", Tar::new().link("l", &target).hard("x", "l/secret")),
        ("whiteout of the parent", Tar::new().dir("a").file("a/.wh...", b"")),
        ("whiteout of itself", Tar::new().dir("a").file("a/.wh..", b"")),
        ("root as a file", Tar::new().file(".", b"x")),
        ("unknown type", Tar::new().raw(tar::EntryType::new(b'Z'), "x", "", b"")),
    ];
    for (what, archive) in hostile {
        let root = tempfile::tempdir().expect("directory");
        assert!(into(root.path(), &archive.done()).is_err(), "{what}");
        assert_eq!(fs::read_dir(outside.path()).expect("list").count(), 1, "{what}");
        assert!(!root.path().parent().expect("parent").join("x").exists(), "{what}");
    }
}

#[test]
fn links_inside_the_root_are_followed_inside() {
    let dir = tempfile::tempdir().expect("directory");
    let archive =
        Tar::new().dir("usr/lib").link("lib", "/usr/lib").link("up", "../..").file("lib/x", b"1").file("up/y", b"2");
    into(dir.path(), &archive.done()).expect("unpack");
    assert_eq!(fs::read(dir.path().join("usr/lib/x")).expect("read"), b"1");
    assert_eq!(fs::read(dir.path().join("y")).expect("read"), b"2");
}

#[test]
fn absolute_names_begin_at_the_root() {
    let dir = tempfile::tempdir().expect("directory");
    into(dir.path(), &Tar::new().file("/etc/x", b"1").hard("y", "/etc/x").done()).expect("unpack");
    assert_eq!(fs::read(dir.path().join("y")).expect("read"), b"1");
}

#[test]
fn whiteouts_become_overlayfs_marks() {
    let dir = tempfile::tempdir().expect("directory");
    let archive = Tar::new()
        .file("a/.wh.gone", b"")
        .file("b/.wh..wh..opq", b"")
        .file(".wh..wh.plnk", b"")
        .file(".wh.dir", b"")
        .dir("dir")
        .done();
    into(dir.path(), &archive).expect("unpack");
    let gone = fs::symlink_metadata(dir.path().join("a/gone")).expect("whiteout");
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    let opaque = |path: &str| {
        let mut value = [0u8; 8];
        rustix::fs::getxattr(dir.path().join(path), "user.overlay.opaque", &mut value[..]).map(|_| value[0])
    };
    assert_eq!(opaque("b"), Ok(b'y'));
    assert_eq!(opaque("dir"), Ok(b'y'), "a directory in place of a whiteout hides what was below");
    assert!(!dir.path().join(".wh..wh.plnk").exists());
}

#[test]
fn sparse_files_keep_their_holes() {
    let dir = tempfile::tempdir().expect("directory");
    let map = b"2\n0\n4\n1048576\n4\n";
    let mut stored = map.to_vec();
    stored.resize(512, 0);
    stored.extend(b"headtail");
    let records: [(&str, &[u8]); 4] = [
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"sparse"),
        ("GNU.sparse.realsize", b"1073741824"),
    ];
    let archive = Tar::new().pax(records).file("GNUSparseFile.1/sparse", &stored).file("after", b"x").done();
    into(dir.path(), &archive).expect("unpack");
    let meta = fs::metadata(dir.path().join("sparse")).expect("sparse");
    assert_eq!(meta.len(), 1 << 30);
    assert!(meta.blocks() * 512 < 1 << 20);
    assert_eq!(fs::read(dir.path().join("after")).expect("read"), b"x");
    let bad: [(&str, &[u8]); 2] = [("GNU.sparse.map", b"0,4,2,4"), ("GNU.sparse.size", b"100")];
    assert!(into(dir.path(), &Tar::new().pax(bad).file("x", b"headtail").done()).is_err());
}

#[test]
fn attributes_are_set_except_overlayfs_own() {
    let dir = tempfile::tempdir().expect("directory");
    let records: [(&str, &[u8]); 2] =
        [("SCHILY.xattr.user.x", b"v\0w"), ("SCHILY.xattr.user.overlay.redirect", b"/etc")];
    into(dir.path(), &Tar::new().pax(records).file("f", b"").done()).expect("unpack");
    let get = |name: &str| {
        let mut value = [0u8; 16];
        rustix::fs::getxattr(dir.path().join("f"), name, &mut value[..]).map(|count| value[..count].to_vec())
    };
    assert_eq!(get("user.x"), Ok(b"v\0w".to_vec()));
    assert!(get("user.overlay.redirect").is_err());
}

#[test]
fn truncated_and_oversized_input_is_an_error() {
    let dir = tempfile::tempdir().expect("directory");
    let archive = Tar::new().file("f", &[1; 5000]).done();
    assert!(into(dir.path(), &archive[..3000]).is_err());
    let huge = vec![b'a'; 2 << 20];
    assert!(into(dir.path(), &Tar::new().pax([("path", &huge[..])]).file("f", b"").done()).is_err());
    assert!(into(dir.path(), &[b'x'; 4096]).is_err());
}

/// More than any path can have, and far more than there are descriptors.
const LEVELS: usize = 8_000;

#[test]
fn trees_deeper_than_a_stack_and_a_path_are_unpacked() {
    let dir = tempfile::tempdir_in("/dev/shm").expect("directory");
    let path = "d/".repeat(LEVELS);
    let (file, above) = (format!("{path}file"), &path[..path.len() - 2]);
    let archive = Tar::new()
        .pax([("path", file.as_bytes())])
        .file("x", b"deep")
        .pax([("path", above.as_bytes())])
        .dir("x")
        // The same depth by short paths through links, each of which leads to the end of the one before.
        .link("l0", "d")
        .link("l1", &format!("l0{}", "/d".repeat(40)))
        .link("l2", &format!("l1{}", "/d".repeat(40)))
        .file("l2/beside", b"x")
        .done();
    let root = dir.path().to_owned();
    let small = std::thread::Builder::new().stack_size(128 << 10);
    let unpacked = small.spawn(move || into(&root, &archive)).expect("thread").join().expect("no panic");
    assert_eq!(unpacked.expect("unpack").size, 5);
    assert_eq!(fs::read(dir.path().join(format!("{}beside", "d/".repeat(81)))).expect("read"), b"x");
    assert_eq!(crate::sys::tree::size(dir.path()), 5);
    crate::sys::tree::remove(dir.path()).expect("removed");
}

#[test]
fn links_do_not_lead_on_beyond_what_a_path_can_have() {
    let dir = tempfile::tempdir_in("/dev/shm").expect("directory");
    let path = "d/".repeat(3_000);
    let (link, through) = (format!("{path}l"), format!("{path}l/x"));
    let archive = Tar::new()
        .pax([("path", link.as_bytes())])
        .link("x", "/")
        .pax([("path", through.as_bytes())])
        .file("x", b"x")
        .done();
    assert!(into(dir.path(), &archive).is_err());
    assert!(!dir.path().join("x").exists());
    crate::sys::tree::remove(dir.path()).expect("removed");
}

#[test]
fn owners_that_do_not_exist_are_named() {
    let dir = tempfile::tempdir().expect("directory");
    let privilege = Privilege { trusted: false, ids: Some((vec![(0, 1)], vec![(0, 1000)])) };
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    for (uid, gid, why) in [(70_000, 0, "etc/x: user id 70000 does not exist here"), (0, 1000, "etc/x: group id 1000")]
    {
        header.set_uid(uid);
        header.set_gid(gid);
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_data(&mut header, "etc/x", &b""[..]).expect("append");
        let archive = builder.into_inner().expect("archive");
        let root = File::open(dir.path()).expect("root").into();
        let err = unpack(&archive[..], root, privilege.clone()).expect_err("outside");
        assert!(err.to_string().starts_with(why), "{err}");
        assert!(!dir.path().join("etc/x").exists(), "nobody gets it instead");
    }
}

/// What an archive may do to the names in it, and none of it may hang, abort, or leave the root.
#[test]
fn hostile_archives_are_refused_or_harmless() {
    let long = "n".repeat(300);
    let many_links = (0..60).fold(Tar::new(), |tar, at| tar.link(&format!("l{at}"), &format!("l{}", (at + 1) % 60)));
    let nested = (1..60).fold(Tar::new().dir("d"), |tar, at| tar.link(&format!("d/l{at}"), "../d"));
    let xattrs: Vec<(String, Vec<u8>)> =
        (0..9).map(|at| (format!("SCHILY.xattr.user.{at}"), vec![b'x'; 900_000])).collect();
    let bomb = xattrs.iter().fold(Tar::new(), |tar, (name, value)| tar.pax([(name.as_str(), value.as_slice())]));
    let sparse = |records: &[(&'static str, &'static [u8])]| Tar::new().pax(records.to_vec());
    let refused: Vec<(&str, Tar)> = vec![
        ("a loop of links, and a file through it", many_links.file("l0/x", b"x")),
        ("a component longer than a name", Tar::new().pax([("path", long.as_bytes())]).file("x", b"x")),
        ("a NUL in a name", Tar::new().pax([("path", b"a\0b".as_slice())]).file("x", b"x")),
        ("a NUL in a link", Tar::new().pax([("linkpath", b"a\0b".as_slice())]).link("x", "y")),
        ("a hard link to nothing", Tar::new().hard("x", "later").file("later", b"x")),
        ("a hard link to the root", Tar::new().hard("x", "/")),
        ("a hard link to a directory", Tar::new().dir("d").hard("x", "d")),
        ("a file below a file", Tar::new().file("f", b"x").file("f/x", b"x")),
        ("a whiteout below a file", Tar::new().file("f", b"x").file("f/.wh.x", b"")),
        ("an opaque mark below a file", Tar::new().file("f", b"x").file("f/.wh..wh..opq", b"")),
        ("megabytes of extension headers for one entry", bomb.file("x", b"x")),
        ("a pax size beyond the end", Tar::new().pax([("size", b"9223372036854775807".as_slice())]).file("x", b"x")),
        ("a negative pax size", Tar::new().pax([("size", b"-1".as_slice())]).file("x", b"x")),
        (
            "a pax record that is longer than its header",
            Tar::new().raw(tar::EntryType::XHeader, "p", "", b"99 path=x\n"),
        ),
        ("a pax record without a length", Tar::new().raw(tar::EntryType::XHeader, "p", "", b"path=x\n")),
        (
            "a sparse file longer than any",
            sparse(&[("GNU.sparse.map", b"0,1"), ("GNU.sparse.size", b"9223372036854775808")]).file("x", b"x"),
        ),
        (
            "a sparse file whose fragments overlap",
            sparse(&[("GNU.sparse.map", b"0,4,2,4"), ("GNU.sparse.size", b"100")]).file("x", b"12345678"),
        ),
        (
            "a sparse map that goes on for ever",
            sparse(&[("GNU.sparse.major", b"1"), ("GNU.sparse.realsize", b"9")]).file("x", &[b'1'; 2048]),
        ),
        (
            "a link into the host's files, written through",
            Tar::new().link("p", "/proc/self/root/tmp").file("p/../x/..", b"x"),
        ),
    ];
    for (what, tar) in refused {
        let dir = tempfile::tempdir().expect("directory");
        assert!(into(dir.path(), &tar.done()).is_err(), "{what}");
    }
    let harmless: Vec<(&str, Tar)> = vec![
        ("a link to itself", Tar::new().link("l", "l").link("l", "l")),
        ("a hard link to itself", Tar::new().file("f", b"x").hard("f", "f")),
        ("a hard link to a link", Tar::new().link("l", "/etc/passwd").hard("h", "l")),
        ("many ways to one directory", nested.file("d/l1/l2/l3/x", b"x")),
        ("a device in place of a file", Tar::new().file("f", b"x").raw(tar::EntryType::Block, "f", "", b"")),
        ("times beyond all", Tar::new().pax([("mtime", b"-9223372036854775807.5".as_slice())]).file("f", b"x")),
        (
            "what is said of all entries",
            Tar::new().raw(tar::EntryType::XGlobalHeader, "g", "", b"19 path=../../evil\n").file("f", b"x"),
        ),
        ("an attribute that is none", Tar::new().pax([("SCHILY.xattr.user.a\0b", b"v".as_slice())]).file("f", b"x")),
        ("overlayfs's marks by hand", Tar::new().raw(tar::EntryType::Char, "gone", "", b"").dir("d")),
        ("only an end", Tar::new()),
    ];
    for (what, tar) in harmless {
        let dir = tempfile::tempdir().expect("directory");
        into(dir.path(), &tar.done()).unwrap_or_else(|err| panic!("{what}: {err}"));
        assert!(!dir.path().parent().expect("parent").join("evil").exists(), "{what}");
    }
}

#[test]
fn a_hundred_thousand_entries_take_no_memory_of_their_own() {
    let dir = tempfile::tempdir_in("/dev/shm").expect("directory");
    let mut tar = Tar::new();
    for at in 0..100_000 {
        // A few names again and again, so that each replaces the one before.
        tar = if at % 2 == 0 {
            tar.link(&format!("d/{}", at % 50), "x")
        } else {
            tar.file(&format!("d/{}", at % 50), b"")
        };
    }
    let done = into(dir.path(), &tar.done()).expect("unpack");
    assert_eq!((done.entries, done.size), (100_000, 0));
    assert_eq!(fs::read_dir(dir.path().join("d")).expect("list").count(), 50);
}
