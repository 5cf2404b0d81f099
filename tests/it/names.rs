//! Names, as programs in containers resolve them.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::fixtures;
use super::harness::{Env, sh, source_tree};
use super::oracle::{A, Oracle, Says, TXT};
use super::process::{Process, eventually};

/// What `nslookup` in a container finds of a name: its addresses or names in order, or what is said in their place.
/// Nothing: there is such a name, and no record of this type.
fn look_up(env: &Env, container: &str, name: &str, kind: &str) -> Vec<String> {
    let kind = format!("-type={kind}");
    values(&env.docker(["exec", container, "nslookup", &kind, name]).out)
}

fn values(text: &str) -> Vec<String> {
    // The first lines tell who was asked.
    let (_, rest) = text.split_once("\n\n").unwrap_or_else(|| panic!("{text:?}"));
    let value = |line: &str| {
        let parts = ["Address: ", "name = ", "server can't find "];
        let (part, value) = parts.iter().find_map(|part| Some((part, line.split_once(part)?.1)))?;
        Some(if part.contains("find") { value.rsplit(": ").next()? } else { value }.to_owned())
    };
    let values: BTreeSet<String> = rest.lines().filter_map(value).collect();
    values.into_iter().collect()
}

pub fn address(env: &Env, container: &str, network: &str) -> String {
    env.inspect(container, &format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}"))
}

/// The name by which an address is asked for.
fn reverse(address: &str) -> String {
    let octets: Vec<&str> = address.split('.').rev().collect();
    format!("{}.in-addr.arpa", octets.join("."))
}

/// A pierless whose host asks this name server only.
pub fn env_with(oracle: &Oracle) -> Env {
    let mut env = Env::bare();
    fs::write(env.resolv_conf(), oracle.line()).unwrap();
    env.serve();
    env.load_busybox();
    env
}

/// A program of the host's in a container's network namespace.
pub fn inside(env: &Env, container: &str, arguments: &[&str]) -> Process {
    let namespace = format!("--net=/proc/{}/ns/net", env.inspect(container, "{{.State.Pid}}"));
    let script = source_tree().join("tests/it/ask.py");
    let mut words = vec!["unshare", "nsenter", &namespace, "/usr/bin/python3", script.to_str().unwrap()];
    words.extend(arguments);
    Process::start(env.command(env.program()).args(words))
}

/// Code, whether it was cut off, number of records, and length of an answer.
fn asked(env: &Env, container: &str, arguments: &[&str]) -> [usize; 4] {
    let text = inside(env, container, &[&["once"], arguments].concat()).finish().ok();
    let numbers: Vec<usize> = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

/// All files by which names are found.
fn files(env: &Env) -> Vec<PathBuf> {
    let networks = fs::read_dir(env.run_dir().join("networks")).unwrap().flatten();
    let entries = networks.flat_map(|network| fs::read_dir(network.path().join("names")).into_iter().flatten());
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn containers_find_each_other() {
    let oracle = Oracle::at("127.0.0.53");
    oracle.knows("example.org", Says::Address([192, 0, 2, 7]));
    let env = env_with(&oracle);
    for network in ["front", "back"] {
        env.docker(["network", "create", network]).ok();
    }
    let aliases = ["--network-alias", "shop", "--network-alias", "a/../b", "--network-alias", "..", "-h", "box"];
    let options = [&["--name", "Web", "--network", "front"][..], &aliases].concat();
    let web = env.run_detached(&options, &["sleep", "1000"]);
    env.run_detached(&["--name", "db", "--network", "back", "--network-alias", "shop"], &["sleep", "1000"]);
    env.docker(["create", "--name", "me", "--network", "front", "busybox", "sleep", "1000"]).ok();
    env.docker(["network", "connect", "back", "me"]).ok();
    env.docker(["start", "me"]).ok();
    assert_eq!(env.docker(["exec", "me", "cat", "/etc/resolv.conf"]).ok(), "nameserver 127.0.0.11\noptions ndots:0\n");
    let (at_web, at_db) = (address(&env, "Web", "front"), address(&env, "db", "back"));
    for name in ["web", "WEB", "web.front", "shop.front", "box", &web[..12], &format!("{}.FRONT", &web[..12])] {
        assert_eq!(look_up(&env, "me", name, "a"), [at_web.as_str()], "{name}");
    }
    for name in ["db", "db.back", "shop.back"] {
        assert_eq!(look_up(&env, "me", name, "a"), [at_db.as_str()], "{name}");
    }
    // Who is in one of them only.
    assert_eq!(look_up(&env, "Web", "me", "a"), [address(&env, "me", "front").as_str()]);
    assert_eq!(look_up(&env, "db", "me", "a"), [address(&env, "me", "back").as_str()]);
    assert_eq!(look_up(&env, "Web", "db", "a"), ["NXDOMAIN"]);
    assert_eq!(look_up(&env, "me", "db.front", "a"), ["NXDOMAIN"]);
    // There is such a name, but no such address, and nobody else is asked about it.
    for kind in ["aaaa", "mx", "txt"] {
        assert_eq!(look_up(&env, "me", "web", kind), [""; 0], "{kind}");
    }
    assert_eq!(look_up(&env, "me", &reverse(&at_web), "ptr"), ["Web.front"]);
    assert_eq!(look_up(&env, "me", &reverse(&at_db), "ptr"), ["db.back"]);
    assert_eq!(look_up(&env, "Web", &reverse(&at_db), "ptr"), ["NXDOMAIN"]);
    for name in ["host.docker.internal", "gateway.docker.internal"] {
        assert_eq!(look_up(&env, "me", name, "a"), ["169.254.2.2"], "{name}");
    }
    assert_eq!(look_up(&env, "me", "example.org", "a"), ["192.0.2.7"]);
    assert_eq!(look_up(&env, "me", "nobody.example.org", "a"), ["NXDOMAIN"]);
    let known = oracle.names();
    let foreign = ["db", "db.front", &reverse(&at_db), "example.org", "nobody.example.org"];
    assert!(known.iter().all(|name| foreign.contains(&name.as_str())), "{known:?}");
    // Exec sessions and who shares the network ask the same resolver.
    assert_eq!(values(&sh(&env, &["--network", "container:me"], "nslookup -type=a web")), [at_web.as_str()]);
    let ping = env.docker(["exec", "me", "ping", "-c", "1", "-W", "5", "shop.back"]).out;
    assert!(ping.contains(&format!("PING shop.back ({at_db})")), "{ping}");
    env.docker(["rm", "-f", "Web", "db", "me"]).ok();
    assert_eq!(files(&env), Vec::<PathBuf>::new());
}

#[test]
fn equal_names_share_and_names_follow_their_containers() {
    let oracle = Oracle::at("127.0.0.1");
    let env = env_with(&oracle);
    env.docker(["network", "create", "n"]).ok();
    let start = |name: &str| {
        env.run_detached(&["--name", name, "--network", "n", "--network-alias", "all"], &["sleep", "1000"])
    };
    start("me");
    let first = start("one");
    start("two");
    let at = |name: &str| address(&env, name, "n");
    let mut all = vec![at("me"), at("one"), at("two")];
    all.sort();
    assert_eq!(look_up(&env, "me", "all", "a"), all);
    let mut leaders = BTreeSet::new();
    eventually("each comes first at times", || {
        let text = env.docker(["exec", "me", "nslookup", "-type=a", "all"]).ok();
        leaders.extend(text.lines().rev().find(|line| line.starts_with("Address: ")).map(str::to_owned));
        leaders.len() == 3
    });
    // Another name, at once and in the place of the one before; its other names stay.
    env.docker(["rename", "one", "uno"]).ok();
    assert_eq!(look_up(&env, "me", "uno", "a"), [at("uno").as_str()]);
    assert_eq!(look_up(&env, "me", "one", "a"), ["NXDOMAIN"]);
    assert_eq!(look_up(&env, "me", "all", "a"), all);
    assert_eq!(look_up(&env, "me", &reverse(&at("uno")), "ptr"), ["uno.n"]);
    // Who has ended is not found.
    let gone = at("two");
    env.docker(["stop", "-t", "0", "two"]).ok();
    all.retain(|address| *address != gone);
    assert_eq!(look_up(&env, "me", "all", "a"), all);
    assert_eq!(look_up(&env, "me", "two", "a"), ["NXDOMAIN"]);
    env.docker(["start", "two"]).ok();
    assert_eq!(look_up(&env, "me", "two", "a"), [at("two").as_str()]);
    // Nor who was killed with its monitor, though nobody has looked at it since.
    let monitor = env.role("monitor").into_iter().find(|seen| seen.arguments.get(2) == Some(&first)).unwrap();
    kill(Pid::from_raw(monitor.pid), Signal::SIGKILL).unwrap();
    let me = env.inspect("me", "{{.State.Pid}}");
    let namespace = format!("--net=/proc/{me}/ns/net");
    eventually("it is not found", || {
        let asked =
            env.pierless(["unshare", "nsenter", &namespace, "busybox", "nslookup", "-type=a", "uno", "127.0.0.11"]);
        values(&asked.out) == ["NXDOMAIN"]
    });
    env.docker(["rm", "-f", "uno", "two", "me"]).ok();
    assert_eq!(files(&env), Vec::<PathBuf>::new());
    env.docker(["network", "rm", "n"]).ok();
}

#[test]
fn links_are_names_and_the_default_network_has_no_others() {
    let oracle = Oracle::at("127.0.0.53");
    let env = env_with(&oracle);
    env.docker(["network", "create", "n"]).ok();
    env.run_detached(&["--name", "db"], &["sleep", "1000"]);
    env.run_detached(&["--name", "other"], &["sleep", "1000"]);
    let web = env.run_detached(&["--name", "web", "--link", "db:store", "-h", "shop"], &["sleep", "1000"]);
    assert_eq!(env.docker(["exec", "web", "cat", "/etc/resolv.conf"]).ok(), "nameserver 127.0.0.11\n");
    let at = |name: &str| address(&env, name, "bridge");
    for name in ["store", "db", "STORE"] {
        assert_eq!(look_up(&env, "web", name, "a"), [at("db").as_str()], "{name}");
    }
    for name in ["web", "shop", &web[..12]] {
        assert_eq!(look_up(&env, "web", name, "a"), [at("web").as_str()], "{name}");
    }
    assert_eq!(look_up(&env, "web", "other", "a"), ["NXDOMAIN"]);
    assert_eq!(look_up(&env, "db", "web", "a"), ["NXDOMAIN"]);
    // A link leads to where the other one is now.
    env.docker(["stop", "-t", "0", "db"]).ok();
    assert_eq!(look_up(&env, "web", "store", "a"), ["NXDOMAIN"]);
    env.run_detached(&["--name", "wedge"], &["sleep", "1000"]);
    env.docker(["start", "db"]).ok();
    assert_eq!(look_up(&env, "web", "store", "a"), [at("db").as_str()]);
    // In a network of the user's, too; the name that hides another one there goes before it.
    let back = env.run_detached(&["--name", "back", "--network", "n"], &["sleep", "1000"]);
    env.run_detached(&["--name", "front", "--network", "n", "--link", &format!("{back}:db")], &["sleep", "1000"]);
    let at_back = address(&env, "back", "n");
    for name in ["db", "back", "db.n"] {
        assert_eq!(look_up(&env, "front", name, "a"), [at_back.as_str()], "{name}");
    }
    // Servers that are asked for, where there are no names, are in the file itself.
    let text = sh(&env, &["--dns", "192.0.2.53", "--dns-search", "corp.example"], "cat /etc/resolv.conf");
    assert_eq!(text, "nameserver 192.0.2.53\nsearch corp.example\n");
}

#[test]
fn what_is_not_known_is_asked_of_the_host_as_it_is_now() {
    let (first, second) = (Oracle::at("127.0.0.53"), Oracle::at("127.0.0.1"));
    first.knows("example.org", Says::Address([192, 0, 2, 1]));
    first.knows("broken.example", Says::Failure);
    first.knows("silent.example", Says::Silence);
    for name in ["example.org", "broken.example", "silent.example"] {
        second.knows(name, Says::Address([192, 0, 2, 2]));
    }
    first.knows("large.example", Says::Texts(200));
    let env = env_with(&first);
    let text = sh(&env, &["--dns-search", "org", "--dns-opt", "ndots:2"], "cat /etc/resolv.conf");
    assert_eq!(text, "nameserver 127.0.0.11\nsearch org\noptions ndots:2\n");
    env.run_detached(&["--name", "me"], &["sleep", "1000"]);
    assert_eq!(look_up(&env, "me", "example.org", "a"), ["192.0.2.1"]);
    assert_eq!(look_up(&env, "me", "broken.example", "a"), ["SERVFAIL"]);
    // What a datagram does not hold says so, and comes by a stream.
    assert_eq!(asked(&env, "me", &["udp", "0", "16", "large.example"])[..3], [0, 1, 0]);
    assert_eq!(asked(&env, "me", &["tcp", "0", "16", "large.example"])[..3], [0, 0, 200]);
    assert!(first.was_asked_by_stream("large.example"));
    // The host's file changes, in its place and by another one.
    fs::write(env.resolv_conf(), format!("{}{}", first.line(), second.line())).unwrap();
    for name in ["broken.example", "silent.example"] {
        assert_eq!(look_up(&env, "me", name, "a"), ["192.0.2.2"], "{name}");
    }
    assert_eq!(asked(&env, "me", &["tcp", "1232", "1", "broken.example"])[..3], [0, 0, 1]);
    fs::write(env.base().join("new"), second.line()).unwrap();
    fs::rename(env.base().join("new"), env.resolv_conf()).unwrap();
    assert_eq!(look_up(&env, "me", "example.org", "a"), ["192.0.2.2"]);
    // A server that is not there is passed over, and with no server there is an answer, too.
    let nobody = "nameserver 127.0.0.99:9\n";
    fs::write(env.resolv_conf(), format!("{nobody}{}", second.line())).unwrap();
    assert_eq!(look_up(&env, "me", "example.org", "a"), ["192.0.2.2"]);
    assert_eq!(asked(&env, "me", &["tcp", "0", "1", "example.org"])[..3], [0, 0, 1]);
    for text in ["", nobody, "nonsense\n"] {
        fs::write(env.resolv_conf(), text).unwrap();
        assert_eq!(look_up(&env, "me", "example.org", "a"), ["SERVFAIL"], "{text:?}");
        assert_eq!(asked(&env, "me", &["tcp", "0", "1", "example.org"])[..3], [2, 0, 0], "{text:?}");
    }
}

#[test]
fn an_internal_network_tells_nobody() {
    let oracle = Oracle::at("127.0.0.53");
    let env = env_with(&oracle);
    env.docker(["network", "create", "--internal", "n"]).ok();
    env.run_detached(&["--name", "web", "--network", "n"], &["sleep", "1000"]);
    env.run_detached(&["--name", "me", "--network", "n"], &["sleep", "1000"]);
    assert_eq!(look_up(&env, "me", "web", "a"), [address(&env, "web", "n").as_str()]);
    for (name, kind) in [("secret.example", "a"), ("secret.example", "txt"), ("4.3.2.1.in-addr.arpa", "ptr")] {
        assert_eq!(look_up(&env, "me", name, kind), ["SERVFAIL"], "{name}");
    }
    assert_eq!(asked(&env, "me", &["tcp", "0", "1", "secret.example"])[0], 2);
    assert_eq!(oracle.names(), [""; 0]);
    // A server in the network itself may be asked, by who asks for it.
    env.run_detached(&["--name", "dns", "--network", "n"], &["sleep", "1000"]);
    let server = inside(&env, "dns", &["serve", "192.0.2.9"]);
    server.out.wait_for("serves");
    let at_dns = address(&env, "dns", "n");
    let id = env.run_detached(&["--name", "asks", "--network", "n", "--dns", &at_dns], &["sleep", "1000"]);
    assert_eq!(look_up(&env, &id, "secret.example", "a"), ["192.0.2.9"]);
    assert_eq!(asked(&env, &id, &["tcp", "0", "1", "secret.example"])[..3], [0, 0, 1]);
    assert_eq!(look_up(&env, &id, "web", "a"), [address(&env, "web", "n").as_str()]);
    assert_eq!(
        env.docker(["exec", "asks", "cat", "/etc/resolv.conf"]).ok(),
        "nameserver 127.0.0.11\noptions ndots:0\n"
    );
    assert_eq!(oracle.names(), [""; 0]);
}

#[test]
fn a_name_server_in_a_container_has_its_port() {
    let oracle = Oracle::at("127.0.0.53");
    let env = env_with(&oracle);
    env.docker(["network", "create", "n"]).ok();
    env.run_detached(&["--name", "dns", "--network", "n"], &["sleep", "1000"]);
    env.run_detached(&["--name", "me", "--network", "n"], &["sleep", "1000"]);
    let server = inside(&env, "dns", &["serve", "192.0.2.53"]);
    server.out.wait_for("serves");
    let at = address(&env, "dns", "n");
    let from_neighbour = env.docker(["exec", "me", "nslookup", "-type=a", "zone.example", &at]).ok();
    assert_eq!(values(&from_neighbour), ["192.0.2.53"]);
    assert_eq!(asked(&env, "me", &["tcp", "0", "1", "zone.example", &at])[..3], [0, 0, 1]);
    // It does not answer what is asked of the container's resolver.
    assert_eq!(look_up(&env, "dns", "me", "a"), [address(&env, "me", "n").as_str()]);
    assert_eq!(look_up(&env, "dns", "zone.example", "a"), ["NXDOMAIN"]);
    assert_eq!(asked(&env, "dns", &["tcp", "0", &A.to_string(), "me"])[..3], [0, 0, 1]);
    assert_eq!(asked(&env, "dns", &["udp", "1232", &TXT.to_string(), "me"])[..3], [0, 0, 0]);
}

#[test]
fn names_of_a_host_gateway_are_known() {
    let oracle = Oracle::at("127.0.0.53");
    let env = env_with(&oracle);
    let body = json!({"Image": "busybox", "Cmd": ["nslookup", "-type=a", "up"], "Tty": true,
        "HostConfig": {"ExtraHosts": ["up:host-gateway", "host.docker.internal:host-gateway"]}});
    let (id, _) = env.create(body);
    env.docker(["start", &id]).ok();
    env.docker(["wait", &id]).ok();
    let text = env.docker(["logs", &id]).ok().replace('\r', "");
    assert_eq!(values(&text), ["169.254.2.2"], "{text}");
}

#[test]
fn who_is_connected_while_it_runs_has_names_there() {
    let oracle = Oracle::at("127.0.0.53");
    oracle.knows("example.org", Says::Address([192, 0, 2, 7]));
    let env = env_with(&oracle);
    env.docker(["network", "create", "n"]).ok();
    env.run_detached(&["--name", "web", "--network", "n"], &["sleep", "1000"]);
    env.run_detached(&["--name", "me", "--dns", "192.0.2.53"], &["sleep", "1000"]);
    let text = || env.docker(["exec", "me", "cat", "/etc/resolv.conf"]).ok();
    assert_eq!(text(), "nameserver 192.0.2.53\n");
    env.docker(["network", "connect", "--alias", "late", "--link", "web:shop", "n", "me"]).ok();
    assert_eq!(text(), "nameserver 127.0.0.11\noptions ndots:0\n");
    for name in ["web", "shop", "web.n"] {
        assert_eq!(look_up(&env, "me", name, "a"), [address(&env, "web", "n").as_str()], "{name}");
    }
    for name in ["me", "late"] {
        assert_eq!(look_up(&env, "web", name, "a"), [address(&env, "me", "n").as_str()], "{name}");
    }
    env.docker(["rename", "me", "moi"]).ok();
    assert_eq!(look_up(&env, "web", "moi", "a"), look_up(&env, "web", "late", "a"));
    env.docker(["network", "disconnect", "n", "moi"]).ok();
    for name in ["moi", "late"] {
        assert_eq!(look_up(&env, "web", name, "a"), ["NXDOMAIN"], "{name}");
    }
    // One that leads nowhere does not ask the host's servers either, until it is connected to what leads out.
    env.docker(["network", "create", "--internal", "i"]).ok();
    env.run_detached(&["--name", "in", "--network", "i"], &["sleep", "1000"]);
    assert_eq!(look_up(&env, "in", "example.org", "a"), ["SERVFAIL"]);
    env.docker(["network", "connect", "n", "in"]).ok();
    assert_eq!(look_up(&env, "in", "example.org", "a"), ["192.0.2.7"]);
    assert_eq!(look_up(&env, "in", "web", "a"), [address(&env, "web", "n").as_str()]);
}

#[test]
fn addresses_of_both_kinds_have_names() {
    let oracle = Oracle::at("127.0.0.53");
    let env = env_with(&oracle);
    env.docker(["network", "create", "--ipv6", "--subnet", "fd77::/64", "n"]).ok();
    env.run_detached(&["--name", "web", "--network", "n", "--ip6", "fd77::5"], &["sleep", "1000"]);
    env.run_detached(&["--name", "me", "--network", "n"], &["sleep", "1000"]);
    assert_eq!(look_up(&env, "me", "web", "a"), [address(&env, "web", "n").as_str()]);
    assert_eq!(look_up(&env, "me", "web", "aaaa"), ["fd77::5"]);
    let nibbles = format!("5.{}7.7.d.f.ip6.arpa", "0.".repeat(27));
    assert_eq!(look_up(&env, "me", &nibbles, "ptr"), ["web.n"]);
    assert_eq!(look_up(&env, "me", "host.docker.internal", "aaaa"), [""; 0]);
    assert_eq!(oracle.names(), [""; 0]);
}

#[test]
fn who_asks_too_much_hurts_nobody_else() {
    let oracle = Oracle::at("127.0.0.53");
    oracle.knows("silent.example", Says::Silence);
    let env = env_with(&oracle);
    env.docker(["network", "create", "n"]).ok();
    let id = env.run_detached(&["--name", "me", "--network", "n"], &["sleep", "1000"]);
    // Streams that ask nothing, half a question, nonsense, much at once; questions that nobody answers.
    let flood = inside(&env, "me", &["flood"]);
    flood.out.wait_for("asked");
    assert_eq!(look_up(&env, "me", "me", "a"), [address(&env, "me", "n").as_str()]);
    assert_eq!(asked(&env, "me", &["tcp", "0", "1", "me"])[..3], [0, 0, 1]);
    let monitor = env.role("monitor").into_iter().find(|seen| seen.arguments.get(2) == Some(&id)).unwrap();
    let open = || {
        let listed = env.pierless(["unshare", "ls", &format!("/proc/{}/fd", monitor.pid)]).ok();
        listed.lines().count()
    };
    assert!(open() < 400, "{}", open());
    drop(flood);
    eventually("nothing is kept of it", || open() < 40);
    env.docker(["stop", "-t", "0", "me"]).ok();
}

#[test]
fn the_c_library_of_a_distribution_resolves() {
    let oracle = Oracle::at("127.0.0.53");
    oracle.knows("printer.corp.example", Says::Address([192, 0, 2, 9]));
    let env = env_with(&oracle);
    env.docker(["load", "-q", "-i", fixtures::debian().to_str().unwrap()]).ok();
    env.docker(["network", "create", "n"]).ok();
    env.run_detached(&["--name", "web", "--network", "n", "--network-alias", "shop"], &["sleep", "1000"]);
    let at_web = address(&env, "web", "n");
    let script = format!(
        "for name in web SHOP web.n printer.corp.example printer {at_web}; do getent hosts $name; done; getent hosts nobody"
    );
    let found = env.docker([
        "run",
        "--rm",
        "--network",
        "n",
        "--dns-search",
        "corp.example",
        "debian:bookworm",
        "sh",
        "-c",
        &script,
    ]);
    let lines: Vec<Vec<&str>> = found.out.lines().map(|line| line.split_whitespace().collect()).collect();
    let expected = [
        [at_web.as_str(), "web"],
        [at_web.as_str(), "SHOP"],
        [at_web.as_str(), "web.n"],
        ["192.0.2.9", "printer.corp.example"],
        ["192.0.2.9", "printer.corp.example"],
        [at_web.as_str(), "web.n"],
    ];
    assert_eq!((found.code, lines), (2, expected.map(|line| line.to_vec()).to_vec()), "{found:?}");
}
