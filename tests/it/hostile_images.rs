//! Images that try to lead the start out of the container: nothing of theirs is followed on the host, and what can run
//! runs.

use std::fs;

use serde_json::json;

use super::fixtures::Tar;
use super::harness::Env;

/// A root file system with busybox, and what the image adds or replaces.
fn image(env: &Env, name: &str, with: impl Fn(Tar) -> Tar) {
    let busybox = fs::read("/bin/busybox").unwrap();
    let base = Tar::default().dir("bin", 0o755).file("bin/busybox", 0o755, busybox).link("bin/sh", "busybox");
    let archive = env.base().join("hostile.tar");
    fs::write(&archive, with(base).bytes()).unwrap();
    env.docker(["import", archive.to_str().unwrap(), name]).ok();
}

/// A folder of the host's that an image's links may name.
fn canary(env: &Env) -> std::path::PathBuf {
    let dir = env.base().join("canary");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("ptmx"), "host").unwrap();
    fs::write(dir.join("hosts"), "host").unwrap();
    dir
}

#[track_caller]
fn untouched(dir: &std::path::Path) {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["hosts", "ptmx"]);
    for name in names {
        assert_eq!(fs::read_to_string(dir.join(name)).unwrap(), "host");
    }
}

#[test]
fn directories_that_are_links_stay_inside() {
    let env = Env::new();
    let canary = canary(&env);
    let outside = canary.to_str().unwrap();
    let climbing = format!("{}{outside}", "../".repeat(40));
    for target in [outside, &climbing, "/tmp/elsewhere", "gone/deeper"] {
        for name in ["dev", "proc", "sys", "etc", "run"] {
            image(&env, "hostile", |tar| tar.dir("tmp", 0o777).link(name, target));
            let script =
                "/bin/busybox ls /dev/null /proc/self/status /etc/hosts /etc/resolv.conf && echo 127 > /dev/null";
            env.docker(["run", "--rm", "--network", "none", "hostile", "/bin/sh", "-c", script]).ok();
            untouched(&canary);
        }
    }
}

#[test]
fn loops_and_wrong_kinds_are_told() {
    let env = Env::new();
    for name in ["dev", "proc", "sys", "etc"] {
        image(&env, "looping", |tar| tar.link(name, name));
        let output = env.docker(["run", "--rm", "--network", "none", "looping", "/bin/sh", "-c", "true"]);
        assert!(output.code == 125 && output.err.contains("symbolic link"), "{name}: {output:?}");
        image(&env, "wrong", |tar| tar.file(name, 0o644, "a file"));
        let output = env.docker(["run", "--rm", "--network", "none", "wrong", "/bin/sh", "-c", "true"]);
        assert!(output.code == 125 && output.err.contains("not a directory"), "{name}: {output:?}");
    }
    image(&env, "wrong", |tar| tar.dir("etc", 0o755).dir("etc/hosts", 0o755));
    let output = env.docker(["run", "--rm", "--network", "none", "wrong", "/bin/sh", "-c", "true"]);
    // By this text the command line makes it a 126.
    assert!(output.code == 126 && output.err.contains("is a directory"), "{output:?}");
    assert_eq!(env.docker(["ps", "-aq"]).ok(), "");
}

#[test]
fn dangling_links_are_made_good() {
    let env = Env::new();
    image(&env, "dangling", |tar| {
        tar.dir("etc", 0o755)
            .link("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf")
            .link("etc/hosts", "/run/hosts")
            .link("work", "/var/lib/work")
            .link("data", "srv/data")
    });
    let volume = env.base().join("volume");
    fs::create_dir(&volume).unwrap();
    fs::write(volume.join("file"), "mine").unwrap();
    let bind = format!("{}:/data", volume.display());
    let script = "/bin/busybox cat /run/systemd/resolve/stub-resolv.conf /run/hosts > /dev/null && /bin/busybox cat \
                  /srv/data/file && /bin/busybox pwd";
    let output = env.docker([
        "run",
        "--rm",
        "--network",
        "none",
        "-w",
        "/work",
        "-v",
        &bind,
        "dangling",
        "/bin/sh",
        "-c",
        script,
    ]);
    assert_eq!(output.ok(), "mine/var/lib/work\n");
}

#[test]
fn a_devices_mode_is_the_hosts() {
    let env = Env::with_busybox();
    let script = "chmod 0600 /dev/null /dev/zero 2>&1; echo x > /dev/null && head -c 1 /dev/zero | wc -c";
    let text = env.docker(["run", "--rm", "busybox", "sh", "-c", script]).ok();
    assert!(text.matches("Read-only file system").count() == 2 && text.ends_with("1\n"), "{text}");
}

#[test]
fn the_hosts_devices_can_be_mounted_whole() {
    let env = Env::with_busybox();
    let output =
        env.docker(["run", "--rm", "-v", "/dev:/dev", "busybox", "sh", "-c", "echo x > /dev/null; ls -d /dev/shm"]);
    assert_eq!(output.ok(), "/dev/shm\n");
}

#[test]
fn nothing_covers_the_kernels_own_files() {
    let env = Env::with_busybox();
    image(&env, "byname", |tar| tar.link("x", "/proc/sys"));
    let volume = env.base().join("v");
    fs::create_dir(&volume).unwrap();
    for (image, target) in [("busybox", "/proc/sys/kernel"), ("busybox", "/proc/1"), ("byname", "/x/kernel")] {
        let bind = format!("{}:{target}", volume.display());
        let output = env.docker(["run", "--rm", "-v", &bind, image, "/bin/sh", "-c", "true"]);
        assert!(output.code == 125 && output.err.contains("inside /proc"), "{target}: {output:?}");
    }
    let file = env.base().join("cpuinfo");
    fs::write(&file, "none\n").unwrap();
    let bind = format!("{}:/proc/cpuinfo", file.display());
    assert_eq!(env.docker(["run", "--rm", "-v", &bind, "busybox", "cat", "/proc/cpuinfo"]).ok(), "none\n");
}

#[test]
fn no_descriptor_comes_along() {
    let env = Env::with_busybox();
    let list = ["sh", "-c", "ls /proc/self/fd | wc -l"];
    let (id, _) = env.create(json!({"Image": "busybox", "Cmd": ["sleep", "1000"]}));
    env.docker(["start", &id]).ok();
    // Three streams, and the directory that `ls` reads.
    assert_eq!(env.docker([&["exec", &id], &list[..]].concat()).ok().trim(), "4");
    assert_eq!(env.docker([&["run", "--rm", "busybox"], &list[..]].concat()).ok().trim(), "4");
}

#[test]
fn sessions_join_what_the_container_shares_with_the_host() {
    let env = Env::with_busybox();
    for (option, name) in
        [("--network=host", "net"), ("--ipc=host", "ipc"), ("--pid=host", "pid"), ("--uts=host", "uts")]
    {
        let id = env.run_detached(&[option], &["sleep", "1000"]);
        let link = format!("/proc/self/ns/{name}");
        let host = fs::read_link(&link).unwrap();
        let inside = env.docker(["exec", &id, "readlink", &link]).ok();
        if name == "net" {
            assert_eq!(inside.trim(), host.to_str().unwrap(), "{option}");
        }
        let init = env.docker(["exec", &id, "sh", "-c", "true"]);
        assert_eq!(init.code, 0, "{option}: {init:?}");
        env.docker(["rm", "-f", &id]).ok();
    }
}
