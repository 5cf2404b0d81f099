//! The same on a disk that is full for a while: who is killed is killed while nothing can be written. With room again,
//! what was told is so, all can be removed, and nothing is left. Of events some may be missing.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::super::full_disk::{Disk, Want};
use super::super::process::eventually;
use super::invariants::{self, Look};
use super::told::Told;
use super::workloads::{Client, WORKLOADS};
use super::{BOUND, Random, Victim, asked, victims};

/// About as long as a workload takes.
const SPAN: Duration = Duration::from_millis(300);

/// Those that need room; images come by another way, and streams need none.
const NAMES: [&str; 5] = ["run", "rm", "stop", "exec", "names"];

fn kill_one(disk: &mut Disk, victim: Victim) -> bool {
    let pids = match victim {
        Victim::Api => disk.env.role("serve").iter().map(|seen| seen.pid).collect(),
        other => other.pids(&disk.env),
    };
    let killed = pids.iter().filter(|pid| kill(Pid::from_raw(**pid), Signal::SIGKILL).is_ok()).count();
    if victim == Victim::Api {
        // Its first thread may have ended before the others, which keep the socket, as may a child that becomes a monitor.
        eventually("nobody serves", || std::os::unix::net::UnixStream::connect(disk.env.socket()).is_err());
        disk.serve();
    }
    killed > 0
}

#[track_caller]
fn round(disk: &mut Disk, random: &mut Random, label: &str, seed: u64) {
    let told = Told::default();
    let name = NAMES[random.next(NAMES.len() as u64) as usize];
    let (_, workload) = WORKLOADS.iter().find(|(known, _)| *known == name).unwrap();
    let (victims, want) = (victims(random), [Want::Blocks, Want::Inodes][random.next(2) as usize]);
    let mut delay = || Duration::from_micros(random.next(SPAN.as_micros() as u64));
    let (before, between) = (delay(), delay() / 2);
    let what = format!("seed {seed}: {label}: {name}, {want:?} after {before:?}, {victims:?} after {between:?} more");
    let client = Client::new(&disk.env, &told, label);
    let mut hit = Vec::new();
    std::thread::scope(|scope| {
        let work = scope.spawn(|| workload(&client));
        std::thread::sleep(before);
        disk.fill(want);
        std::thread::sleep(between);
        hit.extend(victims.iter().copied().filter(|victim| kill_one(disk, *victim)));
        if let Err(panic) = work.join() {
            eprintln!("{what}");
            std::panic::resume_unwind(panic);
        }
    });
    disk.make_room();
    invariants::check(Look { env: &disk.env, hit: &hit, what: &what, full: true }, &told);
    // On this disk, which the API and the shell beside it see.
    invariants::nothing_left(&disk.env, &what);
    let containers = disk.data().join("containers");
    eventually(&format!("{what}: nothing is left on the disk"), || {
        let left = disk.sh(&format!("ls -A {0} {0}/names", containers.display()));
        left.lines().all(|line| line.is_empty() || line.ends_with(':') || ["lock", "names"].contains(&line))
    });
}

#[test]
fn on_a_full_disk() {
    let (rounds, seed) = asked("disk");
    let mut random = Random(seed);
    let mut disk = Disk::new();
    let start = Instant::now();
    let mut done = 0;
    while rounds.map_or(start.elapsed() < BOUND, |rounds| done < rounds) {
        done += 1;
        round(&mut disk, &mut random, &format!("r{done}"), seed);
    }
    eprintln!("disk: {done} rounds");
}
