//! Images made by the tests: a small one around busybox-static, and a real Debian.
//!
//! `$PIERLESS_FIXTURES` (else `target/fixtures`), which tests/prepare.sh fills:
//! `debian.tar` a root file system as mmdebstrap makes it; `bin/` programs that the machine lacks; `py/` docker-py.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

/// The folder that tests/prepare.sh filled.
pub fn folder() -> PathBuf {
    std::env::var_os("PIERLESS_FIXTURES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fixtures"), PathBuf::from)
}

/// Where this process keeps the archives that it makes: made once, shared by all tests.
fn made() -> &'static Path {
    static MADE: OnceLock<tempfile::TempDir> = OnceLock::new();
    MADE.get_or_init(|| tempfile::Builder::new().prefix("fx").tempdir().unwrap()).path()
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(1_700_000_000);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// A tar archive under construction.
#[derive(Default)]
pub struct Tar(Vec<(Header, PathBuf, Option<PathBuf>, Vec<u8>)>);

impl Tar {
    pub fn dir(mut self, path: &str, mode: u32) -> Tar {
        self.0.push((header(EntryType::Directory, mode, 0), path.into(), None, vec![]));
        self
    }

    pub fn file(mut self, path: &str, mode: u32, text: impl AsRef<[u8]>) -> Tar {
        let text = text.as_ref().to_vec();
        self.0.push((header(EntryType::Regular, mode, text.len() as u64), path.into(), None, text));
        self
    }

    pub fn link(mut self, path: &str, target: &str) -> Tar {
        self.0.push((header(EntryType::Symlink, 0o777, 0), path.into(), Some(target.into()), vec![]));
        self
    }

    pub fn hard_link(mut self, path: &str, target: &str) -> Tar {
        self.0.push((header(EntryType::Link, 0o755, 0), path.into(), Some(target.into()), vec![]));
        self
    }

    /// As [`Tar::file`], with a name that the tar crate would refuse to write.
    pub fn rogue_file(mut self, path: &str, text: &str) -> Tar {
        let mut header = header(EntryType::Regular, 0o644, text.len() as u64);
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        self.0.push((header, PathBuf::new(), None, text.as_bytes().to_vec()));
        self
    }

    pub fn bytes(self) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (mut header, path, target, text) in self.0 {
            match target {
                _ if path.as_os_str().is_empty() => {
                    header.set_cksum();
                    builder.append(&header, &text[..]).unwrap();
                }
                Some(target) => builder.append_link(&mut header, &path, target).unwrap(),
                None => builder.append_data(&mut header, &path, &text[..]).unwrap(),
            }
        }
        builder.into_inner().unwrap()
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A layer with a file of so many bytes that no program packs.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    let bytes: Vec<u8> = (0..length).map(|_| byte()).collect();
    Tar::default().file("noise", 0o644, bytes).bytes()
}

/// A docker-archive, as `docker save` writes it, of one image with these layers. `config` is the image's `config`.
pub fn docker_archive(tags: &[&str], config: serde_json::Value, layers: &[Vec<u8>]) -> Vec<u8> {
    docker_archive_of(tags, config, layers, |layer| layer.to_vec())
}

/// The same, with layers that are packed so.
pub fn docker_archive_of(
    tags: &[&str],
    config: serde_json::Value,
    layers: &[Vec<u8>],
    pack: impl Fn(&[u8]) -> Vec<u8>,
) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", sha256(layer))).collect();
    let history: Vec<_> = (0..layers.len())
        .map(|number| json!({"created": "2026-01-02T03:04:05Z", "created_by": format!("layer {number}")}))
        .collect();
    let config = json!({
        "architecture": "amd64", "os": "linux", "created": "2026-01-02T03:04:05Z", "config": config,
        "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": history,
    })
    .to_string();
    let config_name = format!("{}.json", sha256(config.as_bytes()));
    let names: Vec<String> = layers.iter().map(|layer| format!("{}/layer.tar", sha256(layer))).collect();
    let manifest = json!([{"Config": config_name, "RepoTags": tags, "Layers": names}]).to_string();
    let mut tar = Tar::default().file(&config_name, 0o644, config);
    for (name, layer) in names.iter().zip(layers) {
        tar = tar.file(name, 0o644, pack(layer));
    }
    tar.file("manifest.json", 0o644, manifest).bytes()
}

/// The root file system of the small image.
pub fn busybox_layer() -> Vec<u8> {
    let program = ["/bin/busybox", "/usr/bin/busybox"]
        .iter()
        .find_map(|path| fs::read(path).ok())
        .expect("busybox-static is not installed: run tests/prepare.sh");
    let listed = std::process::Command::new("busybox").arg("--list").output().expect("busybox --list");
    let mut tar = Tar::default();
    for (dir, mode) in [
        ("bin", 0o755),
        ("dev", 0o755),
        ("etc", 0o755),
        ("home", 0o755),
        ("home/alice", 0o755),
        ("proc", 0o755),
        ("root", 0o700),
        ("sys", 0o755),
        ("tmp", 0o1777),
        ("usr", 0o755),
        ("usr/bin", 0o755),
        ("var", 0o755),
        ("www", 0o755),
    ] {
        tar = tar.dir(dir, mode);
    }
    tar = tar
        .file("bin/busybox", 0o755, program)
        .file("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n")
        .file("etc/group", 0o644, "root:x:0:\nalice:x:1000:\nwheel:x:10:root,alice\nweb:x:2000:alice\n")
        .file("www/index.html", 0o644, "hello from busybox\n")
        .file("etc/data", 0o644, "from the image\n");
    for applet in String::from_utf8(listed.stdout).unwrap().lines().filter(|applet| *applet != "busybox") {
        tar = tar.hard_link(&format!("bin/{applet}"), "bin/busybox");
    }
    tar.bytes()
}

/// The small image's configuration.
pub fn busybox_config() -> serde_json::Value {
    json!({"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["sh"]})
}

/// The archive of `busybox:latest`.
pub fn busybox() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let path = made().join("busybox.tar");
        fs::write(&path, docker_archive(&["busybox:latest"], busybox_config(), &[busybox_layer()])).unwrap();
        path
    })
}

/// The archive of `debian:bookworm`.
pub fn debian() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let mut layer = Vec::new();
        let source = folder().join("debian.tar");
        let mut file =
            File::open(&source).unwrap_or_else(|error| panic!("{}: {error}: run tests/prepare.sh", source.display()));
        file.read_to_end(&mut layer).unwrap();
        let config = json!({
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["bash"],
        });
        let path = made().join("debian.tar");
        File::create(&path).unwrap().write_all(&docker_archive(&["debian:bookworm"], config, &[layer])).unwrap();
        path
    })
}
