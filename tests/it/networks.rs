//! Networks of the user's own, by the docker command line.

use serde_json::{Value, json};

use super::harness::Env;

/// Whether a container reaches an address.
fn reaches(env: &Env, container: &str, address: &str) -> bool {
    env.docker(["exec", container, "ping", "-c", "1", "-W", "1", address]).out.contains(" 0% packet loss")
}

fn network(env: &Env, name: &str) -> Value {
    env.get(&format!("/v1.51/networks/{name}")).expect(200).json()
}

#[test]
fn a_network_gives_what_it_was_asked_for() {
    let env = Env::with_busybox();
    let id = env
        .docker([
            "network",
            "create",
            "--subnet",
            "10.77.0.0/24",
            "--gateway",
            "10.77.0.254",
            "--ip-range",
            "10.77.0.128/25",
            "--aux-address",
            "printer=10.77.0.129",
            "--label",
            "team=a",
            "-o",
            "com.docker.network.driver.mtu=1400",
            "web",
        ])
        .ok();
    let shown = network(&env, "web");
    assert_eq!(shown["Id"], id.trim());
    assert_eq!(shown["Labels"], json!({"team": "a"}));
    let config = json!([{"Subnet": "10.77.0.0/24", "IPRange": "10.77.0.128/25", "Gateway": "10.77.0.254",
        "AuxiliaryAddresses": {"printer": "10.77.0.129"}}]);
    assert_eq!(shown["IPAM"]["Config"], config);
    let fixed = env.run_detached(&["--name", "fixed", "--network", "web", "--ip", "10.77.0.5"], &["sleep", "1000"]);
    env.run_detached(
        &["--name", "free", "--network", &id[..12], "--mac-address", "02:42:00:00:00:07"],
        &["sleep", "1000"],
    );
    let by = |name: &str, field: &str| env.inspect(name, &format!("{{{{.NetworkSettings.Networks.web.{field}}}}}"));
    assert_eq!([by("fixed", "IPAddress"), by("free", "IPAddress")], ["10.77.0.5", "10.77.0.128"]);
    assert_eq!([by("free", "MacAddress"), by("free", "NetworkID")], ["02:42:00:00:00:07", id.trim()]);
    let aliases = |version: &str| {
        let shown = env.get(&format!("/v{version}/containers/fixed/json")).json();
        shown["NetworkSettings"]["Networks"]["web"]["Aliases"].clone()
    };
    assert_eq!((aliases("1.44"), aliases("1.45")), (json!([fixed[..12]]), Value::Null));
    assert!(by("fixed", "DNSNames").starts_with("[fixed "));
    let link = env.docker(["exec", "free", "ip", "addr", "show", "eth0"]).ok();
    assert!(
        link.contains("mtu 1400") && link.contains("02:42:00:00:00:07") && link.contains("10.77.0.128/24"),
        "{link}"
    );
    assert!(env.docker(["exec", "free", "ip", "route"]).ok().starts_with("default via 10.77.0.254 dev eth0"));
    assert!(reaches(&env, "free", "10.77.0.5") && reaches(&env, "free", "10.77.0.254"));
    let containers = network(&env, "web")["Containers"].clone();
    assert_eq!(containers[&fixed]["IPv4Address"], "10.77.0.5/24");
    assert_eq!(env.docker(["ps", "-q", "--filter", "network=web"]).ok().lines().count(), 2);
    // A second one with the same address.
    let second = env.docker(["run", "--rm", "--network", "web", "--ip", "10.77.0.5", "busybox", "true"]).fails(125);
    assert!(second.contains("failed to set up container networking: Address already in use"), "{second}");
    let outside = env.docker(["run", "--rm", "--network", "web", "--ip", "10.78.0.5", "busybox", "true"]).fails(125);
    assert!(outside.contains("no configured subnet or ip-range contain the IP address 10.78.0.5"), "{outside}");
    // Used ones stay.
    let used = env.docker(["network", "rm", "web"]).fails(1);
    assert!(
        used.contains("network web has active endpoints (name:\"fixed\"") && used.contains("name:\"free\""),
        "{used}"
    );
    env.docker(["rm", "-f", "fixed", "free"]).ok();
    env.docker(["network", "rm", "web"]).ok();
    assert_eq!(env.get("/v1.51/networks/web").expect(404).message(), "network web not found");
    // Nothing of it is in the way of the next one with its subnet.
    env.docker(["network", "create", "--subnet", "10.77.0.0/24", "again"]).ok();
    env.run_detached(&["--name", "next", "--network", "again"], &["sleep", "1000"]);
    assert!(reaches(&env, "next", "10.77.0.1"));
}

#[test]
fn networks_are_apart() {
    let env = Env::with_busybox();
    env.docker(["network", "create", "one"]).ok();
    env.docker(["network", "create", "--internal", "two"]).ok();
    for (name, on) in [("a", "one"), ("b", "two"), ("c", "bridge")] {
        env.run_detached(&["--name", &format!("box-{name}"), "--network", on], &["sleep", "1000"]);
    }
    let address = |name: &str, on: &str| {
        env.inspect(name, &format!("{{{{(index .NetworkSettings.Networks \"{on}\").IPAddress}}}}"))
    };
    let (a, b, c) = (address("box-a", "one"), address("box-b", "two"), address("box-c", "bridge"));
    for (from, to) in [("box-a", &b), ("box-b", &a), ("box-a", &c), ("box-c", &a)] {
        assert!(!reaches(&env, from, to), "{from} reaches {to}");
    }
    // An internal one leads nowhere, even to who makes a route.
    assert_eq!(env.docker(["exec", "box-b", "ip", "route"]).ok().lines().count(), 1);
    // A container in both, connected before its start.
    env.docker(["create", "--name", "both", "--network", "one", "busybox", "sleep", "1000"]).ok();
    env.docker(["network", "connect", "two", "both"]).ok();
    let again = env.docker(["network", "connect", "two", "both"]).fails(1);
    assert!(again.contains("endpoint with name both already exists in network two"), "{again}");
    env.docker(["start", "both"]).ok();
    assert!(reaches(&env, "both", &a) && reaches(&env, "both", &b) && !reaches(&env, "both", &c));
    let route = env.docker(["exec", "both", "ip", "route", "show", "default"]).ok();
    assert!(route.contains("dev eth0"), "{route}");
    env.docker(["stop", "-t", "0", "both"]).ok();
    env.docker(["network", "disconnect", "two", "both"]).ok();
    env.docker(["start", "both"]).ok();
    assert!(reaches(&env, "both", &a) && !reaches(&env, "both", &b));
    let neither = env.docker(["network", "disconnect", "bridge", "both"]).fails(1);
    assert!(neither.contains("is not connected to network bridge"), "{neither}");
}

/// The default routes of a container: gateways and interfaces.
fn default_routes(env: &Env, container: &str) -> String {
    let all = env.docker(["exec", container, "ip", "route"]).ok();
    let default: Vec<&str> = all.lines().filter(|line| line.starts_with("default")).map(str::trim).collect();
    default.join("\n")
}

fn interfaces(env: &Env, container: &str) -> Vec<String> {
    let all = env.docker(["exec", container, "ls", "/sys/class/net"]).ok();
    all.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn a_running_container_is_connected_and_taken_out() {
    let env = Env::with_busybox();
    for (name, subnet) in [("one", "10.81.0.0/24"), ("two", "10.82.0.0/24"), ("apart", "10.83.0.0/24")] {
        env.docker(["network", "create", "--subnet", subnet, name]).ok();
    }
    env.run_detached(&["--name", "peer", "--network", "two", "--ip", "10.82.0.9"], &["sleep", "1000"]);
    let id = env.run_detached(&["--name", "box", "--hostname", "host-a"], &["sleep", "1000"]);
    let hosts = || env.docker(["exec", "box", "cat", "/etc/hosts"]).ok();
    let (bridge, before) = (default_routes(&env, "box"), hosts());
    assert!(bridge.ends_with("dev eth0"), "{bridge}");
    assert!(!reaches(&env, "box", "10.82.0.9"));
    env.docker(["network", "connect", "--ip", "10.82.0.7", "--alias", "friend", "two", "box"]).ok();
    assert!(reaches(&env, "box", "10.82.0.9") && reaches(&env, "peer", "10.82.0.7"));
    assert_eq!(
        (interfaces(&env, "box"), default_routes(&env, "box")),
        (["eth0", "eth1", "lo"].map(str::to_owned).into(), bridge.clone())
    );
    assert_eq!(hosts(), format!("{before}10.82.0.7\thost-a\n"));
    let shown =
        env.get(&format!("/v1.51/containers/{id}/json")).expect(200).json()["NetworkSettings"]["Networks"].clone();
    assert_eq!((&shown["two"]["IPAddress"], &shown["two"]["Aliases"]), (&json!("10.82.0.7"), &json!(["friend"])));
    assert_eq!(shown["two"]["EndpointID"].as_str().unwrap().len(), 64);
    assert_eq!(network(&env, "two")["Containers"][&id]["IPv4Address"], "10.82.0.7/24");
    // What cannot be.
    let connect = |network: &str, body: Value| env.post(&format!("/v1.51/networks/{network}/connect"), &body);
    let disconnect = |network: &str, body: Value| env.post(&format!("/v1.51/networks/{network}/disconnect"), &body);
    let twice = connect("two", json!({"Container": "box"})).expect(403).message();
    assert_eq!(twice, "endpoint with name box already exists in network two");
    let taken = json!({"Container": "peer", "EndpointConfig": {"IPAMConfig": {"IPv4Address": "10.83.0.1"}}});
    assert_eq!(connect("apart", taken).expect(403).message(), "Address already in use");
    assert_eq!(interfaces(&env, "peer"), ["eth0", "lo"]);
    let outside = json!({"Container": "peer", "EndpointConfig": {"IPAMConfig": {"IPv4Address": "10.9.0.1"}}});
    connect("apart", outside).expect(400);
    assert_eq!(connect("nobody", json!({"Container": "box"})).expect(404).message(), "network nobody not found");
    assert_eq!(connect("two", json!({"Container": "nobody"})).expect(404).message(), "No such container: nobody");
    let not_on = disconnect("apart", json!({"Container": "box"})).expect(500).message();
    assert_eq!(not_on, format!("container {id} is not connected to network apart"));
    let used = env.delete("/v1.51/networks/two").expect(403).message();
    assert!(used.contains("network two has active endpoints (name:\"box\""), "{used}");
    // The route goes to the one that asks for it, and stays with who is left.
    let first = json!({"Container": "box", "EndpointConfig": {"GwPriority": 5}});
    connect("one", first).expect(200);
    assert_eq!(default_routes(&env, "box"), "default via 10.81.0.1 dev eth2");
    disconnect("one", json!({"Container": "box"})).expect(200);
    assert_eq!((default_routes(&env, "box"), interfaces(&env, "box").len()), (bridge, 3));
    env.docker(["network", "disconnect", "bridge", "box"]).ok();
    assert_eq!(default_routes(&env, "box"), "default via 10.82.0.1 dev eth1");
    assert!(!hosts().contains("172.") && reaches(&env, "box", "10.82.0.9"));
    // A name that is free again, and the last one: then there is nothing, after a start as well.
    env.docker(["network", "connect", "one", "box"]).ok();
    assert_eq!(interfaces(&env, "box"), ["eth0", "eth1", "lo"]);
    env.docker(["network", "disconnect", "one", "box"]).ok();
    env.docker(["network", "disconnect", "-f", "two", "box"]).ok();
    assert_eq!((interfaces(&env, "box"), default_routes(&env, "box")), (vec!["lo".to_owned()], String::new()));
    env.docker(["restart", "-t", "0", "box"]).ok();
    assert_eq!(interfaces(&env, "box"), ["lo"]);
    assert_eq!(env.inspect("box", "{{json .NetworkSettings.Networks}}"), "{}");
    // What it was connected to while it ran, it is after a start.
    env.docker(["network", "connect", "--ip", "10.82.0.7", "two", "box"]).ok();
    env.docker(["restart", "-t", "0", "box"]).ok();
    assert!(reaches(&env, "box", "10.82.0.9") && reaches(&env, "peer", "10.82.0.7"));
    let events = env.past_events(&json!({"type": ["network"], "event": ["connect", "disconnect"]}));
    let of_box = events.iter().filter(|event| event["Actor"]["Attributes"]["container"] == id);
    let said: Vec<String> = of_box
        .map(|event| {
            format!("{} {}", event["Action"].as_str().unwrap(), event["Actor"]["Attributes"]["name"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        said,
        [
            "connect bridge",
            "connect two",
            "connect one",
            "disconnect one",
            "disconnect bridge",
            "connect one",
            "disconnect one",
            "disconnect two",
            "connect two",
            "disconnect two",
            "connect two"
        ]
    );
}

#[test]
fn a_connection_is_made_as_it_is_asked_for() {
    let env = Env::with_busybox();
    env.docker(["network", "create", "--ipv6", "--subnet", "10.84.0.0/24", "--subnet", "fd84::/64", "both"]).ok();
    env.docker(["network", "create", "first"]).ok();
    let option = "driver-opt=com.docker.network.endpoint.";
    let sysctls = "sysctls=net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.IFNAME.disable_ipv6=1";
    let network = format!("name=both,{option}ifname=web0,\"{option}{sysctls}\",link-local-ip=169.254.8.8");
    env.run_detached(
        &["--name", "box", "--network", &network, "--network", "name=first,gw-priority=1"],
        &["sleep", "1000"],
    );
    assert_eq!(interfaces(&env, "box"), ["eth0", "lo", "web0"]);
    let shown = env.docker(["exec", "box", "ip", "addr", "show", "web0"]).ok();
    assert!(shown.contains("10.84.0.2/24") && shown.contains("169.254.8.8/16") && !shown.contains("inet6"), "{shown}");
    assert_eq!(env.docker(["exec", "box", "cat", "/proc/sys/net/ipv4/conf/web0/log_martians"]).ok(), "1\n");
    assert!(default_routes(&env, "box").ends_with("dev eth0"));
    // The same of one that runs.
    env.run_detached(&["--name", "late"], &["sleep", "1000"]);
    let option = "com.docker.network.endpoint.";
    let options =
        json!({format!("{option}ifname"): "late7", format!("{option}sysctls"): "net.ipv4.conf.IFNAME.log_martians=1"});
    let connect = |options: &Value| {
        let body = json!({"Container": "late", "EndpointConfig": {"DriverOpts": options}});
        env.post("/v1.51/networks/both/connect", &body)
    };
    connect(&options).expect(200);
    assert_eq!(env.docker(["exec", "late", "cat", "/proc/sys/net/ipv4/conf/late7/log_martians"]).ok(), "1\n");
    let ping = env.docker(["exec", "late", "ping", "-6", "-c", "1", "-W", "1", "fd84::1"]).out;
    assert!(ping.contains(" 0% packet loss"), "{ping}");
    env.docker(["network", "disconnect", "both", "late"]).ok();
    let nonsense = json!({format!("{option}sysctls"): "net.ipv4.conf.IFNAME.nonsense=1"});
    let said = connect(&nonsense).expect(400).message();
    assert_eq!(said, "/proc/sys/net/ipv4/conf/eth1/nonsense is not a sysctl file");
    let refused = connect(&json!({format!("{option}sysctls"): "net.ipv4.conf.eth1.x=1"})).expect(400).message();
    assert!(refused.starts_with("invalid endpoint settings:\nunrecognised network interface sysctl"), "{refused}");
    assert_eq!(interfaces(&env, "late"), ["eth0", "lo"]);
}

#[test]
fn who_has_no_network_of_its_own_is_not_connected() {
    let env = Env::with_busybox();
    env.docker(["network", "create", "one"]).ok();
    for (name, on) in [("none", "none"), ("host", "host"), ("first", "one"), ("shares", "container:first")] {
        env.run_detached(&["--name", name, "--network", on], &["sleep", "1000"]);
    }
    let shared =
        "container sharing network namespace with another container or host cannot be connected to any other network";
    let private = "container cannot be connected to multiple networks with one of the networks in private (none) mode";
    let must = "cannot connect container to host network - container must be created in host network mode";
    for (network, container, text) in [
        ("one", "none", private),
        ("one", "host", shared),
        ("one", "shares", shared),
        ("none", "first", private),
        ("host", "first", must),
    ] {
        let said = env.post(&format!("/v1.51/networks/{network}/connect"), &json!({"Container": container}));
        assert_eq!(said.expect(400).message(), text, "{container} to {network}");
    }
    let stays = env.post("/v1.51/networks/host/disconnect", &json!({"Container": "host"})).expect(400).message();
    assert_eq!(stays, "cannot disconnect container from host network - container was created in host network mode");
}

#[test]
fn options_of_a_network() {
    let env = Env::with_busybox();
    let create = |name: &str, more: &[&str]| {
        let mut words = vec!["network", "create"];
        words.extend(more);
        words.push(name);
        env.docker(words).ok();
    };
    create("strangers", &["--subnet", "10.85.0.0/24", "-o", "com.docker.network.bridge.enable_icc=0"]);
    create(
        "lonely",
        &["--internal", "--subnet", "10.86.0.0/24", "-o", "com.docker.network.bridge.gateway_mode_ipv4=isolated"],
    );
    for (network, names) in [("strangers", ["box-a", "box-b"]), ("lonely", ["box-c", "box-d"])] {
        for name in names {
            env.run_detached(&["--name", name, "--network", network], &["sleep", "1000"]);
        }
    }
    // Each of the bridge, none of another one.
    assert!(reaches(&env, "box-a", "10.85.0.1") && reaches(&env, "box-b", "10.85.0.1"));
    assert!(!reaches(&env, "box-a", "10.85.0.3") && !reaches(&env, "box-b", "10.85.0.2"));
    // One that comes later is no exception.
    env.run_detached(&["--name", "late"], &["sleep", "1000"]);
    env.docker(["network", "connect", "strangers", "late"]).ok();
    assert!(reaches(&env, "late", "10.85.0.1") && !reaches(&env, "late", "10.85.0.2"));
    // Each of the other one, none of the bridge, which has no address.
    assert!(reaches(&env, "box-c", "10.86.0.3") && !reaches(&env, "box-c", "10.86.0.1"));
}

#[test]
fn what_no_network_can_be_is_refused() {
    let env = Env::new();
    let create = |body: Value| env.post("/v1.51/networks/create", &body);
    create(json!({"Name": "mine", "IPAM": {"Config": [{"Subnet": "10.9.0.0/16"}]}})).expect(201);
    for (body, status, text) in [
        (json!({"Name": "bridge"}), 403, "operation is not permitted on predefined bridge network "),
        (json!({"Name": "mine"}), 409, "network with name mine already exists"),
        (
            json!({"Name": "x", "IPAM": {"Config": [{"Subnet": "10.9.1.0/24"}]}}),
            403,
            "invalid pool request: Pool overlaps with other one on this address space",
        ),
        (json!({"Name": "x", "Driver": "beer"}), 404, "plugin \"beer\" not found"),
        (json!({"Name": "x", "Driver": "host"}), 403, "only one instance of \"host\" network is allowed"),
        (
            json!({"Name": "x", "IPAM": {"Config": [{"Subnet": "10.1.0.0/24", "Gateway": "10.2.0.1"}]}}),
            400,
            "invalid network config:\ninvalid gateway 10.2.0.1: parent subnet 10.1.0.0/24 doesn't contain this address",
        ),
        (
            json!({"Name": "x", "IPAM": {"Config": [{"Subnet": "10.1.0.7/24"}]}}),
            400,
            "invalid network config:\ninvalid subnet 10.1.0.7/24: it should be 10.1.0.0/24",
        ),
        (json!({"Name": "x", "Options": {"com.docker.network.bridge.name": "../x"}}), 400, "invalid bridge name: ../x"),
        (json!({"Name": ""}), 400, "invalid network name: name is empty"),
        (
            json!({"Name": "x", "Options": {"com.docker.network.bridge.enable_icc": "maybe"}}),
            400,
            "failed to parse com.docker.network.bridge.enable_icc value: maybe (strconv.ParseBool: parsing \"maybe\": \
             invalid syntax)",
        ),
        (
            json!({"Name": "x", "Options": {"com.docker.network.bridge.gateway_mode_ipv4": "isolated"}}),
            400,
            "gateway mode 'isolated' can only be used for an internal network",
        ),
        (
            json!({"Name": "x", "Options": {"com.docker.network.bridge.gateway_mode_ipv6": "routed"}}),
            501,
            "option com.docker.network.bridge.gateway_mode_ipv6: routed is not supported: the host has no route to \
             containers",
        ),
        (
            json!({"Name": "x", "Options": {"com.docker.network.bridge.host_binding_ipv4": "here"}}),
            400,
            "failed to parse com.docker.network.bridge.host_binding_ipv4 value: here (nil ip)",
        ),
    ] {
        assert_eq!(create(body).expect(status).message(), text);
    }
    let removal = env.delete("/v1.51/networks/bridge").expect(403).message();
    assert_eq!(removal, "bridge is a pre-defined network and cannot be removed");
    env.delete("/v1.51/networks/nobody").expect(404);
    let options =
        json!({"com.docker.network.bridge.name": "br7", "com.docker.network.bridge.trusted_host_interfaces": "x"});
    let told = create(json!({"Name": "odd", "Options": options})).expect(201).json();
    assert_eq!(
        told["Warning"],
        "option com.docker.network.bridge.trusted_host_interfaces is not implemented and has no effect"
    );
    let names = |filters: &str| {
        let all = env.docker(["network", "ls", "--format", "{{.Name}}", "--filter", filters]).ok();
        all.lines().collect::<Vec<_>>().join(" ")
    };
    assert_eq!([names("type=custom"), names("dangling=true"), names("name=^mi")], ["mine odd", "mine odd", "mine"]);
    let deleted = env.post("/v1.51/networks/prune", &Value::Null).expect(200).json();
    assert_eq!(deleted["NetworksDeleted"], json!(["mine", "odd"]));
    let events = env.past_events(&json!({"type": ["network"]}));
    let seen: Vec<String> = events
        .iter()
        .filter_map(|event| {
            let name = event["Actor"]["Attributes"]["name"].as_str()?;
            Some(format!("{} {name}", event["Action"].as_str()?))
        })
        .collect();
    assert_eq!(seen, ["create mine", "create odd", "destroy mine", "destroy odd"]);
}

#[test]
fn ipv6_within_a_network() {
    let env = Env::with_busybox();
    env.docker(["network", "create", "--ipv6", "--subnet", "fd77::/64", "six"]).ok();
    env.run_detached(&["--name", "one", "--network", "six", "--ip6", "fd77::5"], &["sleep", "1000"]);
    env.run_detached(&["--name", "two", "--network", "six"], &["sleep", "1000"]);
    assert_eq!(env.inspect("two", "{{.NetworkSettings.Networks.six.GlobalIPv6Address}}"), "fd77::2");
    let ping = env.docker(["exec", "two", "ping", "-6", "-c", "1", "-W", "1", "fd77::5"]).out;
    assert!(ping.contains(" 0% packet loss"), "{ping}");
}
