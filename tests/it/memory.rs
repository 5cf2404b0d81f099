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

#[test]
fn fifty_monitors_at_rest_take_at_most_200_kib_each() {
    const COUNT: usize = 50;
    const BUDGET_KIB: u64 = 200;
    let env = Env::with_busybox();
    for _ in 0..COUNT {
        env.run_detached(&["--network", "none"], &["sleep", "100000"]);
    }
    let pids: Vec<i32> = env.role("monitor").iter().map(|seen| seen.pid).collect();
    assert_eq!(pids.len(), COUNT);
    let mean = || {
        let shares = pss(&env, &pids);
        assert_eq!(shares.len(), COUNT);
        shares.iter().sum::<u64>() / COUNT as u64
    };
    // They come to rest a moment after the last has started.
    let mut seen = 0;
    eventually("monitors at rest", || {
        seen = mean();
        seen < BUDGET_KIB
    });
    println!("Pss of a monitor: {seen} KiB on average");
}
