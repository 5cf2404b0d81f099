//! A second opinion: the Python client, which parses replies its own way.

use std::collections::BTreeMap;

use super::fixtures::{self, Tar};
use super::harness::Env;
use super::process;
use super::registries::{self, Registry};

#[test]
fn the_python_client_agrees() {
    let env = Env::new();
    let script = env.base().join("second_opinion.py");
    std::fs::write(&script, include_str!("second_opinion.py")).unwrap();
    let output = process::run(
        env.command("/usr/bin/python3")
            .arg(script)
            .arg(fixtures::busybox())
            .env("PYTHONPATH", fixtures::folder().join("py")),
    );
    assert_eq!((output.code, output.out.lines().last()), (0, Some("agreed")), "{}{}", output.out, output.err);
}

/// Of docker-py's own tests, those that cannot succeed, and why.
const IMAGES_LACK: &[(&str, &str)] = &[
    ("CommitTest::test_commit", "containers are not committed yet"),
    ("CommitTest::test_commit_with_changes", "containers are not committed yet"),
    ("RemoveImageTest::test_remove", "it commits a container first"),
    ("ImageCollectionTest::test_build", "images are not built yet"),
    ("ImageCollectionTest::test_build_with_error", "images are not built yet"),
    ("ImageCollectionTest::test_build_with_multiple_success", "images are not built yet"),
    ("ImageCollectionTest::test_build_with_success_build_output", "images are not built yet"),
    ("ImageCollectionTest::test_pull_with_sha", "it wants one image of Docker Hub, to the byte"),
];

/// The names that docker-py's tests pull, in a registry that stands in for Docker Hub.
fn instead_of_docker_hub(env: &Env) -> Registry {
    let registry = Registry::start(registries::Options::default());
    let hello = Tar::default().file("hello", 0o755, "x").bytes();
    let path = env.base().join("hello.tar");
    let archive = fixtures::docker_archive(&["hello-world:latest"], serde_json::json!({"Cmd": ["/hello"]}), &[hello]);
    std::fs::write(&path, archive).unwrap();
    registry.push(&path, "library/hello-world:latest", &[]);
    for name in ["library/alpine:3.10", "library/alpine:latest", "library/busybox:latest"] {
        registry.push(fixtures::busybox(), name, &[]);
    }
    let folder = env.home().join(".config/pierless");
    std::fs::create_dir_all(&folder).unwrap();
    let text = format!("[registry.\"docker.io\"]\nmirrors = [\"http://127.0.0.1:{}\"]\n", registry.port);
    std::fs::write(folder.join("config.toml"), text).unwrap();
    registry
}

/// What came of docker-py's own tests, unmodified; and what it said.
fn own_tests(env: &Env, which: &[&str]) -> (BTreeMap<String, &'static str>, String) {
    let suite = fixtures::folder().join("docker-py");
    let output = process::run(
        env.command("/usr/bin/python3")
            .args(["-m", "pytest", "-p", "no:cacheprovider", "-rA", "-q", "--tb=short"])
            .args(which)
            .current_dir(&suite)
            .env("PYTHONPATH", &suite)
            .env("PYTHONDONTWRITEBYTECODE", "1"),
    );
    let mut results = BTreeMap::new();
    for line in output.out.lines() {
        let Some((verdict, rest)) = line.split_once(' ') else { continue };
        let Some(verdict) = ["PASSED", "FAILED", "ERROR"].into_iter().find(|known| *known == verdict) else { continue };
        let name = rest.split(' ').next().unwrap().split_once("::").map_or(rest, |(_, name)| name);
        results.insert(name.to_owned(), verdict);
    }
    (results, format!("{}{}", output.out, output.err))
}

/// All of these pass, and there are more than so many, but for those that are named.
fn own_tests_pass(env: &Env, which: &[&str], lacks: &[(&str, &str)], least: usize) {
    let (results, told) = own_tests(env, which);
    assert!(results.len() > least, "{told}");
    for (name, verdict) in &results {
        let lack = lacks.iter().find(|(known, _)| known == name).map(|(_, why)| *why);
        assert_eq!(*verdict == "PASSED", lack.is_none(), "{name} {verdict}, {lack:?}:\n{told}");
    }
    assert!(lacks.iter().all(|(name, _)| results.contains_key(*name)), "{results:?}");
}

#[test]
fn the_python_clients_own_tests_of_images_pass() {
    let env = Env::new();
    let _registry = instead_of_docker_hub(&env);
    let which = ["tests/integration/api_image_test.py", "tests/integration/models_images_test.py"];
    own_tests_pass(&env, &which, IMAGES_LACK, 25);
}

/// Of docker-py's tests of networks, those that cannot succeed, and why.
const NETWORKS_LACK: &[(&str, &str)] = &[
    ("TestNetworks::test_connect_with_ipv6_address", "it asks for no IPv6, which dockerd takes at its word, too"),
    ("TestNetworks::test_connect_with_mac_address", "dockerd, too, looks at it from version 1.54 on"),
    ("TestNetworks::test_create_inspect_network_with_scope", "it makes a swarm"),
    ("TestNetworks::test_create_network_attachable", "it makes a swarm"),
    ("TestNetworks::test_create_network_ingress", "it makes a swarm"),
    ("TestNetworks::test_create_with_ipv6_address", "it asks for no IPv6, which dockerd takes at its word, too"),
];

#[test]
fn the_python_clients_own_tests_of_networks_pass() {
    let env = Env::new();
    let _registry = instead_of_docker_hub(&env);
    // One of them expects it to be there.
    env.docker(["pull", "alpine:latest"]).ok();
    let which = ["tests/integration/api_network_test.py", "tests/integration/models_networks_test.py"];
    own_tests_pass(&env, &which, NETWORKS_LACK, 25);
}

#[test]
fn the_python_clients_own_tests_of_ports_pass() {
    let env = Env::new();
    let _registry = instead_of_docker_hub(&env);
    let which = [
        "tests/integration/api_container_test.py::PortTest",
        "tests/integration/regression_test.py::TestRegressions::test_792_explicit_port_protocol",
    ];
    let (results, told) = own_tests(&env, &which);
    assert_eq!(results.len(), 2, "{told}");
    assert!(results.values().all(|verdict| *verdict == "PASSED"), "{told}");
}
