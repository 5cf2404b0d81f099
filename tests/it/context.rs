//! What a container is started with does not depend on who launched it, and nothing of it outlives it.

use std::fs;

use super::fixtures;
use super::harness::Env;
use super::process::run;

/// What a launcher could have passed on by accident.
const ASK: &str = "umask; grep -E 'SigIgn|SigBlk' /proc/self/status; ulimit -Sn; cat /proc/self/oom_score_adj; \
                   cut -d' ' -f19 /proc/self/stat";

#[test]
fn the_same_whoever_launches_it() {
    let env = Env::with_busybox();
    let by_api = env.docker(["run", "--rm", "--network", "none", "busybox", "sh", "-c", ASK]).ok();
    let odd = format!(
        "umask 077; trap '' HUP INT QUIT USR1 PIPE TSTP; ulimit -Sn 300; \
         exec {} run --rm --network none busybox sh -c \"{ASK}\"",
        env.program().display()
    );
    let by_hand = run(env.command("sh").args(["-c", &odd])).ok();
    assert_eq!(by_hand, by_api);
    let lines: Vec<&str> = by_api.lines().collect();
    assert_eq!(lines[0], "0022", "{by_api}");
    assert!(lines[1..3].iter().all(|line| line.ends_with("\t0000000000000000")), "{by_api}");
    assert_eq!(lines[3..], ["1024", "200", "0"], "{by_api}");
}

/// Whether a process with this word among its arguments runs.
fn runs(word: &str) -> bool {
    let lines =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.into_iter().any(|line| line.split(|byte| *byte == 0).any(|argument| argument == word.as_bytes()))
}

#[test]
fn processes_in_a_shared_pid_namespace_end_with_their_container() {
    let env = Env::with_busybox();
    let word = format!("{}{}", std::process::id(), "000");
    let script = format!("sleep {word} & setsid sleep {word} & exit 3");
    env.docker(["run", "--rm", "--pid=host", "busybox", "sh", "-c", &script]).fails(3);
    assert!(!runs(&word));
    let other = env.run_detached(&[], &["sleep", "1000"]);
    let pid = format!("--pid=container:{other}");
    env.docker(["run", "--rm", &pid, "busybox", "sh", "-c", &script]).fails(3);
    assert!(!runs(&word));
    // Only its own.
    assert_eq!(env.inspect(&other, "{{.State.Running}}"), "true");
}

#[test]
fn what_another_container_shares_with_the_host_is_shared_too() {
    let env = Env::with_busybox();
    let other = env.run_detached(&["--network=host", "--ipc=host", "--pid=host"], &["sleep", "1000"]);
    let of = |kind: &str| format!("--{kind}=container:{other}");
    let (network, ipc, pid) = (of("network"), of("ipc"), of("pid"));
    let id = env.run_detached(&[&network, &ipc, &pid], &["sleep", "1000"]);
    let host = fs::read_link("/proc/self/ns/net").unwrap();
    let seen = env.docker(["exec", &id, "readlink", "/proc/self/ns/net"]).ok();
    assert_eq!(seen.trim(), host.to_str().unwrap());
}

#[test]
fn the_kernels_ciphers_are_not_for_containers() {
    let env = Env::new();
    env.docker(["import", fixtures::folder().join("debian.tar").to_str().unwrap(), "debian"]).ok();
    let ask = |family: u32| {
        let script = format!("print socket(my $s, {family}, 5, 0) ? 0 : $!+0");
        env.docker(["run", "--rm", "--network", "none", "debian", "perl", "-e", &script]).ok()
    };
    const EPERM: &str = "1";
    assert_eq!([ask(38), ask(40)], [EPERM, EPERM]);
    // Its neighbour is not refused by the filter, whatever the kernel has.
    assert_ne!(ask(39), EPERM);
}
