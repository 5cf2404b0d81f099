//! `docker compose pull`, by compose 2.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use super::fixtures;
use super::harness::Env;
use super::process::{Output, run};
use super::registries::{self, Faults, Options, Proxy, Registry};

/// Compose with a project of these services and their images.
fn compose(env: &Env, services: &[(&str, &str)], arguments: &[&str]) -> Output {
    let plugins = env.home().join(".docker/cli-plugins");
    if !plugins.exists() {
        symlink(fixtures::folder().join("cli-plugins"), &plugins).unwrap();
    }
    let text: String = services
        .iter()
        .map(|(name, image)| format!("  {name}:\n    image: {image}\n    network_mode: none\n"))
        .collect();
    let file = env.home().join("compose.yaml");
    fs::write(&file, format!("name: project\nservices:\n{text}")).unwrap();
    let mut command = env.docker_command(["compose", "-f", file.to_str().unwrap(), "--progress", "plain"]);
    run(command.args(arguments))
}

#[test]
fn images_of_a_project_are_pulled() {
    let registry = Registry::start(Options::default());
    // Not `latest`: compose takes that for missing whatever is there.
    for name in ["one:1", "two:1"] {
        registry.push(fixtures::busybox(), name, &[]);
    }
    let proxy = Proxy::before(&registry);
    let env = Env::new();
    let (one, two) = (proxy.name("one:1"), proxy.name("two:1"));
    let services = [("a", one.as_str()), ("b", &two), ("c", &one)];
    // Slow enough to tell of: it reads the numbers of our stream.
    proxy.set(Faults { slow: Some((200_000, Duration::from_millis(50))), ..Faults::default() });
    let told = compose(&env, &services, &["pull"]);
    assert_eq!(told.code, 0, "{told:?}");
    for (text, why) in [("Pulled", "the end"), ("Download complete", "layers"), ("Downloading", "their progress")] {
        assert!(told.err.contains(text), "{why}: {told:?}");
    }
    for name in [&one, &two] {
        env.inspect(name, "{{.Id}}");
    }
    assert_eq!(proxy.seen("one/manifests").iter().filter(|line| line.starts_with("GET")).count(), 1, "once an image");
    // What is there is not asked for.
    proxy.set(Faults::default());
    let told = compose(&env, &services, &["pull", "--policy", "missing"]);
    assert!(told.code == 0 && told.err.contains("Skipped"), "{told:?}");
    assert_eq!(proxy.seen(""), Vec::<String>::new());
    env.docker(["rmi", &two]).ok();
    compose(&env, &services, &["pull", "--policy", "missing"]).ok();
    assert!(proxy.seen("/one/").is_empty() && !proxy.seen("/two/").is_empty(), "{:?}", proxy.seen(""));
}

#[test]
fn what_cannot_be_pulled_fails_the_project_or_is_passed_over() {
    let registry = registries::with_busybox();
    let env = Env::new();
    let (good, bad) = (registry.name("busybox:latest"), registry.name("nothing:1"));
    let services = [("a", good.as_str()), ("b", &bad)];
    let told = compose(&env, &services, &["pull"]);
    assert!(told.code != 0 && told.err.contains("not found"), "{told:?}");
    let _ = env.docker(["rmi", &good]);
    let told = compose(&env, &services, &["pull", "--ignore-pull-failures"]);
    assert!(told.code == 0 && told.err.contains("not found"), "{told:?}");
    env.inspect(&good, "{{.Id}}");
    assert_eq!(compose(&env, &services, &["pull", "-q", "a"]).ok(), "");
}
