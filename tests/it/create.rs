//! What a creation refuses, accepts and warns of: requests, statuses and texts as dockerd 28.5 has them. No container
//! is started.

use serde_json::{Value, json};

use super::create_refused::{configs, host_configs, mount};
use super::harness::Env;

fn env() -> Env {
    let env = Env::with_busybox();
    for (name, host) in
        [("peer", json!({})), ("hosty", json!({"NetworkMode": "host"})), ("sharer", json!({"IpcMode": "shareable"}))]
    {
        env.post(&format!("/v1.51/containers/create?name={name}"), &json!({"Image": "busybox", "HostConfig": host}))
            .expect(201);
    }
    env
}

#[test]
fn a_platform_is_read_as_containerd_reads_it() {
    let env = Env::with_busybox();
    let create = |platform: &str, version: &str| {
        let path = format!("/{version}/containers/create?platform={platform}");
        let body = json!({"Image": "busybox", "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}});
        env.post(&path, &body)
    };
    let own = match std::env::consts::ARCH {
        "x86_64" => ["linux", "amd64", "LINUX/X86_64", "linux/x86-64"],
        _ => ["linux", "arm64", "LINUX/AARCH64", "linux/arm64/v8"],
    };
    for platform in own {
        create(platform, "v1.51").expect(201);
    }
    for (platform, wanted) in [
        ("nonsense", "\"nonsense\": unknown operating system or architecture: invalid argument"),
        ("a/b/c/d", "\"a/b/c/d\": cannot parse platform specifier: invalid argument"),
    ] {
        assert_eq!(create(platform, "v1.51").expect(400).message(), wanted);
        create(platform, "v1.40").expect(201);
    }
    let other = create("linux/s390x", "v1.51").expect(404).message();
    assert!(other.ends_with("does not match the specified platform (linux/s390x)"), "{other}");
}

#[test]
fn what_dockerd_refuses_is_refused_in_its_words() {
    let env = env();
    let before = env.contents();
    let bodies = host_configs().into_iter().map(|(host, text)| (json!({"Image": "busybox", "HostConfig": host}), text));
    let mut wrong = Vec::new();
    for (body, text) in bodies.chain(configs()) {
        let reply = env.post("/v1.51/containers/create", &body);
        if reply.status != 400 || reply.message() != text {
            wrong.push(format!("{body}\n  wanted {text}\n  got {} {}", reply.status, reply.text()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(env.contents(), before, "a refusal leaves nothing");
    let source = env.data().join("x");
    let reply = env.post(
        "/v1.51/containers/create",
        &json!({"Image": "busybox", "HostConfig": {"Binds": [format!("{}:/x:rprivate", source.display())]}}),
    );
    assert!(
        reply.message().starts_with("invalid mount config: must use either propagation mode \"rslave\" or \"rshared\""),
        "{}",
        reply.text()
    );
    let reply = env
        .post("/v1.51/containers/create", &json!({"Image": "busybox", "HostConfig": {"IpcMode": "container:peer"}}))
        .expect(400);
    assert!(
        reply.message().ends_with("non-shareable IPC (hint: use IpcMode:shareable for the donor container)"),
        "{}",
        reply.text()
    );
}

/// Whoever asks for a limit has it, or is told that it is none: as this host delegates cgroup controllers.
#[test]
fn limits_that_cannot_be_set_are_told() {
    let env = env();
    let info = env.get("/v1.51/info").json();
    for (field, value, controller, fact) in [
        ("Memory", json!(6_291_456), "memory", "MemoryLimit"),
        ("CpusetCpus", json!("0"), "cpuset", "CPUSet"),
        ("NanoCpus", json!(1_000_000_000), "cpu", "CpuCfsQuota"),
        ("PidsLimit", json!(100), "pids", "PidsLimit"),
    ] {
        let reply = env.post("/v1.51/containers/create", &json!({"Image": "busybox", "HostConfig": {field: value}}));
        let told = format!(
            "HostConfig.{field} has no effect: containers have no cgroup controller {controller} here (`pierless check` \
             tells more)"
        );
        let expected = if info[fact] == true { json!([]) } else { json!([told]) };
        assert_eq!(reply.expect(201).json()["Warnings"], expected);
    }
}

/// As in dockerd: its root has nothing but what is mounted there.
#[test]
fn without_an_image_there_is_an_empty_root() {
    let env = Env::new();
    let host = json!({"NetworkMode": "none", "Binds": ["/bin/busybox:/bin/busybox:ro"]});
    let (id, _) = env.create(json!({"Cmd": ["/bin/busybox", "ls", "/bin"], "HostConfig": host}));
    assert_eq!(env.docker(["start", "-a", &id]).ok(), "busybox\n");
    let inspected = env.get(&format!("/containers/{id}/json")).expect(200).json();
    assert_eq!([&inspected["Image"], &inspected["Config"]["Image"], &inspected["Platform"]], ["", "", "linux"]);
    let listed = env.get("/containers/json?all=1").expect(200).json()[0].clone();
    assert_eq!([&listed["Image"], &listed["ImageID"]], ["", ""]);
    env.docker(["image", "prune", "-af"]).ok();
    env.docker(["rm", &id]).ok();
    let reply = env.post("/v1.51/containers/create", &json!({"Env": ["A=b"]}));
    assert_eq!(reply.expect(400).message(), "no command specified");
}

#[test]
fn what_dockerd_accepts_is_accepted() {
    let env = env();
    for (host, warnings) in [
        (json!({}), vec![]),
        (json!(null), vec![]),
        (json!({"NetworkMode": "default"}), vec![]),
        (json!({"LogConfig": {"Type": "json-file", "Config": {"max-file": "3"}}}), vec![]),
        (json!({"LogConfig": {"Type": "none", "Config": {"x": "y"}}}), vec![]),
        (
            json!({"LogConfig": {"Config": {"tag": "x"}}}),
            vec!["HostConfig.LogConfig.Config.tag is not implemented and has no effect"],
        ),
        (json!({"Isolation": "DEFAULT", "Runtime": "runc", "UsernsMode": "host", "CgroupnsMode": "private"}), vec![]),
        (json!({"IpcMode": "container:sharer", "PidMode": "container:peer", "NetworkMode": "container:peer"}), vec![]),
        (json!({"RestartPolicy": {"Name": "no"}, "AutoRemove": true}), vec![]),
        (json!({"MemorySwappiness": -1, "PidsLimit": -1, "MemorySwap": -1}), vec![]),
        (json!({"CpuPercent": 5}), vec!["linux does not support CPU percent. Percent discarded."]),
        (json!({"CapAdd": ["all", "net_admin"], "CapDrop": ["CAP_CHOWN"]}), vec![]),
        (json!({"ExtraHosts": ["a:host-gateway", "b:::1", "c: 1.2.3.4 "]}), vec![]),
        (json!({"SecurityOpt": ["no-new-privileges=T", "label=disable", "disable", "seccomp=builtin"]}), vec![]),
        (
            json!({"NetworkMode": "host", "PortBindings": {"80/tcp": [{"HostPort": "80"}]}}),
            vec!["Published ports are discarded when using host network mode"],
        ),
        (
            json!({"Binds": ["/x:/y:"], "Mounts": [{"Type": "bind", "Source": "/nope", "Target": "/z", "BindOptions": {"CreateMountpoint": true}}]}),
            vec![],
        ),
        (json!({"Mounts": [{"Type": "bind", "Source": "/tmp", "Target": "/x"}], "Tmpfs": {"/x": "size=1k"}}), vec![]),
        (json!({"Ulimits": [{"Name": "nofile", "Soft": -1, "Hard": -1}], "OomScoreAdj": -1000}), vec![]),
    ] {
        let reply = env.post("/v1.51/containers/create", &json!({"Image": "busybox", "HostConfig": host}));
        assert_eq!(reply.status, 201, "{host}: {}", reply.text());
        assert_eq!(reply.json()["Warnings"], json!(warnings), "{host}");
    }
    let (_, warnings) = env.create(json!({"Image": "busybox", "MacAddress": "02:42:ac:11:00:02"}));
    assert_eq!(
        warnings,
        ["The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead."]
    );
}

#[test]
fn versions_mean_different_things() {
    let env = env();
    let create = |version: &str, body: Value| env.post(&format!("/v{version}/containers/create"), &body);
    let inspected = |version: &str, host: Value| {
        let reply = create(version, json!({"Image": "busybox", "HostConfig": host})).expect(201).json();
        env.get(&format!("/v1.51/containers/{}/json", reply["Id"].as_str().unwrap())).json()["HostConfig"].clone()
    };
    assert_eq!(inspected("1.39", json!({}))["IpcMode"], "shareable");
    assert_eq!(inspected("1.40", json!({}))["IpcMode"], "private");
    assert_eq!(inspected("1.24", json!({"AutoRemove": true}))["AutoRemove"], false);
    assert_eq!(inspected("1.42", json!({"Annotations": {"": "x"}}))["Annotations"], json!(null));
    assert_eq!(inspected("1.41", json!({"ConsoleSize": [5, 5]}))["ConsoleSize"], json!([0, 0]));
    assert_eq!(inspected("1.51", json!({"Memory": 16_777_216}))["MemorySwap"], 33_554_432);
    let two = json!({"Image": "busybox", "NetworkingConfig": {"EndpointsConfig": {"a": {}, "b": {}}}});
    assert_eq!(
        create("1.43", two).expect(400).message(),
        "Container cannot be created with multiple network endpoints: a, b"
    );
    let bind = json!({"Type": "bind", "Source": "/tmp", "Target": "/x"});
    for (version, more, text) in [
        (
            "1.43",
            json!({"BindOptions": {"ReadOnlyForceRecursive": true}}),
            "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer",
        ),
        (
            "1.41",
            json!({"Source": "/nope", "BindOptions": {"CreateMountpoint": true}}),
            "invalid mount config for type \"bind\": bind source path does not exist: /nope",
        ),
        ("1.47", json!({"Type": "image"}), "Mount type \"Image\" needs API v1.48 or newer"),
        (
            "1.44",
            json!({"Type": "volume", "Source": "v1", "VolumeOptions": {"Subpath": "a"}}),
            "VolumeOptions.Subpath needs API v1.45 or newer",
        ),
    ] {
        let body = json!({"Image": "busybox", "HostConfig": mount(bind.clone(), more)});
        assert_eq!(create(version, body).expect(400).message(), text);
    }
    let body = json!({"Image": "busybox", "MacAddress": "02:42:ac:11:00:02", "HostConfig": {"NetworkMode": "host"}});
    assert_eq!(create("1.43", body).expect(400).message(), "conflicting options: mac-address and the network mode");
    let body = json!({"Image": "busybox", "HostConfig": {"Sysctls": {"net.ipv4.conf.eth0.forwarding": "1"}}});
    let warnings = create("1.47", body).expect(201).json()["Warnings"].clone();
    assert_eq!(
        warnings.as_array().unwrap().last().unwrap(),
        "Migrated sysctl \"net.ipv4.conf.eth0.forwarding\" to DriverOpts{\"com.docker.network.endpoint.sysctls\":\"net.ipv4.conf.IFNAME.forwarding=1\"}."
    );
}

#[test]
fn what_was_asked_is_shown_as_it_was_asked() {
    let env = env();
    let (id, _) = env.create(json!({"Image": "busybox", "Env": ["A=1", "B"], "HostConfig": {"Binds": ["/tmp/../tmp:/x/:ro"], "Links": ["peer:p"]}}));
    let inspect = env.get(&format!("/v1.51/containers/{id}/json")).json();
    assert_eq!(inspect["HostConfig"]["Binds"], json!(["/tmp/../tmp:/x/:ro"]));
    assert_eq!(
        inspect["Config"]["Env"],
        json!(["A=1", "B", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"])
    );
    assert_eq!(
        inspect["Mounts"],
        json!([{"Type": "bind", "Source": "/tmp", "Destination": "/x", "Mode": "ro", "RW": false, "Propagation": "rprivate"}])
    );
    // A record of a version that stored no meaning is read again.
    let path = env.data().join("containers").join(&id).join("container.json");
    let mut record: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert!(record.as_object_mut().unwrap().remove("settings").is_some());
    std::fs::write(&path, record.to_string()).unwrap();
    assert_eq!(env.get(&format!("/v1.51/containers/{id}/json")).json()["Mounts"], inspect["Mounts"]);
}

#[test]
fn predefined_networks_and_no_volumes() {
    let env = env();
    let list = env.get("/v1.51/networks").expect(200).json();
    let names: Vec<_> = list.as_array().unwrap().iter().map(|network| network["Name"].as_str().unwrap()).collect();
    assert_eq!(names, ["bridge", "host", "none"]);
    let id = list[2]["Id"].as_str().unwrap();
    assert_eq!(env.get(&format!("/v1.51/networks/{}", &id[..12])).expect(200).json()["Driver"], "null");
    assert_eq!(env.get("/v1.51/networks/nobody").expect(404).message(), "network nobody not found");
    let filtered = env.get("/v1.51/networks?filters=%7B%22name%22%3A%5B%22%5Eno%22%5D%7D").json();
    assert_eq!(filtered.as_array().unwrap().len(), 1);
    env.get("/v1.51/networks?filters=%7B%22x%22%3A%5B%22y%22%5D%7D").expect(400).message();
    let container = env.run_detached(&["--network", "none"], &["sleep", "1000"]);
    assert_eq!(
        env.get("/v1.51/networks/none").json()["Containers"].as_object().unwrap().keys().collect::<Vec<_>>(),
        [&container]
    );
    assert_eq!(env.get("/v1.51/volumes").expect(200).json(), json!({"Volumes": [], "Warnings": null}));
    assert_eq!(env.get("/v1.51/volumes/nobody").expect(404).message(), "get nobody: no such volume");
    env.docker(["network", "ls"]).ok();
    env.docker(["volume", "ls"]).ok();
}
