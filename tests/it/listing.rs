//! `docker ps`, `inspect`, `info`, `version`, `system df`.

use serde_json::json;

use super::harness::Env;

#[test]
fn version_and_ping() {
    let env = Env::new();
    let text = env
        .docker([
            "version",
            "--format",
            "{{.Server.Os}}/{{.Server.Arch}} {{.Server.Version}} {{.Server.MinAPIVersion}}",
        ])
        .ok();
    assert!(text.starts_with("linux/amd64 ") && text.ends_with(" 1.24\n"), "{text}");
    let ping = env.get("/_ping").expect(200);
    assert_eq!(
        (ping.text().as_str(), ping.header("ostype"), ping.header("swarm")),
        ("OK", Some("linux"), Some("inactive"))
    );
    assert!(ping.header("api-version").is_some() && ping.header("docker-experimental").is_some());
    assert!(ping.header("cache-control").unwrap().contains("no-cache"));
    let head = super::raw::request(&env.socket(), "HEAD", "/_ping", "", b"").expect(200);
    assert_eq!((head.header("content-length"), head.body.len()), (Some("0"), 0));
    assert!(head.header("server").unwrap().to_lowercase().contains("pierless"));
    let newest = env.get("/version").json()["ApiVersion"].as_str().unwrap().to_owned();
    assert_eq!(ping.header("api-version"), Some(newest.as_str()));
    for version in ["1.24", "1.40", "1.44", "1.51", "1.55"] {
        env.get(&format!("/v{version}/_ping")).expect(200);
        env.get(&format!("/v{version}/containers/json")).expect(200);
    }
}

#[test]
fn info_is_true() {
    let env = Env::with_busybox();
    env.run_detached(&[], &["sleep", "1000"]);
    env.docker(["run", "busybox", "true"]).ok();
    env.docker(["create", "busybox", "true"]).ok();
    let info = env.get("/v1.51/info").expect(200).json();
    assert_eq!(
        (&info["Containers"], &info["ContainersRunning"], &info["ContainersStopped"]),
        (&json!(3), &json!(1), &json!(2))
    );
    assert_eq!(info["Images"], 1);
    assert_eq!((&info["OSType"], &info["Architecture"]), (&json!("linux"), &json!("x86_64")));
    assert_eq!(info["DockerRootDir"], env.data().to_str().unwrap());
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap();
    let kib: i64 = memory.lines().next().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap();
    assert_eq!(info["MemTotal"], kib * 1024);
    assert_ne!(info["CgroupDriver"], "cgroupfs");
    for field in ["OperatingSystem", "ServerVersion", "IndexServerAddress", "KernelVersion", "ID", "Name"] {
        assert!(info[field].as_str().is_some_and(|text| !text.is_empty()), "{field}");
    }
    let options = info["SecurityOptions"].as_array().unwrap();
    assert!(options.iter().any(|option| option == "name=rootless"), "{options:?}");
    assert!(options.iter().any(|option| option.as_str().unwrap().starts_with("name=seccomp")), "{options:?}");
    env.docker(["info"]).ok();
}

#[test]
fn ps_shows_and_filters() {
    let env = Env::with_busybox();
    let running = env.run_detached(&["--name", "web", "-l", "tier=front", "-l", "app=shop"], &["sleep", "1000"]);
    env.docker(["run", "--name", "job", "-l", "app=shop", "busybox", "sh", "-c", "exit 3"]).fails(3);
    env.docker(["create", "--name", "idle", "busybox"]).ok();
    let names = |arguments: &[&str]| {
        let mut all = vec!["ps", "--format", "{{.Names}}"];
        all.extend(arguments);
        let mut names: Vec<String> = env.docker(all).ok().lines().map(str::to_owned).collect();
        names.sort();
        names.join(" ")
    };
    assert_eq!(names(&[]), "web");
    assert_eq!(names(&["-a"]), "idle job web");
    for (filter, wanted) in [
        ("label=app", "job web"),
        ("label=app=shop", "job web"),
        ("label=tier=back", ""),
        ("name=we", "web"),
        ("name=^/web$", "web"),
        ("status=exited", "job"),
        ("status=created", "idle"),
        ("status=running", "web"),
        ("exited=3", "job"),
        ("exited=0", ""),
        ("ancestor=busybox", "idle job web"),
        ("ancestor=busybox:latest", "idle job web"),
        ("ancestor=other", ""),
        ("before=job", "web"),
        ("since=job", "idle"),
        ("network=bridge", "idle job web"),
        ("network=none", ""),
        ("volume=/nowhere", ""),
        ("health=none", "idle job web"),
        ("is-task=false", "idle job web"),
        ("publish=80", ""),
    ] {
        assert_eq!(names(&["-a", "--filter", filter]), wanted, "{filter}");
    }
    assert_eq!(names(&["-a", "--filter", "label=app", "--filter", "label=tier=front"]), "web");
    assert_eq!(names(&["-a", "--filter", "status=exited", "--filter", "status=created"]), "idle job");
    assert_eq!(names(&["-a", "--filter", &format!("id={}", &running[..10])]), "web");
    assert_eq!(names(&["-n", "1"]), "idle");
    assert_eq!(names(&["-l"]), "idle");
    let message = env.docker(["ps", "--filter", "nonsense=1"]).fails(1);
    assert!(message.contains("invalid filter"), "{message}");
    let table = env.docker(["ps", "-a"]).ok();
    let job = table.lines().find(|line| line.ends_with("job")).unwrap();
    assert!(job.contains("\"sh -c 'exit 3'\"") && job.contains("Exited (3) "), "{job}");
    assert!(table.lines().find(|line| line.ends_with("web")).unwrap().contains("Up "), "{table}");
    assert_eq!(env.docker(["ps", "-q", "--no-trunc"]).ok().trim(), running);
}

#[test]
fn the_list_in_its_newest_shape() {
    let env = Env::with_busybox();
    let id = env.run_detached(&["--name", "c1", "-l", "a=b"], &["sleep", "1000"]);
    let list = env.get("/v1.51/containers/json?size=1").expect(200).json();
    let one = &list[0];
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!(one["Id"], *id);
    assert_eq!(one["Names"], json!(["/c1"]));
    assert_eq!(
        (&one["Image"], &one["Command"], &one["State"]),
        (&json!("busybox"), &json!("sleep 1000"), &json!("running"))
    );
    assert_eq!((&one["Labels"], &one["Ports"]), (&json!({"a": "b"}), &json!([])));
    assert!(
        one["ImageID"].as_str().unwrap().starts_with("sha256:") && one["Created"].as_i64().unwrap() > 1_700_000_000
    );
    assert!(one.get("SizeRw").is_none() && one["SizeRootFs"].as_i64().unwrap() > 500_000, "{one}");
    assert!(env.get("/v1.51/containers/json").json()[0].get("SizeRw").is_none());
}

#[test]
fn inspect_gives_back_what_was_asked() {
    let env = Env::with_busybox();
    let (id, warnings) = env.create(json!({
        "Image": "busybox", "Cmd": ["sleep", "5"], "Env": ["A=1", "B"], "Labels": {"x": "y"}, "WorkingDir": "/tmp",
        "User": "alice", "Hostname": "box", "StopSignal": "SIGINT", "StopTimeout": 3,
        "HostConfig": {"NetworkMode": "none", "ReadonlyRootfs": true, "ShmSize": 1048576, "CapDrop": ["ALL"], "Init": true},
    }));
    assert_eq!(warnings, [""; 0]);
    let one = env.get(&format!("/v1.51/containers/{id}/json")).expect(200).json();
    assert_eq!(one["Config"]["Cmd"], json!(["sleep", "5"]));
    assert_eq!(one["Config"]["Labels"], json!({"x": "y"}));
    let env_list = one["Config"]["Env"].as_array().unwrap();
    assert!(
        env_list.contains(&json!("A=1")) && env_list.iter().any(|entry| entry.as_str().unwrap().starts_with("PATH="))
    );
    for (field, wanted) in [
        ("User", json!("alice")),
        ("WorkingDir", json!("/tmp")),
        ("Hostname", json!("box")),
        ("StopSignal", json!("SIGINT")),
        ("StopTimeout", json!(3)),
        ("Image", json!("busybox")),
    ] {
        assert_eq!(one["Config"][field], wanted, "{field}");
    }
    for (field, wanted) in [
        ("NetworkMode", json!("none")),
        ("ReadonlyRootfs", json!(true)),
        ("ShmSize", json!(1_048_576)),
        ("CapDrop", json!(["ALL"])),
        ("Init", json!(true)),
    ] {
        assert_eq!(one["HostConfig"][field], wanted, "{field}");
    }
    assert_eq!((&one["Path"], &one["Args"]), (&json!("sleep"), &json!(["5"])));
    assert_eq!(
        (&one["State"]["Status"], &one["State"]["Running"], &one["State"]["Pid"]),
        (&json!("created"), &json!(false), &json!(0))
    );
    assert_eq!(one["State"]["StartedAt"], "0001-01-01T00:00:00Z");
    let created = one["Created"].as_str().unwrap();
    assert!(created.starts_with("20") && created.ends_with('Z') && created.contains('.'), "{created}");
}

#[test]
fn system_df_counts() {
    let env = Env::with_busybox();
    env.docker(["run", "busybox", "sh", "-c", "head -c 300000 /dev/zero >/big"]).ok();
    let df = env.get("/v1.51/system/df").expect(200).json();
    assert_eq!(df["Images"].as_array().unwrap().len(), 1);
    assert!(df["LayersSize"].as_i64().unwrap() > 500_000);
    assert!(df["Containers"][0]["SizeRw"].as_i64().unwrap() >= 300_000);
    assert!(df["Volumes"].is_array() && df["BuildCache"].is_array());
    let text = env.docker(["system", "df"]).ok();
    assert!(text.contains("Images          1         1"), "{text}");
    // From 1.52 on sums, and the lists of before unless all is asked for.
    let sums = env.get("/v1.52/system/df?type=image&type=container").expect(200).json();
    assert_eq!(sums["ImageUsage"], json!({"ActiveCount": 1, "TotalCount": 1, "TotalSize": df["LayersSize"]}));
    assert!(sums["ContainerUsage"]["Reclaimable"].as_i64().unwrap() >= 300_000);
    assert_eq!((sums["Images"].as_array().unwrap().len(), sums.get("Volumes")), (1, None));
    let verbose = env.get("/v1.55/system/df?verbose=1").expect(200).json();
    assert_eq!(verbose["ImageUsage"]["Items"].as_array().unwrap().len(), 1);
    assert_eq!((verbose.get("Images"), &verbose["VolumeUsage"]), (None, &json!({})));
}

#[test]
fn a_swarm_there_is_none() {
    let env = Env::new();
    for path in ["/swarm", "/nodes", "/services", "/tasks", "/secrets", "/configs"] {
        env.get(&format!("/v1.51{path}")).expect(503).message();
    }
    assert_eq!(env.get("/v1.51/plugins").expect(200).json(), json!([]));
    let document = env.get("/openapi.json").expect(200).json();
    assert!(
        document["openapi"].as_str().unwrap().starts_with("3.1") && document["paths"].as_object().unwrap().len() > 20
    );
}
