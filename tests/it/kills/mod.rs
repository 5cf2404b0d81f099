//! Kills pierless's processes, singly and in pairs, at random instants of named workloads, and holds what is left
//! against what clients had been told.
//!
//! Each workload is attacked for some seconds. By hand, `PIERLESS_KILL_ROUNDS` runs so many rounds of each instead, and
//! `PIERLESS_KILL_SEED` repeats the choices of a run that failed: `tests/run.sh --test it -- kills::`. A room that wants
//! to be attacked adds a workload; a fact that it promises is a [`Told`] and a line in `invariants`.

mod disk;
mod invariants;
mod told;
mod transfers;
mod workloads;

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::harness::{Env, Seen};
use super::process::eventually;
use invariants::Look;
use told::Told;
use workloads::{Client, WORKLOADS};

/// How long one workload is attacked, where no number of rounds is asked for.
const BOUND: Duration = Duration::from_secs(8);

/// What may be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Api,
    Monitor,
    Starter,
    Init,
    Holder,
    WayOut,
}

const VICTIMS: [Victim; 6] =
    [Victim::Api, Victim::Monitor, Victim::Starter, Victim::Init, Victim::Holder, Victim::WayOut];

/// A small generator: a run is repeated by its seed.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

impl Victim {
    /// The processes that are it now. A starter is forked by a monitor and carries its command line for a while.
    fn pids(self, env: &Env) -> Vec<i32> {
        let monitors = || env.role("monitor");
        let is_forked = |seen: &Seen, all: &[Seen]| all.iter().any(|other| other.pid == seen.parent);
        match self {
            Victim::Api => env.server.iter().map(|server| server.pid() as i32).collect(),
            Victim::Holder => env.role("holder").iter().map(|seen| seen.pid).collect(),
            Victim::Monitor | Victim::Starter => {
                let all = monitors();
                let wanted = all.iter().filter(|seen| is_forked(seen, &all) == (self == Victim::Starter));
                wanted.map(|seen| seen.pid).collect()
            }
            Victim::Init => env.container_pids(),
            Victim::WayOut => env.way_out().into_iter().collect(),
        }
    }

    fn kill(self, env: &mut Env) -> usize {
        if self == Victim::Api {
            env.kill_server();
            // A child of it that becomes a monitor may keep the socket for a moment.
            eventually("nobody serves", || std::os::unix::net::UnixStream::connect(env.socket()).is_err());
            return 1;
        }
        let pids = self.pids(env);
        pids.iter().filter(|pid| kill(Pid::from_raw(**pid), Signal::SIGKILL).is_ok()).count()
    }
}

/// One or two of them.
fn victims(random: &mut Random) -> Vec<Victim> {
    let mut any = || VICTIMS[random.next(VICTIMS.len() as u64) as usize];
    let (first, second) = (any(), any());
    if random.next(2) == 0 || first == second { vec![first] } else { vec![first, second] }
}

/// How many rounds are asked for, if so many are, and the seed.
fn asked(name: &str) -> (Option<u64>, u64) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = number("PIERLESS_KILL_SEED").unwrap_or(u64::from(clock.subsec_nanos())).max(1);
    eprintln!("{name}: PIERLESS_KILL_SEED={seed}");
    (number("PIERLESS_KILL_ROUNDS"), seed)
}

/// Attacks one workload until the bound; every round's end is checked, and everything can be removed.
fn attack(name: &str) {
    let (_, workload) = WORKLOADS.iter().find(|(known, _)| *known == name).unwrap();
    let (rounds, seed) = asked(name);
    let mut random = Random(seed);
    let mut env = Env::with_busybox();
    let undisturbed = {
        let told = Told::default();
        let start = Instant::now();
        workload(&Client::new(&env, &told, "first"));
        let took = start.elapsed();
        let what = format!("{name}, not attacked");
        invariants::check(Look { env: &env, hit: &[], what: &what, full: false }, &told);
        invariants::nothing_left(&env, &what);
        took
    };
    let start = Instant::now();
    let mut round = 0;
    while rounds.map_or(start.elapsed() < BOUND, |rounds| round < rounds) {
        round += 1;
        let told = Told::default();
        let victims = victims(&mut random);
        let span = u64::try_from(undisturbed.as_micros()).unwrap() * 6 / 5;
        let delay = Duration::from_micros(random.next(span.max(1)));
        let client = Client::new(&env, &told, &format!("r{round}"));
        let mut hit = Vec::new();
        std::thread::scope(|scope| {
            let work = scope.spawn(|| workload(&client));
            std::thread::sleep(delay);
            for victim in &victims {
                if victim.kill(&mut env) > 0 {
                    hit.push(*victim);
                }
            }
            if hit.contains(&Victim::Api) {
                env.serve();
            }
            if let Err(panic) = work.join() {
                eprintln!("seed {seed}: {name}, round {round}: {victims:?} killed after {delay:?}");
                std::panic::resume_unwind(panic);
            }
        });
        let what = format!("seed {seed}: {name}, round {round}: {hit:?} of {victims:?} killed after {delay:?}");
        invariants::check(Look { env: &env, hit: &hit, what: &what, full: false }, &told);
        invariants::nothing_left(&env, &what);
    }
    eprintln!("{name}: {round} rounds");
}

#[test]
fn runs() {
    attack("run");
}

#[test]
fn detached_runs_that_remove_themselves() {
    attack("rm");
}

#[test]
fn stops_and_starts() {
    attack("stop");
}

#[test]
fn execs() {
    attack("exec");
}

#[test]
fn names() {
    attack("names");
}

#[test]
fn streams() {
    attack("attach");
}

#[test]
fn networks() {
    attack("networks");
}

#[test]
fn images() {
    attack("image");
}
