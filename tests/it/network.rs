//! Containers' networks, by real clients: addresses, the way out, and that nothing is left of them.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::harness::Env;
use super::process::eventually;

/// A server on the host's loopback that greets whoever comes, on a port of its own.
fn greeter() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let asked = client.read(&mut [0; 1024]);
            let _ = asked.and_then(|_| client.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n"));
        }
    });
    port
}

/// What a container that runs gets from a server.
fn fetched(env: &Env, container: &str, address: &str, port: u16) -> String {
    // What was begun while the way out was killed may never end by itself. A client that half-closes would meet what the
    // README says of old ways out.
    let url = format!("http://{address}:{port}/");
    env.docker(["exec", container, "timeout", "5", "wget", "-q", "-O", "-", &url]).out
}

fn addresses_in_use(env: &Env) -> Vec<String> {
    let networks =
        fs::read_dir(env.run_dir().join("networks")).unwrap().flatten().filter(|entry| entry.path().is_dir());
    let leases = networks.flat_map(|network| fs::read_dir(network.path()).unwrap().flatten());
    let names = leases.map(|lease| lease.file_name().into_string().unwrap());
    names.filter(|name| name != "lock" && name != "names").collect()
}

/// The ends of containers' interfaces in the user's network namespace.
fn ends_on_bridges(env: &Env) -> usize {
    let namespace = format!("--net=/proc/{}/ns/net", env.role("holder")[0].pid);
    let seen = env.pierless(["unshare", "nsenter", namespace.as_str(), "cat", "/proc/net/dev"]).ok();
    seen.lines().filter(|line| line.trim_start().starts_with("veth")).count()
}

fn monitor_of(env: &Env, id: &str) -> i32 {
    let is_of = |seen: &&super::harness::Seen| seen.arguments.get(2).is_some_and(|word| word == id);
    env.role("monitor").iter().find(is_of).unwrap().pid
}

fn kill_9(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

#[test]
fn containers_have_addresses_and_reach_each_other_and_the_host() {
    let env = Env::with_busybox();
    let port = greeter();
    env.run_detached(&["--name", "web"], &["httpd", "-f", "-p", "80", "-h", "/www"]);
    let show = "{{with .NetworkSettings.Networks.bridge}}{{.IPAddress}}/{{.IPPrefixLen}} {{.Gateway}} {{.MacAddress}} \
                {{len .NetworkID}} {{len .EndpointID}}{{end}}";
    let web = env.inspect("web", show);
    let (address, rest) = web.split_once('/').unwrap();
    let octets: Vec<u8> = address.split('.').map(|octet| octet.parse().unwrap()).collect();
    let mac = format!("02:42:{:02x}:{:02x}:{:02x}:{:02x}", octets[0], octets[1], octets[2], octets[3]);
    let gateway = format!("{}.{}.{}.1", octets[0], octets[1], octets[2]);
    assert_eq!((octets[3], rest), (2, format!("16 {gateway} {mac} 64 64").as_str()));
    let other = env.run_detached(&["--name", "other", "--hostname", "box"], &["sleep", "1000"]);
    let own = env.inspect("other", "{{.NetworkSettings.Networks.bridge.IPAddress}}");
    assert!(env.docker(["exec", "other", "cat", "/etc/hosts"]).ok().ends_with(&format!("{own}\tbox\n")));
    let page = env.docker(["exec", "other", "wget", "-q", "-O", "-", &format!("http://{address}/")]).ok();
    assert_eq!(page, "hello from busybox\n");
    // The host's loopback, and through it that there is a way out at all.
    let hosts = env.docker(["exec", "other", "grep", "host.docker.internal", "/etc/hosts"]).ok();
    assert_eq!(fetched(&env, "other", hosts.split('\t').next().unwrap(), port), "hello\n");
    let inside = env.docker(["exec", "other", "cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start"]).ok();
    assert_eq!(inside, "0\n");
    // Every group that exists there may ping.
    let groups = env.docker(["exec", "other", "cat", "/proc/sys/net/ipv4/ping_group_range"]).ok();
    let last = env.docker(["exec", "other", "awk", "{last = $1 + $3 - 1} END {print last}", "/proc/self/gid_map"]).ok();
    assert_eq!(groups, format!("0\t{last}"));
    assert_eq!(addresses_in_use(&env).len(), 2);
    // Who ends, or was killed, has no address any more.
    env.docker(["rm", "-f", "web"]).ok();
    assert_eq!(addresses_in_use(&env), [own]);
    kill_9(monitor_of(&env, &other));
    eventually("the orphan is ended", || env.inspect("other", "{{.State.Running}}") == "false");
    assert_eq!(env.inspect("other", "{{.NetworkSettings.Networks.bridge.IPAddress}}"), "");
    let next = env.run_detached(&[], &["sleep", "1000"]);
    assert_eq!(env.inspect(&next, "{{.NetworkSettings.Networks.bridge.IPAddress}}"), address);
}

#[test]
fn a_crowd_on_one_bridge_leaves_nothing() {
    const COUNT: usize = 16;
    let env = Env::with_busybox();
    let names: Vec<String> = (0..COUNT).map(|n| format!("box{n}")).collect();
    for name in &names {
        env.docker(["create", "--name", name, "busybox", "sleep", "1000"]).ok();
    }
    std::thread::scope(|scope| {
        for some in names.chunks(COUNT / 4) {
            scope.spawn(|| some.iter().for_each(|name| drop(env.docker(["start", name]).ok())));
        }
    });
    let mut addresses = addresses_in_use(&env);
    let mut told: Vec<String> =
        names.iter().map(|name| env.inspect(name, "{{.NetworkSettings.Networks.bridge.IPAddress}}")).collect();
    addresses.sort();
    told.sort();
    told.dedup();
    assert_eq!((addresses.len(), &addresses), (COUNT, &told));
    assert_eq!(ends_on_bridges(&env), COUNT);
    let (removed, killed) = names.split_at(COUNT / 2);
    for name in removed {
        env.docker(["rm", "-f", name]).ok();
    }
    for name in killed {
        kill_9(monitor_of(&env, &env.inspect(name, "{{.Id}}")));
    }
    eventually("all have ended", || env.docker(["ps", "-q"]).ok().is_empty());
    assert_eq!(addresses_in_use(&env), Vec::<String>::new());
    eventually("their interfaces are gone", || ends_on_bridges(&env) == 0);
}

#[test]
fn what_is_killed_of_the_network_comes_back() {
    let mut env = Env::with_busybox();
    let port = greeter();
    env.run_detached(&["--name", "first"], &["sleep", "1000"]);
    let hosts = env.docker(["exec", "first", "grep", "host.docker.internal", "/etc/hosts"]).ok();
    let host = hosts.split('\t').next().unwrap().to_owned();
    assert_eq!(fetched(&env, "first", &host, port), "hello\n");
    let way_out = env.way_out().unwrap();
    // Nobody but the container's monitor is there to see it.
    env.kill_server();
    kill_9(way_out);
    eventually("the way out comes back", || env.way_out().is_some_and(|pid| pid != way_out));
    env.serve();
    eventually("it leads out", || fetched(&env, "first", &host, port) == "hello\n");
    // Without its holder the namespace stays, for who comes next to join.
    kill_9(env.role("holder")[0].pid);
    eventually("the holder is gone", || env.role("holder").is_empty());
    env.run_detached(&["--name", "second"], &["httpd", "-f", "-p", "80", "-h", "/www"]);
    let address = env.inspect("second", "{{.NetworkSettings.Networks.bridge.IPAddress}}");
    let page = env.docker(["exec", "first", "wget", "-q", "-O", "-", &format!("http://{address}/")]).ok();
    assert_eq!(page, "hello from busybox\n");
    eventually("it leads out again", || fetched(&env, "second", &host, port) == "hello\n");
    // At rest there is nothing.
    env.docker(["rm", "-f", "first", "second"]).ok();
    assert_eq!(addresses_in_use(&env), Vec::<String>::new());
    let way_out = env.way_out().unwrap();
    env.kill_server();
    eventually("nobody is left", || env.processes().is_empty() && env.way_out().is_none());
    assert!(fs::read(format!("/proc/{way_out}/cmdline")).map_or(true, |line| line.is_empty()));
}

#[test]
fn who_is_connected_to_a_way_out_later_has_it() {
    let env = Env::with_busybox();
    let port = greeter();
    env.docker(["network", "create", "--internal", "inner"]).ok();
    env.run_detached(&["--name", "box", "--network", "inner"], &["sleep", "1000"]);
    assert_eq!(env.way_out(), None);
    assert_eq!(fetched(&env, "box", "169.254.2.2", port), "");
    env.docker(["network", "connect", "bridge", "box"]).ok();
    assert_eq!(fetched(&env, "box", "169.254.2.2", port), "hello\n");
    // Its monitor looks after it from then on.
    let way_out = env.way_out().unwrap();
    kill_9(way_out);
    eventually("the way out comes back", || env.way_out().is_some_and(|pid| pid != way_out));
    eventually("it leads out", || fetched(&env, "box", "169.254.2.2", port) == "hello\n");
    env.docker(["network", "disconnect", "bridge", "box"]).ok();
    assert_eq!(fetched(&env, "box", "169.254.2.2", port), "");
}

#[test]
fn the_way_out_does_not_outlive_who_needs_it() {
    let mut env = Env::with_busybox();
    let id = env.run_detached(&[], &["sleep", "1000"]);
    let way_out = env.way_out().unwrap();
    let gone = |pid: i32| fs::read(format!("/proc/{pid}/cmdline")).map_or(true, |line| line.is_empty());
    // With its parent, of whom nobody else knows.
    kill_9(env.role("way-out")[0].pid);
    eventually("it has ended", || gone(way_out));
    eventually("the container gets another one", || env.way_out().is_some());
    let way_out = env.way_out().unwrap();
    // Nobody is left to end it, and no command follows.
    env.kill_server();
    kill_9(env.role("holder")[0].pid);
    kill_9(monitor_of(&env, &id));
    eventually("it has ended with the last", || gone(way_out) && env.role("way-out").is_empty());
    env.serve();
    eventually("the orphan is ended", || env.docker(["ps", "-q"]).ok().is_empty());
}

#[test]
fn without_a_way_out_there_is_the_network() {
    let env = Env::with_busybox();
    // It cannot even begin: what it may complain of cannot be kept.
    fs::create_dir_all(env.run_dir().join("networks/way-out.log")).unwrap();
    let id = env.run_detached(&["--name", "web"], &["httpd", "-f", "-p", "80", "-h", "/www"]);
    let address = env.inspect("web", "{{.NetworkSettings.Networks.bridge.IPAddress}}");
    let page = env.docker(["run", "--rm", "busybox", "wget", "-q", "-O", "-", &format!("http://{address}/")]).ok();
    assert_eq!(page, "hello from busybox\n");
    let complaint = fs::read_to_string(env.run_dir().join(format!("containers/{id}/monitor.log"))).unwrap();
    assert!(complaint.contains("way-out.log"), "{complaint}");
}
