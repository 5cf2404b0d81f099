//! Pushing images: to a real registry, by docker's command line and ours, and through a proxy that misbehaves.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use super::fixtures;
use super::harness::Env;
use super::process::eventually;
use super::raw;
use super::registries::{self, Faults, Options, PASSWORD, Proxy, Registry, USER};

/// What a push tells a program.
fn lines(env: &Env, name: &str, query: &str) -> Vec<Value> {
    let path = format!("/v1.51/images/{name}/push?{query}");
    let answer = raw::request(&env.socket(), "POST", &path, "", b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    let text = String::from_utf8(answer.body).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// How a push that fails in its stream says so.
fn refused(env: &Env, name: &str, query: &str) -> String {
    let all = lines(env, name, query);
    all.last().unwrap()["errorDetail"]["message"].as_str().expect("an error").to_owned()
}

/// An environment with busybox as its registry has it, and that under another name in the same registry.
fn pulled(registry: &Proxy, copy: &str) -> (Env, String) {
    let env = Env::new();
    env.docker(["pull", &registry.name("busybox")]).ok();
    let copy = registry.name(copy);
    env.docker(["tag", &registry.name("busybox"), &copy]).ok();
    (env, copy)
}

#[test]
fn what_was_pulled_is_pushed_to_the_byte() {
    let registry = registries::with_busybox();
    let proxy = Proxy::before(&registry);
    let (env, copy) = pulled(&proxy, "copies/busybox:1");
    proxy.set(Faults::default());
    let text = env.docker(["push", &copy]).ok();
    let digest = registry.digest("busybox:latest");
    assert_eq!(registry.digest("copies/busybox:1"), digest);
    let repository = proxy.name("copies/busybox");
    for part in [
        format!("The push refers to repository [{repository}]"),
        "Mounted from busybox".to_owned(),
        format!("1: digest: {digest} size: "),
    ] {
        assert!(text.contains(&part), "no {part:?} in {text}");
    }
    assert_eq!(proxy.seen("PATCH"), Vec::<String>::new(), "nothing has to be sent");
    assert!(env.inspect(&copy, "{{.RepoDigests}}").contains(&format!("{repository}@{digest}")));
    let events = env.past_events(&serde_json::json!({"event": ["push"]}));
    assert_eq!(events.last().unwrap()["Actor"]["ID"], copy);
    // All is there by now.
    proxy.set(Faults::default());
    let text = env.docker(["push", &copy]).ok();
    assert!(text.contains("Layer already exists"), "{text}");
    for method in ["POST", "PATCH", "PUT"] {
        assert_eq!(proxy.seen(method), Vec::<String>::new(), "{method}");
    }
    let all = lines(&env, &repository, "tag=1");
    let aux = &all.last().unwrap()["aux"];
    assert_eq!((&aux["Tag"], &aux["Digest"]), (&"1".into(), &digest.as_str().into()));
    assert!(aux["Size"].as_u64().is_some_and(|size| size > 100), "{aux}");
    assert_eq!(all[1]["status"], "Preparing");
}

#[test]
fn what_was_loaded_is_pushed_as_it_came() {
    let registry = Registry::start(Options::default());
    let proxy = Proxy::before(&registry);
    let env = Env::with_busybox();
    let name = proxy.name("loaded:1");
    env.docker(["tag", "busybox", &name]).ok();
    let id = env.inspect(&name, "{{.Id}}");
    let text = env.docker(["push", &name]).ok();
    assert!(text.contains(": Pushed"), "{text}");
    let digest = registry.digest("loaded:1");
    assert!(text.contains(&digest), "{text}");
    assert_eq!(env.inspect(&name, "{{.Descriptor.Digest}}"), digest);
    proxy.set(Faults::default());
    env.pierless(["push", &name]).ok();
    assert_eq!(proxy.seen("POST"), Vec::<String>::new());
    let other = Env::new();
    other.docker(["pull", &name]).ok();
    assert_eq!(other.inspect(&name, "{{.Id}}"), id);
    assert_eq!(other.docker(["run", "--rm", &name, "echo", "hi"]).ok(), "hi\n");
    // The same image makes the same manifest anywhere.
    let again = Env::with_busybox();
    again.docker(["tag", "busybox", &proxy.name("again:1")]).ok();
    assert_eq!(again.pierless(["push", "-q", &proxy.name("again:1")]).ok().trim(), digest);
    // What nobody needs any more goes, the manifest too.
    again.docker(["rmi", "-f", &id]).ok();
    assert_eq!(fs::read_dir(again.data().join("images/blobs/sha256")).unwrap().count(), 0);
}

/// No manifest can name xz and bzip2, and few readers know them.
#[test]
fn layers_that_are_packed_in_odd_ways_are_pushed_for_all_readers() {
    let registry = Registry::start(Options::default());
    let layers = [fixtures::busybox_layer(), fixtures::Tar::default().file("more", 0o644, "more").bytes()];
    let digests: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", fixtures::sha256(layer))).collect();
    let mut made = Vec::new();
    for program in ["xz", "bzip2"] {
        let env = Env::new();
        let name = registry.name(&format!("odd:{program}"));
        let pack = |layer: &[u8]| super::images::through(program, layer);
        let archive = fixtures::docker_archive_of(&[&name], fixtures::busybox_config(), &layers, pack);
        let path = env.base().join("archive");
        fs::write(&path, archive).unwrap();
        // The second time all is here.
        for _ in 0..2 {
            env.docker(["load", "-q", "-i", path.to_str().unwrap()]).ok();
        }
        env.docker(["push", "-q", &name]).ok();
        let manifest: Value = serde_json::from_str(&registry.raw(&format!("odd:{program}"))).unwrap();
        for (layer, digest) in manifest["layers"].as_array().unwrap().iter().zip(&digests) {
            assert_eq!(layer["mediaType"], "application/vnd.oci.image.layer.v1.tar");
            assert_eq!(layer["digest"], digest.as_str());
        }
        made.push(manifest);
        // An import is packed by its maker, too.
        fs::write(&path, pack(&layers[1])).unwrap();
        let name = registry.name(&format!("odd:import-{program}"));
        env.docker(["import", path.to_str().unwrap(), &name]).ok();
        env.docker(["push", "-q", &name]).ok();
        let manifest: Value = serde_json::from_str(&registry.raw(&format!("odd:import-{program}"))).unwrap();
        assert_eq!(manifest["layers"][0]["digest"], digests[1].as_str());
        super::store_check::is_sound(&env);
    }
    assert_eq!(made[0], made[1], "the same image makes the same manifest");
}

#[test]
fn what_is_not_here_is_told_before_anything_is_sent() {
    let registry = registries::with_busybox();
    let proxy = Proxy::before(&registry);
    let (env, copy) = pulled(&proxy, "copy:1");
    let missing = proxy.name("nothing");
    assert_eq!(refused(&env, &missing, "tag=x"), format!("An image does not exist locally with the tag: {missing}"));
    assert_eq!(refused(&env, &missing, ""), format!("An image does not exist locally with the tag: {missing}"));
    let other = proxy.name("copy");
    assert_eq!(refused(&env, &other, "tag=2"), format!("tag does not exist: {other}:2"));
    assert!(env.docker(["push", &format!("{other}:2")]).fails(1).contains("tag does not exist"));
    let bad = raw::request(&env.socket(), "POST", "/v1.51/images/Upper/push", "", b"");
    assert_eq!(bad.status, 400);
    let platform = "tag=1&platform=%7B%22os%22%3A%22linux%22%2C%22architecture%22%3A%22s390x%22%7D";
    let message = refused(&env, &other, platform);
    assert!(message.contains("does not provide the specified platform (linux/s390x)"), "{message}");
    let layers = env.data().join("images/blobs/sha256");
    let largest = fs::read_dir(layers).unwrap().flatten().max_by_key(|blob| blob.metadata().unwrap().len()).unwrap();
    fs::remove_file(largest.path()).unwrap();
    proxy.set(Faults::default());
    let message = env.docker(["push", &copy]).fails(1);
    assert!(message.contains(largest.file_name().to_str().unwrap()), "{message}");
    assert_eq!(proxy.seen(""), Vec::<String>::new());
}

#[test]
fn all_tags_are_pushed() {
    let registry = registries::with_busybox();
    let proxy = Proxy::before(&registry);
    let (env, copy) = pulled(&proxy, "many:1");
    env.docker(["tag", &copy, &proxy.name("many:2")]).ok();
    let text = env.docker(["push", "-a", &proxy.name("many")]).ok();
    assert!(text.contains("1: digest: ") && text.contains("2: digest: "), "{text}");
    assert_eq!(registry.digest("many:1"), registry.digest("many:2"));
}

#[test]
fn an_index_is_pushed_if_all_of_it_is_here() {
    let (registry, index) = registries::with_index();
    let (name, index) = (registry.name("busybox:index"), format!("sha256:{}", fixtures::sha256(index.as_bytes())));
    let manifests = [registry.digest("busybox:latest"), registry.digest("busybox:other")];
    let env = Env::new();
    env.docker(["pull", "--platform", "linux/amd64", &name]).ok();
    let copy = registry.name("copy:1");
    env.docker(["tag", &name, &copy]).ok();
    let all = lines(&env, &copy, "");
    let instead = all.iter().find_map(|line| line.get("aux").filter(|aux| aux["originalIndex"].is_object()));
    let instead = instead.expect("told that it is not the index");
    assert_eq!(instead["manifestPushedInsteadOfIndex"], true);
    assert_eq!(
        (&instead["originalIndex"]["digest"], &instead["selectedManifest"]["digest"]),
        (&index.as_str().into(), &manifests[0].as_str().into())
    );
    assert_eq!(registry.digest("copy:1"), manifests[0]);
    // Now the other one, too.
    env.docker(["pull", "--platform", "linux/arm64", &name]).ok();
    env.docker(["tag", &name, &copy]).ok();
    let text = env.docker(["push", &copy]).ok();
    assert!(text.contains(&format!("1: digest: {index}")), "{text}");
    assert_eq!(registry.digest("copy:1"), index);
    let platform = "platform=%7B%22os%22%3A%22linux%22%2C%22architecture%22%3A%22arm64%22%7D";
    let all = lines(&env, &copy, platform);
    assert_eq!(all.last().unwrap()["aux"]["Digest"], manifests[1].as_str());
}

#[test]
fn what_breaks_off_is_sent_again() {
    let registry = Registry::start(Options::default());
    let proxy = Proxy::before(&registry);
    let env = Env::with_busybox();
    let name = proxy.name("cut:1");
    env.docker(["tag", "busybox", &name]).ok();
    proxy.set(Faults { cut_upload: 2, ..Faults::default() });
    let text = env.docker(["push", &name]).ok();
    assert!(text.contains("Retrying in 1 second"), "{text}");
    let digest = registry.digest("cut:1");
    let name = proxy.name("unsteady:1");
    env.docker(["tag", "busybox", &name]).ok();
    proxy.set(Faults { refuse: 2, status: 503, ..Faults::default() });
    env.docker(["push", &name]).ok();
    assert_eq!(registry.digest("unsteady:1"), digest);
    proxy.set(Faults { refuse: 1000, status: 403, ..Faults::default() });
    let message = env.docker(["push", &name]).fails(1);
    assert!(message.contains("toomanyrequests: in the registry's own words"), "{message}");
}

#[test]
fn what_breaks_off_is_gone_on_with_where_the_registry_kept_it() {
    let registry = Registry::start(Options::default());
    let proxy = Proxy::before(&registry);
    let env = Env::with_busybox();
    let name = |tag: &str| proxy.name(&format!("kept:{tag}"));
    env.docker(["tag", "busybox", &name("1")]).ok();
    proxy.set(Faults { cut_upload: 1, kept: Some(Vec::new()), ..Faults::default() });
    env.docker(["push", &name("1")]).ok();
    let half = proxy.faults.lock().unwrap().kept.clone().unwrap().len();
    assert!(half > 100_000, "{half}");
    let ranges: Vec<_> = proxy.seen("PATCH").into_iter().filter(|line| line.contains("content-range: ")).collect();
    assert!(ranges.len() == 1 && ranges[0].contains(&format!("content-range: {half}-")), "{:?}", proxy.seen(""));
    // Whole, by who checks it.
    let digest = registry.digest("kept:1");
    let other = Env::new();
    other.docker(["pull", "-q", &registry.name("kept:1")]).ok();
    assert_eq!(
        other.docker(["run", "--rm", "--network=none", &registry.name("kept:1"), "echo", "whole"]).ok(),
        "whole\n"
    );
    // One that tells of more than there can be is begun anew; one that tells of what it has not got is found out by its
    // digest, and the next push is whole.
    for (tag, claims) in [("2", 1 << 40), ("3", half - 1000)] {
        let fresh = Registry::start(Options::default());
        let proxy = Proxy::before(&fresh);
        let name = proxy.name(&format!("kept:{tag}"));
        env.docker(["tag", "busybox", &name]).ok();
        proxy.set(Faults { cut_upload: 1, kept: Some(Vec::new()), claims: Some(claims), ..Faults::default() });
        let pushed = env.docker(["push", &name]);
        if claims > half {
            assert_eq!(pushed.code, 0, "{pushed:?}");
        } else {
            assert!(pushed.fails(1).contains("digest"), "its own words");
            proxy.set(Faults::default());
            env.docker(["push", &name]).ok();
        }
        assert_eq!(fresh.digest(&format!("kept:{tag}")), digest);
    }
}

#[test]
fn tokens_to_push_are_fetched_and_renewed_in_the_middle() {
    let registry = registries::with_busybox();
    let proxy = Proxy::before(&registry);
    let (env, copy) = pulled(&proxy, "copy:1");
    let server = format!("127.0.0.1:{}", proxy.port);
    proxy.set(Faults { token_uses: Some(2), ..Faults::default() });
    let message = env.docker(["push", &copy]).fails(1);
    assert!(message.contains("unauthorized") || message.contains("did not include a token"), "{message}");
    env.docker(["login", "-u", USER, "-p", PASSWORD, &server]).ok();
    proxy.set(Faults { token_uses: Some(2), ..Faults::default() });
    env.docker(["push", &copy]).ok();
    assert!(proxy.seen("/token").len() >= 3, "{:?}", proxy.seen(""));
    let first = &proxy.seen("/token")[0];
    for scope in ["scope=repository%3Acopy%3Apull%2Cpush", "scope=repository%3Abusybox%3Apull"] {
        assert!(first.contains(scope), "{first}");
    }
    assert_eq!(registry.digest("copy:1"), registry.digest("busybox:latest"));
    // One that wears out while a slow blob is on its way.
    let env = Env::with_busybox();
    let slow = proxy.name("slow:1");
    env.docker(["tag", "busybox", &slow]).ok();
    env.docker(["login", "-u", USER, "-p", PASSWORD, &server]).ok();
    let pace = Some((200_000, Duration::from_millis(150)));
    let lives = Some(Duration::from_millis(600));
    proxy.set(Faults { token_uses: Some(1000), token_lives: lives, slow: pace, ..Faults::default() });
    env.docker(["push", &slow]).ok();
    assert!(proxy.seen("/token").len() >= 2, "{:?}", proxy.seen(""));
}

#[test]
fn basic_proof_is_enough_for_a_push() {
    let registry = Registry::start(Options { basic: true, ..Options::default() });
    let env = Env::with_busybox();
    let name = registry.name("secret:1");
    env.docker(["tag", "busybox", &name]).ok();
    let message = env.docker(["push", &name]).fails(1);
    assert!(message.contains("unauthorized: authentication required"), "{message}");
    env.docker(["login", "-u", USER, "-p", PASSWORD, &format!("127.0.0.1:{}", registry.port)]).ok();
    env.docker(["push", &name]).ok();
    env.pierless(["push", &name]).ok();
}

#[test]
fn a_client_that_leaves_ends_its_push_and_the_next_finishes_it() {
    let registry = Registry::start(Options::default());
    let proxy = Proxy::before(&registry);
    let env = Env::with_busybox();
    let name = proxy.name("left:1");
    env.docker(["tag", "busybox", &name]).ok();
    proxy.set(Faults { slow: Some((20_000, Duration::from_millis(50))), ..Faults::default() });
    let mut client = env.docker_start(["push", &name]);
    eventually("some of it is sent", || !proxy.seen("PATCH").is_empty());
    client.kill();
    proxy.faults.lock().unwrap().slow = None;
    env.docker(["push", &name]).ok();
    assert_eq!(env.pierless(["push", "-q", &name]).ok().trim(), registry.digest("left:1"));
}
