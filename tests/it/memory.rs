//! The monitor's memory budget.

use super::harness::Env;
use super::process::{Process, eventually};

/// Its share of memory in KiB, as the kernel counts it. A process that has changed its credentials shows its maps only
/// to root of its user namespace.
fn pss(env: &Env, pids: &[i32]) -> Vec<u64> {
    let files: Vec<String> = pids.iter().map(|pid| format!("/proc/{pid}/smaps_rollup")).collect();
    let output =
        Process::start(env.command(env.program()).args(["unshare", "grep", "-h", "^Pss:"]).args(&files)).finish();
    output.ok().lines().map(|line| line.split_whitespace().nth(1).unwrap().parse().unwrap()).collect()
}

/// The mean share of monitors' memory in KiB, when it has fallen below this, for they come to rest a moment after the
/// last thing that happened.
#[track_caller]
fn at_rest(env: &Env, pids: &[i32], below: u64) -> u64 {
    let mut seen = 0;
    eventually("monitors at rest", || {
        let shares = pss(env, pids);
        assert_eq!(shares.len(), pids.len());
        seen = shares.iter().sum::<u64>() / shares.len() as u64;
        seen < below
    });
    seen
}

fn monitors(env: &Env) -> Vec<i32> {
    env.role("monitor").iter().map(|seen| seen.pid).collect()
}

#[test]
fn fifty_monitors_at_rest_take_at_most_200_kib_each() {
    const COUNT: usize = 50;
    const BUDGET_KIB: u64 = 200;
    let env = Env::with_busybox();
    for _ in 0..COUNT {
        env.run_detached(&["--network", "none"], &["sleep", "100000"]);
    }
    let pids = monitors(&env);
    assert_eq!(pids.len(), COUNT);
    println!("Pss of a monitor: {} KiB on average", at_rest(&env, &pids, BUDGET_KIB));
}

#[test]
fn networks_and_names_take_at_most_60_kib_more() {
    const COUNT: usize = 20;
    const MORE_KIB: u64 = 60;
    let env = Env::with_busybox();
    env.docker(["network", "create", "n"]).ok();
    let mut pids = vec![];
    for network in ["none", "n"] {
        for _ in 0..COUNT {
            env.run_detached(&["--network", network], &["sleep", "100000"]);
        }
        let new: Vec<i32> = monitors(&env).into_iter().filter(|pid| !pids.contains(pid)).collect();
        pids.extend(new);
    }
    let (without, with) = pids.split_at(COUNT);
    for id in env.docker(["ps", "-q", "--filter", "network=n"]).ok().lines() {
        env.docker(["exec", id, "nslookup", "-type=a", id]).ok();
    }
    let before = at_rest(&env, without, u64::MAX);
    let after = at_rest(&env, with, before + MORE_KIB);
    println!("Pss of a monitor: {before} KiB, with a network and names {after} KiB");
}
