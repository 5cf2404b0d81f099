//! Directories nested deeper than a thread's stack, a path, or a table of descriptors: by a container, an image, an import.

use std::fs;
use std::path::Path;

use super::fixtures::{self, Tar, busybox_config, busybox_layer, docker_archive};
use super::harness::Env;
use super::process::{Process, eventually};

/// Makes 8,400 directories in each other and a file in the last.
const DIG: &str = "mkdir -p /top && cd -P /top && p=d && for i in 1 2 3 4 5 6 7 8 9; do p=$p/d; done; \
                   q=$p/$p/$p/$p/$p/$p/$p/$p/$p/$p; q=$q/$q/$q/$q/$q/$q/$q; \
                   for i in 1 2 3 4 5 6 7 8 9 10 11 12; do mkdir -p $q && cd -P $q || exit 1; done; echo hello >file";

/// A layer in which every path is longer than a path can be in a system call.
fn deep_layer() -> Vec<u8> {
    let path = "d/".repeat(8_000);
    Tar::default().dir(&path, 0o700).file(&format!("{path}file"), 0o644, "deep\n").bytes()
}

fn children(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn what_a_container_dug_is_measured_and_removed() {
    let mut env = Env::with_busybox();
    env.docker(["run", "--name", "deep", "busybox", "sh", "-c", DIG]).ok();
    let sizes = env.docker(["ps", "-as", "--format", "{{.Size}}"]).ok();
    assert!(sizes.starts_with("6B "), "{sizes}");
    env.docker(["system", "df"]).ok();
    env.docker(["rm", "deep"]).ok();
    assert_eq!(env.docker(["ps", "-aq"]).ok(), "");
    // What a removal left that was killed is the next process's to remove.
    env.docker(["run", "--name", "deep", "busybox", "sh", "-c", DIG]).ok();
    let id = env.inspect("deep", "{{.Id}}");
    env.kill_server();
    let containers = env.data().join("containers");
    fs::rename(containers.join(&id), containers.join(format!(".gone-{id}"))).unwrap();
    env.serve();
    assert_eq!(env.docker(["ps", "-aq"]).ok(), "");
    eventually("the rest is removed", || !children(&containers).iter().any(|name| name.contains(&id)));
    env.docker(["run", "--rm", "busybox", "true"]).ok();
}

#[test]
fn what_an_image_has_is_loaded_measured_and_removed() {
    let mut env = Env::new();
    let load = |env: &Env, archive: &[u8]| {
        let mut docker = Process::start(&mut env.docker_command(["load", "-q"]));
        docker.send(archive);
        docker.finish().ok();
    };
    let archive = docker_archive(&["deep:1"], busybox_config(), &[busybox_layer(), deep_layer()]);
    load(&env, &archive);
    let script =
        "cd /; i=0; while [ $i -lt 8 ]; do cd -P $(printf 'd/%.0s' $(seq 1000)) || exit 1; i=$((i+1)); done; cat file";
    assert_eq!(env.docker(["run", "--rm", "deep:1", "sh", "-c", script]).ok(), "deep\n");
    env.docker(["system", "df"]).ok();
    env.docker(["rmi", "deep:1"]).ok();
    let images = env.data().join("images");
    eventually("its files are removed", || children(&images.join("tmp")).iter().all(|name| name == "lock"));
    assert!(children(&images.join("layers")).is_empty());
    // What a killed load left is in nobody's way.
    load(&env, &archive);
    env.kill_server();
    fs::rename(images.join("layers"), images.join("tmp/dead")).unwrap();
    env.serve();
    env.docker(["images"]).ok();
    eventually("leftovers are removed", || !images.join("tmp/dead").exists());
    env.docker(["load", "-q", "-i", fixtures::busybox().to_str().unwrap()]).ok();
}

#[test]
fn what_an_import_has_is_kept() {
    let env = Env::new();
    let mut docker = Process::start(&mut env.docker_command(["import", "-", "deep:2"]));
    docker.send(&deep_layer());
    docker.finish().ok();
    env.docker(["rmi", "deep:2"]).ok();
    let tmp = env.data().join("images/tmp");
    eventually("its files are removed", || children(&tmp).iter().all(|name| name == "lock"));
}
