//! Pulling images: from a real registry, by docker's command line and ours, and through a proxy that misbehaves.

use std::fs;
use std::time::Duration;

use serde_json::json;

use super::fixtures;
use super::harness::Env;
use super::process::eventually;
use super::raw;
use super::registries::{self, Faults, Options, PASSWORD, Proxy, Registry, USER, refs};

fn pull_status(env: &Env, name: &str) -> u16 {
    raw::request(&env.socket(), "POST", &format!("/v1.51/images/create?fromImage={name}"), "", b"").status
}

#[test]
fn docker_pulls_and_runs() {
    let registry = registries::with_busybox();
    let env = Env::new();
    let name = registry.name("busybox");
    let text = env.docker(["pull", &name]).ok();
    let digest = registry.digest("busybox:latest");
    for line in [
        "Using default tag: latest".to_owned(),
        "latest: Pulling from busybox".to_owned(),
        "Pull complete".to_owned(),
        format!("Digest: {digest}"),
        format!("Status: Downloaded newer image for {name}:latest"),
    ] {
        assert!(text.contains(&line), "no {line:?} in {text}");
    }
    assert_eq!(env.inspect(&name, "{{.RepoDigests}}"), format!("[{name}@{digest}]"));
    assert_eq!(env.inspect(&format!("{name}@{digest}"), "{{.RepoTags}}"), format!("[{name}:latest]"));
    assert_eq!(env.docker(["run", "--rm", &name, "echo", "hi"]).ok(), "hi\n");
    let text = env.docker(["pull", &name]).ok();
    assert!(text.contains(&format!("Status: Image is up to date for {name}:latest")), "{text}");
    assert_eq!(env.docker(["pull", "-q", &format!("{name}@{digest}")]).ok(), format!("{name}@{digest}\n"));
    // All is gone with the name, and comes back when it is run.
    env.docker(["rmi", &name]).ok();
    assert_eq!((refs(&env), env.docker(["images", "-aq"]).ok()), (0, String::new()));
    let output = env.docker(["run", "--rm", &name, "echo", "again"]);
    assert_eq!(output.ok(), "again\n");
    let events = env.past_events(&json!({"event": ["pull"]}));
    assert_eq!(events.last().unwrap()["Actor"]["ID"], format!("{name}:latest"));
}

#[test]
fn what_is_not_there_is_404_before_the_stream() {
    let registry = registries::with_busybox();
    let env = Env::new();
    for (name, words) in [("nothing", "not found"), ("busybox:none", "manifest unknown")] {
        let name = registry.name(name);
        assert_eq!(pull_status(&env, &name), 404, "{name}");
        let message = env.docker(["pull", &name]).fails(1);
        assert!(message.contains(words), "{message}");
    }
    assert_eq!(pull_status(&env, "127.0.0.1:1/x"), 500);
    assert_eq!(pull_status(&env, "127.0.0.1:1/X"), 400);
    // The name of what no registry has.
    let scratch = env.post("/v1.51/images/create?fromImage=scratch&tag=1", &json!(null)).expect(403);
    assert_eq!(scratch.message(), "'scratch' is a reserved name");
    assert_eq!(env.get("/v1.51/distribution/scratch/json").expect(400).message(), "'scratch' is a reserved name");
    assert!(env.docker(["run", "scratch", "x"]).fails(125).contains("'scratch' is a reserved name"));
    let platform = format!("{}&platform=nonsense", registry.name("busybox"));
    assert_eq!(pull_status(&env, &platform), 400);
    assert_eq!(refs(&env), 0);
}

#[test]
fn all_tags_and_our_own_command_line() {
    let registry = registries::with_busybox();
    for tag in ["one", "two"] {
        registry.push(fixtures::busybox(), &format!("busybox:{tag}"), &[]);
    }
    // A registry may tell its tags in pages.
    let proxy = Proxy::before(&registry);
    proxy.set(Faults { page: Some(1), ..Faults::default() });
    let paged = Env::new();
    assert_eq!(paged.docker(["pull", "-a", &proxy.name("busybox")]).ok().matches("Digest: ").count(), 3);
    // Old clients end the name so for all tags.
    let all =
        paged.post(&format!("/v1.51/images/create?fromImage={}:", registry.name("busybox")), &json!(null)).expect(200);
    assert_eq!(all.text().matches("Digest: ").count(), 3, "{}", all.text());
    assert_eq!(proxy.seen("/tags/list").len(), 3, "{:?}", proxy.seen(""));
    let env = Env::new();
    let id = env.pierless(["pull", "-q", &registry.name("busybox:one")]).ok();
    assert_eq!(id.trim(), env.inspect(&registry.name("busybox:one"), "{{.Id}}"));
    let text = env.docker(["pull", "-a", &registry.name("busybox")]).ok();
    assert!(text.contains("Image is up to date") || text.contains("Already exists"), "{text}");
    assert_eq!(env.docker(["images", "-q"]).ok().lines().count(), 3);
    let told = env.pierless(["pull", &registry.name("busybox:two")]);
    assert!(told.err.contains("was here already"), "{told:?}");
    // On a terminal a person sees bars.
    proxy.set(Faults { slow: Some((100_000, Duration::from_millis(100))), ..Faults::default() });
    let seen = Env::new();
    let name = proxy.name("busybox");
    let (code, screen) =
        super::pty::Terminal::start(seen.command(seen.program()).args(["pull", &name]), 24, 100).finish();
    assert!(code == 0 && screen.contains("█░") && screen.contains("\x1b[1A") && screen.contains("  done"), "{screen}");
}

#[test]
fn a_cut_blob_is_gone_on_with() {
    let registry = registries::with_busybox();
    let proxy = Proxy::before(&registry);
    let env = Env::new();
    proxy.set(Faults { cut: 2, ..Faults::default() });
    let text = env.docker(["pull", &proxy.name("busybox")]).ok();
    assert!(text.contains("Retrying in 1 second"), "{text}");
    let blobs = proxy.seen("/blobs/");
    assert_eq!(blobs.iter().filter(|line| line.contains("bytes=")).count(), 2, "{blobs:?}");
    assert_eq!(env.docker(["run", "--rm", &proxy.name("busybox"), "echo", "hi"]).ok(), "hi\n");
    assert_eq!(fs::read_dir(env.data().join("images/partial")).unwrap().count(), 0, "nothing is kept of it");
}

#[test]
fn a_wrong_byte_is_noticed_and_asked_for_once_more() {
    let registry = registries::with_busybox();
    let proxy = Proxy::before(&registry);
    let env = Env::new();
    proxy.set(Faults { spoil: 2, ..Faults::default() });
    let message = env.docker(["pull", &proxy.name("busybox")]).fails(1);
    assert!(message.contains("verification failed"), "{message}");
    assert_eq!((refs(&env), env.docker(["images", "-aq"]).ok()), (0, String::new()));
    proxy.set(Faults { spoil: 1, ..Faults::default() });
    env.docker(["pull", &proxy.name("busybox")]).ok();
    assert_eq!(proxy.seen("GET /v2/busybox/blobs/").len(), 3, "the configuration, and the layer twice");
    assert_eq!(env.docker(["run", "--rm", &proxy.name("busybox"), "echo", "hi"]).ok(), "hi\n");
}

#[test]
fn refusals_pass_or_are_told_in_the_registrys_words() {
    let registry = registries::with_busybox();
    let proxy = Proxy::before(&registry);
    let env = Env::new();
    proxy.set(Faults { refuse: 2, status: 503, ..Faults::default() });
    env.docker(["pull", &proxy.name("busybox")]).ok();
    env.docker(["rmi", &proxy.name("busybox")]).ok();
    proxy.set(Faults { refuse: 1000, status: 429, ..Faults::default() });
    let message = env.docker(["pull", &proxy.name("busybox")]).fails(1);
    assert!(message.contains("toomanyrequests: in the registry's own words"), "{message}");
}

#[test]
fn many_who_want_one_image_fetch_it_once() {
    let registry = registries::with_busybox();
    let proxy = Proxy::before(&registry);
    let env = Env::new();
    proxy.set(Faults { slow: Some((100_000, Duration::from_millis(50))), ..Faults::default() });
    let name = proxy.name("busybox");
    let clients: Vec<_> = (0..5).map(|_| env.docker_start(["pull", &name])).collect();
    let own: Vec<_> =
        (0..3).map(|_| super::process::Process::start(env.command(env.program()).args(["pull", &name]))).collect();
    for client in clients.into_iter().chain(own) {
        client.finish().ok();
    }
    let config = env.inspect(&name, "{{.Id}}");
    let layers = proxy.seen("/blobs/").into_iter().filter(|line| !line.contains(&config)).collect::<Vec<_>>();
    assert_eq!(layers.len(), 1, "{layers:?}");
}

#[test]
fn a_client_that_leaves_ends_its_pull_and_the_next_goes_on() {
    let registry = registries::with_busybox();
    let proxy = Proxy::before(&registry);
    let env = Env::new();
    proxy.set(Faults { slow: Some((50_000, Duration::from_millis(50))), ..Faults::default() });
    let name = proxy.name("busybox");
    let mut client = env.docker_start(["pull", &name]);
    let partial = env.data().join("images/partial");
    let size =
        || fs::read_dir(&partial).into_iter().flatten().flatten().map(|e| e.metadata().unwrap().len()).sum::<u64>();
    eventually("some of it is here", || size() > 100_000);
    client.kill();
    eventually("the pull has ended", || {
        fs::read_dir(env.data().join("images/tmp")).unwrap().flatten().filter(|e| e.path().is_dir()).count() == 0
    });
    let had = size();
    assert!(had > 0);
    proxy.set(Faults::default());
    env.docker(["pull", &name]).ok();
    let blobs = proxy.seen("bytes=");
    assert_eq!(blobs.len(), 1, "{:?}", proxy.seen(""));
    assert!(blobs[0].contains(&format!("bytes={had}-")), "{blobs:?}");
    // A waiter goes on when the downloader is killed.
    env.docker(["rmi", &name]).ok();
    proxy.set(Faults { slow: Some((50_000, Duration::from_millis(50))), ..Faults::default() });
    let mut first = super::process::Process::start(env.command(env.program()).args(["pull", &name]));
    eventually("some of it is here", || size() > 100_000);
    let second = env.docker_start(["pull", &name]);
    second.out.wait_for("Pulling fs layer");
    proxy.faults.lock().unwrap().slow = None;
    first.kill();
    second.finish().ok();
    assert_eq!(env.docker(["run", "--rm", &name, "echo", "hi"]).ok(), "hi\n");
}

#[test]
fn who_asks_is_proved() {
    let registry = Registry::start(Options { basic: true, ..Options::default() });
    let credentials = format!("{USER}:{PASSWORD}");
    let to = format!("docker://{}", registry.name("secret:1"));
    let archive = format!("docker-archive:{}", fixtures::busybox().display());
    let mut skopeo = std::process::Command::new("skopeo");
    skopeo.args([
        "--insecure-policy",
        "copy",
        "-q",
        "--dest-tls-verify=false",
        "--dest-creds",
        &credentials,
        &archive,
        &to,
    ]);
    super::process::run(&mut skopeo).ok();
    let env = Env::new();
    let name = registry.name("secret:1");
    assert_eq!(pull_status(&env, &name), 404);
    let message = env.docker(["pull", &name]).fails(1);
    assert!(message.contains("pull access denied") || message.contains("authentication required"), "{message}");
    let server = format!("127.0.0.1:{}", registry.port);
    let message = env.docker(["login", "-u", USER, "-p", "wrong", &server]).fails(1);
    assert!(message.contains("unauthorized"), "{message}");
    assert!(env.docker(["login", "-u", USER, "-p", PASSWORD, &server]).ok().contains("Login Succeeded"));
    env.docker(["pull", &name]).ok();
    env.docker(["rmi", &name]).ok();
    env.pierless(["pull", &name]).ok();
}

#[test]
fn certificates_as_people_make_them() {
    let registry = Registry::start(Options { tls: true, ..Options::default() });
    registry.push(fixtures::busybox(), "busybox:latest", &[]);
    let env = Env::new();
    // This machine needs none; by another name it does.
    env.docker(["pull", &registry.name("busybox")]).ok();
    let folder = env.home().join(".config/pierless");
    fs::create_dir_all(&folder).unwrap();
    let config = |text: &str| fs::write(folder.join("config.toml"), text).unwrap();
    let mirror = format!("https://127.0.0.1:{}", registry.port);
    config(&format!("[registry.\"docker.io\"]\nmirrors = [\"{mirror}\"]\n"));
    registry.push(fixtures::busybox(), "library/box:1", &[]);
    env.docker(["pull", "box:1"]).ok();
    assert_eq!(env.docker(["run", "--rm", "box:1", "echo", "hi"]).ok(), "hi\n");
    config("[registry.\"docker.io\"]\nmirror = []\n");
    let message = env.docker(["pull", "box:1"]).fails(1);
    assert!(message.contains("config.toml") && message.contains("line 2") && message.contains("mirror"), "{message}");
    assert!(registry.certificate.is_some());
}

#[test]
fn tokens_are_fetched_and_renewed_in_the_middle() {
    let registry = registries::with_busybox();
    let proxy = Proxy::before(&registry);
    let env = Env::new();
    let name = proxy.name("busybox");
    proxy.set(Faults { token_uses: Some(2), cut: 3, ..Faults::default() });
    assert_eq!(pull_status(&env, &name), 404);
    let server = format!("127.0.0.1:{}", proxy.port);
    env.docker(["login", "-u", USER, "-p", PASSWORD, &server]).ok();
    env.docker(["pull", &name]).ok();
    assert!(proxy.seen("/token").len() >= 4, "{:?}", proxy.seen(""));
    assert!(proxy.seen("/token").last().unwrap().contains("scope=repository%3Abusybox%3Apull"));
    assert!(proxy.seen("bytes=").iter().all(|line| line.contains("Bearer t")), "{:?}", proxy.seen(""));
    assert_eq!(env.docker(["run", "--rm", &name, "echo", "hi"]).ok(), "hi\n");
    // One that lives for less than a blob takes, which breaks off, too.
    env.docker(["rmi", &name]).ok();
    let slow = Some((200_000, Duration::from_millis(200)));
    let lives = Some(Duration::from_millis(400));
    proxy.set(Faults { token_uses: Some(1000), token_lives: lives, slow, cut: 1, ..Faults::default() });
    env.docker(["pull", &name]).ok();
    assert!(proxy.seen("/token").len() >= 2, "{:?}", proxy.seen(""));
}

#[test]
fn another_host_never_sees_who_asks() {
    let registry = registries::with_busybox();
    let (proxy, other) = (Proxy::before(&registry), Proxy::before(&registry));
    let env = Env::new();
    proxy.set(Faults { token_uses: Some(100), elsewhere: Some(other.port), ..Faults::default() });
    other.set(Faults { cut: 1, ..Faults::default() });
    env.docker(["login", "-u", USER, "-p", PASSWORD, &format!("127.0.0.1:{}", proxy.port)]).ok();
    env.docker(["pull", &proxy.name("busybox")]).ok();
    let there = other.seen("signed=1");
    assert!(there.len() >= 3 && there.iter().all(|line| !line.contains("Bearer")), "{there:?}");
    // Whatever was cut there is asked for anew at the registry.
    assert_eq!(proxy.seen("bytes=").len(), 1);
}

#[test]
fn an_index_is_kept_and_its_machines_are_told_apart() {
    let (registry, index) = registries::with_index();
    let env = Env::new();
    let before = env.contents();
    let digest = format!("sha256:{}", fixtures::sha256(index.as_bytes()));
    let name = registry.name("busybox:index");
    let facts = env.get(&format!("/v1.51/distribution/{name}/json")).expect(200).json();
    assert_eq!(
        (&facts["Descriptor"]["digest"], &facts["Platforms"][1]["architecture"]),
        (&digest.as_str().into(), &"arm64".into())
    );
    env.docker(["pull", &name]).ok();
    let first = env.inspect(&name, "{{.Id}}");
    assert_eq!(env.inspect(&name, "{{.RepoDigests}}"), format!("[{}@{digest}]", registry.name("busybox")));
    assert_eq!(fs::read(env.data().join("images/blobs/sha256").join(&digest[7..])).unwrap(), index.as_bytes());
    let message = env.docker(["pull", "--platform", "linux/s390x", &name]).fails(1);
    assert!(message.contains("no matching manifest for linux/s390x in the manifest list entries"), "{message}");
    env.docker(["pull", "--platform", "linux/arm64", &name]).ok();
    let second = env.inspect(&name, "{{.Id}}");
    assert_ne!(first, second);
    // The first one is beside it now, and whole: the name has it for its own machine. With the name both are gone.
    assert_eq!(env.docker(["run", "--rm", &first, "echo", "hi"]).ok(), "hi\n");
    assert_eq!(env.docker(["run", "--rm", "--platform", "linux/amd64", &name, "echo", "hi"]).ok(), "hi\n");
    assert_eq!(env.docker(["images", "-q", "--no-trunc"]).ok().trim(), second);
    env.docker(["image", "prune", "-f"]).ok();
    let all = env.get("/v1.54/images/json?manifests=1&identity=1").expect(200).json();
    let known: Vec<_> = all[0]["Manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["ImageData"]["Identity"]["Pull"][0]["Repository"])
        .collect();
    assert_eq!(known, [&serde_json::Value::from(registry.name("busybox")); 2]);
    let removed = env.docker(["rmi", &name]).ok();
    assert!(removed.contains(&first) && removed.contains(&second), "{removed}");
    assert_eq!(env.contents(), before);
    assert_eq!(fs::read_dir(env.data().join("images/blobs/sha256")).unwrap().count(), 0);
    env.get(&format!("/v1.51/distribution/{}/json", registry.name("nothing"))).expect(404);
}

#[test]
fn one_image_packed_in_two_ways_keeps_both() {
    let registry = Registry::start(Options::default());
    let packed = |name: &str, format: &str| {
        registry.push(fixtures::busybox(), name, &["--format", "oci", "--dest-compress-format", format])
    };
    let (gzip, zstd) = (packed("a:1", "gzip"), packed("b:1", "zstd"));
    assert_ne!(gzip, zstd);
    let env = Env::new();
    for name in ["a:1", "b:1"] {
        env.docker(["pull", &registry.name(name)]).ok();
    }
    let id = env.inspect(&registry.name("a:1"), "{{.Id}}");
    assert_eq!(env.inspect(&registry.name("b:1"), "{{.Id}}"), id, "one configuration");
    let digests = env.inspect(&id, "{{.RepoDigests}}");
    assert!(digests.contains(&format!("a@{gzip}")) && digests.contains(&format!("b@{zstd}")), "{digests}");
    env.docker(["rmi", &registry.name("a:1")]).ok();
    env.docker(["image", "prune", "-f"]).ok();
    // Every blob that the other one's manifest names is here, to the byte.
    let blob = |digest: &str| fs::read(env.data().join("images/blobs/sha256").join(&digest[7..])).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&blob(&zstd)).unwrap();
    for one in manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]) {
        let digest = one["digest"].as_str().unwrap();
        assert_eq!(format!("sha256:{}", fixtures::sha256(&blob(digest))), digest);
    }
    assert_eq!(env.docker(["run", "--rm", &registry.name("b:1"), "echo", "hi"]).ok(), "hi\n");
    // Pushed elsewhere, it is what it was: in the same registry, and in one that has none of it.
    let other = Registry::start(Options::default());
    for place in [&registry, &other] {
        env.docker(["tag", &registry.name("b:1"), &place.name("copy:1")]).ok();
        env.docker(["push", &place.name("copy:1")]).ok();
        assert_eq!(place.digest("copy:1"), zstd);
    }
}

#[test]
fn what_is_removed_meanwhile_takes_nothing_from_a_pull() {
    let registry = registries::with_busybox();
    let layers = [fixtures::busybox_layer(), fixtures::noise(600_000)];
    let archive = fixtures::docker_archive(&["larger:1"], fixtures::busybox_config(), &layers);
    let path = tempfile::NamedTempFile::new().unwrap();
    fs::write(path.path(), archive).unwrap();
    registry.push(path.path(), "larger:1", &[]);
    let proxy = Proxy::before(&registry);
    let env = Env::new();
    env.docker(["pull", &proxy.name("busybox")]).ok();
    let container = env.docker(["create", &proxy.name("busybox"), "true"]).ok();
    proxy.set(Faults { slow: Some((50_000, Duration::from_millis(100))), ..Faults::default() });
    let pull = env.docker_start(["pull", &proxy.name("larger:1")]);
    pull.out.wait_for("Already exists");
    eventually("the other layer comes", || !proxy.seen("GET /v2/larger/blobs/").is_empty());
    env.docker(["rm", container.trim()]).ok();
    env.docker(["rmi", &proxy.name("busybox")]).ok();
    env.docker(["image", "prune", "-af"]).ok();
    assert_eq!(env.docker(["images", "-aq"]).ok(), "");
    let text = pull.finish().ok();
    assert!(text.contains("Pull complete"), "{text}");
    assert_eq!(env.docker(["run", "--rm", &proxy.name("larger:1"), "wc", "-c", "/noise"]).ok(), "600000 /noise\n");
    let checked = env.pierless(["check", "--store"]);
    assert_eq!((checked.code, checked.out.lines().count()), (0, 1), "{checked:?}");
}

#[test]
fn a_killed_api_loses_nothing_of_a_pull() {
    let registry = registries::with_busybox();
    let proxy = Proxy::before(&registry);
    let mut env = Env::new();
    proxy.set(Faults { slow: Some((50_000, Duration::from_millis(50))), ..Faults::default() });
    let name = proxy.name("busybox");
    let client = env.docker_start(["pull", &name]);
    let partial = env.data().join("images/partial");
    let size =
        || fs::read_dir(&partial).into_iter().flatten().flatten().map(|e| e.metadata().unwrap().len()).sum::<u64>();
    eventually("some of it is here", || size() > 100_000);
    env.kill_server();
    client.finish();
    env.serve();
    proxy.set(Faults::default());
    env.docker(["pull", &name]).ok();
    assert_eq!(proxy.seen("bytes=").len(), 1, "{:?}", proxy.seen(""));
    assert_eq!(env.docker(["run", "--rm", &name, "echo", "hi"]).ok(), "hi\n");
    assert_eq!(fs::read_dir(env.data().join("images/tmp")).unwrap().flatten().filter(|e| e.path().is_dir()).count(), 0);
}

#[test]
fn our_own_run_pulls_what_is_missing() {
    let registry = registries::with_busybox();
    let proxy = Proxy::before(&registry);
    let env = Env::new();
    let name = proxy.name("busybox");
    let run = |pull: &str| env.pierless(["run", "--rm", pull, &name, "echo", "hi"]);
    let refused = run("--pull=never");
    assert!(refused.code == 125 && refused.err.contains("No such image"), "{refused:?}");
    let first = run("--pull=missing");
    assert!(first.err.contains(&format!("Unable to find image '{name}:latest' locally")), "{first:?}");
    assert_eq!(first.ok(), "hi\n");
    proxy.set(Faults::default());
    assert_eq!((run("--pull=missing").ok().as_str(), proxy.seen("").len()), ("hi\n", 0));
    let again = run("--pull=always");
    assert!(again.err.contains("was here already"), "{again:?}");
    assert_eq!((again.ok().as_str(), proxy.seen("/manifests/").len()), ("hi\n", 1));
    let missing = env.pierless(["run", "--rm", &proxy.name("nothing"), "true"]);
    assert!(missing.code == 125 && missing.err.contains("not found"), "{missing:?}");
    let other = env.pierless(["run", "--rm", "--platform", "arm64", "--pull", "never", &name, "true"]);
    assert!(other.code == 125 && other.err.contains("linux/arm64"), "{other:?}");
}
