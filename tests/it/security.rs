//! What a container may not do, unless it is told that it may.

use super::harness::{Env, sh};

fn status(env: &Env, options: &[&str], field: &str) -> String {
    sh(env, options, &format!("grep ^{field}: /proc/self/status")).split_whitespace().last().unwrap().to_owned()
}

#[test]
fn seccomp_is_on_unless_refused() {
    let env = Env::with_busybox();
    assert_eq!(status(&env, &[], "Seccomp"), "2");
    assert_eq!(status(&env, &["--security-opt", "seccomp=unconfined"], "Seccomp"), "0");
    // The default profile refuses what needs a capability that is not there.
    let text = sh(&env, &[], "unshare -U true 2>&1; mount -t tmpfs none /tmp 2>&1; true");
    assert!(text.matches("not permitted").count() + text.matches("denied").count() >= 2, "{text}");
    let profile = env.base().join("profile.json");
    let text = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":1}]}"#;
    std::fs::write(&profile, text).unwrap();
    let option = format!("seccomp={}", profile.display());
    let text = sh(&env, &["--security-opt", &option], "mkdir /x 2>&1; touch /y && echo fine");
    assert!(text.contains("Operation not permitted") && text.contains("fine"), "{text}");
    env.docker(["exec", "nobody", "true"]).fails(1);
}

#[test]
fn exec_sessions_are_confined_too() {
    let env = Env::with_busybox();
    env.run_detached(&["--name", "c1"], &["sleep", "1000"]);
    let text = env.docker(["exec", "c1", "grep", "-E", "^(Seccomp|CapEff|CapBnd):", "/proc/self/status"]).ok();
    let values: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(values, ["CapEff:", "00000000a80425fb", "CapBnd:", "00000000a80425fb", "Seccomp:", "2"]);
}

#[test]
fn no_new_privileges() {
    let env = Env::with_busybox();
    assert_eq!(status(&env, &[], "NoNewPrivs"), "0");
    assert_eq!(status(&env, &["--security-opt", "no-new-privileges"], "NoNewPrivs"), "1");
    assert_eq!(status(&env, &["--security-opt", "no-new-privileges:true"], "NoNewPrivs"), "1");
    env.docker(["run", "--rm", "--security-opt", "nonsense=1", "busybox", "true"]).fails(125);
}

#[test]
fn the_hosts_proc_and_sys_are_masked() {
    let env = Env::with_busybox();
    let text = sh(
        &env,
        &[],
        "cat /proc/kcore /proc/keys /proc/timer_list 2>/dev/null | wc -c; ls /proc/scsi /sys/firmware 2>/dev/null | grep -v : | grep -c .; \
                              echo 1 2>&1 >/proc/sys/kernel/panic; echo b 2>&1 >/proc/sysrq-trigger; touch /sys/x 2>&1; true",
    );
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "0");
    assert_eq!(lines[1], "0");
    let mounts = sh(&env, &[], "cat /proc/mounts");
    // Not every kernel has each of them.
    let there = ["/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs", "/sys"].into_iter();
    for path in there.filter(|path| std::path::Path::new(path).exists()) {
        let line = mounts
            .lines()
            .find(|line| line.split(' ').nth(1) == Some(path))
            .unwrap_or_else(|| panic!("{path} is no mount:\n{mounts}"));
        assert!(line.split(' ').nth(3).unwrap().split(',').any(|option| option == "ro"), "{line}");
    }
    let open = sh(&env, &["--security-opt", "systempaths=unconfined"], "cat /proc/mounts");
    assert!(!open.lines().any(|line| line.split(' ').nth(1) == Some("/proc/sys")), "{open}");
}

#[test]
fn privileged_has_every_capability_of_the_user_namespace() {
    let env = Env::with_busybox();
    let bounding = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap();
    let all = (1u64 << (bounding.trim().parse::<u32>().unwrap() + 1)) - 1;
    assert_eq!(status(&env, &["--privileged"], "CapEff"), format!("{all:016x}"));
    assert_eq!(status(&env, &["--privileged"], "Seccomp"), "0");
    assert!(
        sh(&env, &["--privileged"], "mount -t tmpfs none /tmp && grep -c ' /tmp tmpfs ' /proc/mounts").contains('1')
    );
}

#[test]
fn ids_are_the_users_not_the_hosts() {
    let env = Env::with_busybox();
    let map = sh(&env, &[], "cat /proc/self/uid_map");
    let first: Vec<&str> = map.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(first, ["0", &nix::unistd::getuid().to_string(), "1"], "{map}");
    assert!(map.lines().count() == 2, "{map}");
    // The host's processes are not to be seen.
    assert_eq!(sh(&env, &[], "echo $$"), "1\n");
    assert_eq!(sh(&env, &["-u", "alice"], "touch /tmp/x && stat -c %u /tmp/x"), "1000\n");
}

#[test]
fn no_working_directory_outside_the_container() {
    let env = Env::with_busybox();
    env.run_detached(&["--name", "c1"], &["sleep", "1000"]);
    // Where it is refused, well; where it leads to a directory of the container's own, that is no way out.
    let inside = "test . -ef \"$(readlink /proc/self/cwd)\" && echo inside";
    for fd in 3..20 {
        let dir = format!("/proc/self/fd/{fd}");
        for output in [
            env.docker(["run", "--rm", "-w", &dir, "busybox", "sh", "-c", inside]),
            env.docker(["exec", "-w", &dir, "c1", "sh", "-c", inside]),
        ] {
            assert!(output.code != 0 || output.out == "inside\n", "{dir}: {output:?}");
        }
    }
}

#[test]
fn other_users_are_refused() {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let env = Env::new();
    let socket = std::fs::metadata(env.socket()).unwrap();
    assert!(socket.file_type().is_socket());
    assert_eq!(socket.mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(env.run_dir()).unwrap().mode() & 0o777, 0o700);
}
