//! What HostConfig and the rest of a create body do inside, and what is warned about.

use std::os::unix::fs::MetadataExt;

use serde_json::json;

use super::harness::{Env, sh};
use super::process::eventually;

#[test]
fn only_devices_are_devices() {
    let env = Env::with_busybox();
    let run = |device: &str, script: &str| {
        env.docker(["run", "--rm", "--network", "none", "--device", device, "busybox", "sh", "-c", script])
    };
    assert_eq!(run("/dev/zero:/dev/nought", "head -c 1 /dev/nought | od -An -tx1").ok().trim(), "00");
    // All in a directory; and a link to one.
    let dir = env.home().join("devices");
    std::fs::create_dir_all(dir.join("below")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", dir.join("below/link")).unwrap();
    std::fs::write(dir.join("file"), "").unwrap();
    let (dir, link, file) = (
        dir.display().to_string(),
        dir.join("below/link").display().to_string(),
        dir.join("file").display().to_string(),
    );
    assert_eq!(run(&format!("{link}:/dev/nought"), "head -c 1 /dev/nought | od -An -tx1").ok().trim(), "00");
    assert_eq!(run("/dev/pts:/dev/other", "test -c /dev/other/ptmx && echo there").ok(), "there\n");
    for nothing in [&dir, &file] {
        let refused = run(&format!("{nothing}:/dev/x"), "true").fails(125);
        let wanted =
            format!("error gathering device information while adding custom device \"{nothing}\": not a device node");
        assert!(refused.contains(&wanted), "{refused}");
    }
    let missing = run("/dev/no-such-device", "true");
    assert!(missing.err.contains("custom device \"/dev/no-such-device\": no such file or directory"), "{missing:?}");
    assert_eq!(env.docker(["ps", "-aq"]).ok(), "");
}

#[test]
fn init_reaps_and_passes_signals() {
    let env = Env::with_busybox();
    env.run_detached(
        &["--name", "c1", "--init"],
        &["sh", "-c", "trap 'exit 14' TERM; echo ready; while :; do sleep 0.1; done"],
    );
    eventually("ready", || env.docker(["logs", "c1"]).out == "ready\n");
    assert_eq!(
        env.docker([
            "exec",
            "c1",
            "sh",
            "-c",
            "tr '\\0' ' ' </proc/1/cmdline | grep -c 'trap'; [ $(ls -d /proc/[0-9]* | wc -l) -ge 3 ]; echo $?"
        ])
        .ok()
        .lines()
        .last(),
        Some("0")
    );
    let first = env.docker(["exec", "c1", "cat", "/proc/1/comm"]).ok();
    assert_ne!(first.trim(), "sh");
    env.docker(["exec", "c1", "sh", "-c", "(sleep 0.1 &) ; exit 0"]).ok();
    eventually("no zombie is left", || !env.docker(["exec", "c1", "ps", "-o", "stat"]).out.contains('Z'));
    env.docker(["stop", "c1"]).ok();
    assert_eq!(env.inspect("c1", "{{.State.ExitCode}}"), "14");
}

#[test]
fn a_read_only_root() {
    let env = Env::with_busybox();
    let text = sh(
        &env,
        &["--read-only", "--tmpfs", "/tmp:size=1m,mode=1770"],
        "touch /x 2>&1; echo hi >/tmp/x && cat /tmp/x; grep ' /tmp ' /proc/mounts; stat -c %a /tmp",
    );
    assert!(text.contains("Read-only file system") && text.contains("hi\n"), "{text}");
    assert!(text.contains("size=1024k") && text.contains("1770") && text.contains("nosuid"), "{text}");
}

#[test]
fn binds_of_both_kinds() {
    let env = Env::with_busybox();
    let dir = env.base().join("shared");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("in"), "from the host\n").unwrap();
    let dir = dir.to_str().unwrap();
    assert_eq!(sh(&env, &["-v", &format!("{dir}:/s")], "cat /s/in; echo back >/s/out"), "from the host\n");
    let out = std::path::Path::new(dir).join("out");
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "back\n");
    assert_eq!(
        std::fs::metadata(&out).unwrap().uid(),
        nix::unistd::getuid().as_raw(),
        "the container's root is the user"
    );
    assert!(sh(&env, &["-v", &format!("{dir}:/s:ro")], "echo x 2>&1 >/s/no || true").contains("Read-only file system"));
    assert_eq!(sh(&env, &["--mount", &format!("type=bind,source={dir},target=/s")], "cat /s/in"), "from the host\n");
    assert_eq!(
        sh(&env, &["--mount", &format!("type=bind,source={dir}/in,target=/one,readonly")], "cat /one"),
        "from the host\n"
    );
    // A missing source of a bind is made; that of a mount is an error.
    let fresh = env.base().join("fresh/dir");
    sh(&env, &["-v", &format!("{}:/s", fresh.display())], "touch /s/x");
    assert!(fresh.join("x").exists());
    let message = env
        .docker(["run", "--rm", "--mount", "type=bind,source=/no/such/place,target=/s", "busybox", "true"])
        .fails(125);
    assert!(message.contains("bind source path does not exist: /no/such/place"), "{message}");
    let message = env.docker(["run", "--rm", "-v", "/tmp:relative", "busybox", "true"]).fails(125);
    assert!(message.contains("relative") || message.contains("absolute"), "{message}");
    assert_eq!(sh(&env, &["--tmpfs", "/run"], "grep -c ' /run tmpfs ' /proc/mounts"), "1\n");
}

#[test]
fn the_engines_own_socket_inside() {
    let env = Env::with_busybox();
    let text = sh(
        &env,
        &["-v", "/var/run/docker.sock:/var/run/docker.sock"],
        "test -S /var/run/docker.sock && printf 'GET /_ping HTTP/1.0\\r\\n\\r\\n' | nc local:/var/run/docker.sock 2>/dev/null; ls -l /var/run/docker.sock",
    );
    assert!(text.contains("srw"), "{text}");
}

#[test]
fn limits_and_sysctls() {
    let env = Env::with_busybox();
    assert_eq!(sh(&env, &["--ulimit", "nofile=123:456"], "ulimit -Sn; ulimit -Hn"), "123\n456\n");
    assert_eq!(
        sh(
            &env,
            &["--sysctl", "net.ipv4.ip_unprivileged_port_start=1234"],
            "cat /proc/sys/net/ipv4/ip_unprivileged_port_start"
        ),
        "1234\n"
    );
    assert_eq!(sh(&env, &["--sysctl", "kernel.msgmax=4242"], "cat /proc/sys/kernel/msgmax"), "4242\n");
    assert!(sh(&env, &["--shm-size", "3m"], "grep ' /dev/shm ' /proc/mounts").contains("size=3072k"));
    assert!(sh(&env, &[], "grep ' /dev/shm ' /proc/mounts").contains("size=65536k"));
    let floor: i32 = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim().parse().unwrap();
    assert_eq!(sh(&env, &["--oom-score-adj", "777"], "cat /proc/1/oom_score_adj"), format!("{}\n", 777.max(floor)));
    let message = env.docker(["run", "--rm", "--sysctl", "kernel.hostname=x", "busybox", "true"]);
    assert_ne!(message.code, 0);
}

#[test]
fn hosts_and_resolver() {
    let env = Env::with_busybox();
    let text = sh(
        &env,
        &[
            "--add-host",
            "db:10.1.2.3",
            "--dns",
            "192.0.2.53",
            "--dns-search",
            "corp.example",
            "--dns-option",
            "ndots:3",
            "-h",
            "box",
            "--domainname",
            "lab.example",
        ],
        "cat /etc/hosts /etc/resolv.conf /etc/hostname; hostname",
    );
    for line in ["10.1.2.3\tdb", "nameserver 192.0.2.53", "search corp.example", "127.0.0.1\tlocalhost", "\nbox\n"] {
        assert!(text.contains(line), "no {line:?} in {text}");
    }
    assert!(text.contains("options ndots:3"), "{text}");
    // Each container has its own, and may write it.
    let id = env.run_detached(&["--name", "c1"], &["sleep", "1000"]);
    env.docker(["exec", "c1", "sh", "-c", "echo '1.2.3.4 added' >>/etc/hosts && grep -q added /etc/hosts"]).ok();
    assert_eq!(env.docker(["exec", "c1", "hostname"]).ok(), format!("{}\n", &id[..12]));
}

#[test]
fn groups_and_capabilities() {
    let env = Env::with_busybox();
    let groups = sh(&env, &["--group-add", "web", "--group-add", "777"], "id -G");
    for wanted in ["0", "10", "777", "2000"] {
        assert!(groups.split_whitespace().any(|group| group == wanted), "{groups}");
    }
    let effective = |options: &[&str]| {
        sh(&env, options, "grep CapEff /proc/self/status").trim().rsplit('\t').next().unwrap().to_owned()
    };
    assert_eq!(effective(&[]), "00000000a80425fb");
    assert_eq!(effective(&["--cap-drop", "ALL"]), "0000000000000000");
    assert_eq!(effective(&["--cap-drop", "ALL", "--cap-add", "CHOWN"]), "0000000000000001");
    assert_eq!(effective(&["--cap-add", "SYS_ADMIN"]), "00000000a82425fb");
    assert_eq!(effective(&["-u", "alice"]), "0000000000000000");
    let message = env.docker(["run", "--rm", "--cap-add", "NONSENSE", "busybox", "true"]).fails(125);
    assert!(message.contains("NONSENSE"), "{message}");
}

#[test]
fn networks_that_need_no_network() {
    let env = Env::with_busybox();
    assert_eq!(sh(&env, &["--network", "none"], "ls /sys/class/net"), "lo\n");
    assert!(sh(&env, &["--network", "none"], "ip addr show lo").contains("127.0.0.1/8"));
    let host: Vec<String> = {
        let mut names: Vec<String> = std::fs::read_dir("/sys/class/net")
            .unwrap()
            .flatten()
            .map(|e| e.file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let inside = sh(&env, &["--network", "host"], "cut -d: -f1 /proc/net/dev | tail -n +3 | tr -d ' ' | sort");
    assert_eq!(inside.lines().collect::<Vec<_>>(), host);
    env.run_detached(&["--name", "web", "--network", "none"], &["httpd", "-f", "-p", "80", "-h", "/www"]);
    let fetched = || {
        env.docker([
            "run",
            "--rm",
            "--network",
            "container:web",
            "busybox",
            "wget",
            "-q",
            "-O",
            "-",
            "http://127.0.0.1/",
        ])
    };
    eventually("the neighbour answers", || fetched().out == "hello from busybox\n");
    // By hand: the command line takes every "No such …" for a missing image.
    let body = json!({"Image": "busybox", "HostConfig": {"NetworkMode": "container:nobody"}});
    let reply = env.post("/v1.51/containers/create", &body);
    assert!([400, 404].contains(&reply.status), "{}", reply.text());
    assert!(reply.message().contains("nobody"), "{}", reply.text());
}

#[test]
fn devices() {
    let env = Env::with_busybox();
    assert_eq!(
        sh(
            &env,
            &[],
            "for d in null zero full random urandom tty; do test -c /dev/$d || echo no $d; done; echo x >/dev/null; head -c 3 /dev/zero | wc -c"
        ),
        "3\n"
    );
    assert!(sh(&env, &["--device", "/dev/fuse"], "test -c /dev/fuse && echo there").contains("there"));
    let message = env.docker(["run", "--rm", "--device", "/dev/no-such", "busybox", "true"]);
    assert_ne!(message.code, 0);
    assert_eq!(sh(&env, &[], "ls -l /dev/stdin /dev/fd /dev/ptmx | wc -l"), "3\n");
}

#[test]
fn what_is_not_implemented_is_said() {
    let env = Env::with_busybox();
    let (_, warnings) = env.create(json!({"Image": "busybox", "HostConfig": {"NetworkMode": "none"}}));
    assert_eq!(warnings, [""; 0]);
    let (_, warnings) = env.create(json!({
        "Image": "busybox", "Healthcheck": {"Test": ["CMD", "true"]},
        "HostConfig": {"NetworkMode": "none", "CpusetCpus": "0",
            "RestartPolicy": {"Name": "always"}},
    }));
    for field in ["Healthcheck", "CpusetCpus", "RestartPolicy"] {
        assert!(warnings.iter().any(|warning| warning.contains(field)), "{field}: {warnings:?}");
    }
    let (_, warnings) =
        env.create(json!({"Image": "busybox", "NoSuchField": 1, "HostConfig": {"NetworkMode": "none"}}));
    assert!(warnings.iter().all(|warning| warning.contains("NoSuchField")), "{warnings:?}");
}
