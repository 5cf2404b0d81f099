//! Names are true, whatever happens to containers meanwhile. `PIERLESS_NAMES_RATE=1000 PIERLESS_NAMES_SECONDS=60` asks
//! so many questions a second for so long; without the variables it is a short look.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use super::harness::Env;
use super::names::{address, env_with, inside};
use super::oracle::Oracle;

/// One life of a container, in nanoseconds: when its start was asked for and answered, and its end.
#[derive(Debug)]
struct Life {
    name: String,
    address: String,
    start: [i64; 2],
    end: [i64; 2],
}

fn now() -> i64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap();
    time.tv_sec() * 1_000_000_000 + time.tv_nsec()
}

fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

/// Lives that a container of this name has, one after the other, until it is over.
fn come_and_go(env: &Env, name: &str, over: &AtomicBool, lives: &Mutex<Vec<Life>>) {
    for turn in 0.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let before = now();
        let id = env.run_detached(&["--name", name, "--network", "n"], &["sleep", "1000"]);
        let start = [before, now()];
        let address = address(env, name, "n");
        let before = now();
        if turn % 3 == 2 {
            let monitor = env.role("monitor").into_iter().find(|seen| seen.arguments.get(2) == Some(&id)).unwrap();
            kill(Pid::from_raw(monitor.pid), Signal::SIGKILL).unwrap();
        }
        env.docker(["rm", "-f", name]).ok();
        let end = [before, now()];
        lives.lock().unwrap().push(Life { name: name.to_owned(), address, start, end });
    }
}

#[test]
fn no_answer_is_lost_and_none_is_untrue_while_containers_come_and_go() {
    let oracle = Oracle::at("127.0.0.53");
    let env = env_with(&oracle);
    env.docker(["network", "create", "n"]).ok();
    for name in ["me", "stays"] {
        env.run_detached(&["--name", name, "--network", "n"], &["sleep", "1000"]);
    }
    let names = ["stays", "one", "two", "three"];
    let (rate, seconds) = (setting("PIERLESS_NAMES_RATE", "200"), setting("PIERLESS_NAMES_SECONDS", "6"));
    let asking = inside(&env, "me", &[&["many", rate.as_str(), seconds.as_str()], &names[..]].concat());
    let (over, lives) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let answers = std::thread::scope(|scope| {
        for name in &names[1..] {
            let (env, over, lives) = (&env, &over, &lives);
            scope.spawn(move || come_and_go(env, name, over, lives));
        }
        let answers = asking.finish_within(std::time::Duration::from_secs(seconds.parse::<u64>().unwrap() + 60));
        over.store(true, Ordering::Relaxed);
        assert!(!answers.out.contains("lost"), "{} of them:\n{}", answers.out.matches("lost").count(), answers.err);
        answers.ok()
    });
    let (lives, stays) = (lives.into_inner().unwrap(), address(&env, "stays", "n"));
    let (mut found, mut denied) = (0, 0);
    for line in answers.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, before, after, code, address] = words[..] else { panic!("lost: {line}") };
        let [before, after]: [i64; 2] = [before, after].map(|text| text.parse().unwrap());
        let of_name = || lives.iter().filter(|life| life.name == name);
        let is_true = match (name, code) {
            ("stays", _) => address == stays,
            (_, "0") => {
                of_name().any(|life| life.address == address && life.start[0] <= after && before <= life.end[1])
            }
            (_, "3") => !of_name().any(|life| life.start[1] <= before && after <= life.end[0]),
            _ => false,
        };
        assert!(is_true, "{line}: {:#?}", of_name().collect::<Vec<_>>());
        *if code == "0" { &mut found } else { &mut denied } += 1;
    }
    println!("{} lives, {found} answers, {denied} of them that there is no such name", lives.len());
    let asked: usize = rate.parse::<usize>().unwrap() * seconds.parse::<usize>().unwrap();
    assert!(found + denied == asked && found > asked / 4 && denied > 0 && lives.len() > 3);
}
