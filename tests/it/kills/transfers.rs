//! Pulls and pushes whose API is killed: the store is sound, a second try finishes everything, and of what is removed
//! then nothing is left.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::super::fixtures;
use super::super::harness::Env;
use super::super::process::eventually;
use super::super::raw;
use super::super::registries::{Options, Registry};
use super::{BOUND, Random, asked};

/// One request to an API that may be killed.
fn ask(socket: &Path, path: &str) -> Option<raw::Reply> {
    let head = format!("POST /v1.51{path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    raw::exchange_if_alive(socket, head.as_bytes())
}

/// Pulls an image, gives it another name in the registry, and pushes that: in a repository of its own, or in one that has
/// it already.
fn transfer(socket: &Path, name: &str, copy: &str) -> Option<()> {
    ask(socket, &format!("/images/create?fromImage={name}&tag=1"))?;
    ask(socket, &format!("/images/{name}:1/tag?repo={copy}&tag=1"))?;
    ask(socket, &format!("/images/{copy}/push?tag=1"))?;
    Some(())
}

fn entries(env: &Env, dir: &str) -> Vec<String> {
    let all = fs::read_dir(env.data().join("images").join(dir)).into_iter().flatten().flatten();
    all.map(|entry| entry.file_name().into_string().unwrap()).filter(|name| name != "lock").collect()
}

#[test]
fn pulls_and_pushes() {
    let registry = Registry::start(Options::default());
    let layers = [fixtures::busybox_layer(), fixtures::noise(300_000)];
    let archive = fixtures::docker_archive(&["more:1"], fixtures::busybox_config(), &layers);
    let path = tempfile::NamedTempFile::new().unwrap();
    fs::write(path.path(), archive).unwrap();
    let digest = registry.push(path.path(), "more:1", &[]);
    let name = registry.name("more");
    let (rounds, seed) = asked("transfers");
    let mut random = Random(seed);
    let mut env = Env::new();
    let socket = env.socket();
    let undisturbed = {
        let start = Instant::now();
        assert!(transfer(&socket, &name, &registry.name("first")).is_some());
        let took = start.elapsed();
        env.docker(["rmi", "-f", &env.inspect(&format!("{name}:1"), "{{.Id}}")]).ok();
        took
    };
    let start = Instant::now();
    let mut round = 0;
    while rounds.map_or(start.elapsed() < BOUND, |rounds| round < rounds) {
        round += 1;
        let delay = Duration::from_micros(random.next(u64::try_from(undisturbed.as_micros()).unwrap() * 6 / 5));
        let copy = format!("copy{}", random.next(u64::MAX) % 1000);
        let to = registry.name(&copy);
        std::thread::scope(|scope| {
            let work = scope.spawn(|| transfer(&socket, &name, &to));
            std::thread::sleep(delay);
            env.kill_server();
            let _ = work.join();
        });
        env.serve();
        let what = format!("seed {seed}: round {round}: killed after {delay:?}");
        let checked = env.pierless(["check", "--store"]);
        assert_eq!(checked.code, 0, "{what}: {checked:?}");
        assert!(transfer(&socket, &name, &to).is_some(), "{what}");
        assert_eq!(registry.digest(&format!("{copy}:1")), digest, "{what}");
        assert_eq!(
            env.docker(["run", "--rm", "--network=none", &format!("{to}:1"), "wc", "-c", "/noise"]).ok(),
            "300000 /noise\n"
        );
        let checked = env.pierless(["check", "--store"]);
        assert_eq!((checked.code, checked.out.lines().count()), (0, 1), "{what}: {checked:?}");
        env.docker(["rmi", &format!("{name}:1"), &format!("{to}:1")]).ok();
        for dir in ["layers", "blobs/sha256", "refs", "meta", "partial"] {
            eventually(&format!("{what}: {dir} is empty"), || entries(&env, dir).is_empty());
        }
        eventually(&format!("{what}: nothing is half made"), || entries(&env, "tmp").is_empty());
    }
    eprintln!("transfers: {round} rounds");
}
