//! Archives: what is saved can be loaded, here and by others, and stays the same to the byte.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::fixtures::{self, Tar, busybox_config, busybox_layer};
use super::harness::Env;
use super::process::{Output, run};
use super::registries::{self, Options, Registry};

/// `docker save` of these into a file of the test's.
fn save(env: &Env, file: &str, names: &[&str]) -> PathBuf {
    let path = env.base().join(file);
    let mut arguments = vec!["save", "-o", path.to_str().unwrap()];
    arguments.extend(names);
    env.docker(arguments).ok();
    path
}

fn skopeo<'a>(arguments: impl AsRef<[&'a str]>) -> Output {
    run(Command::new("skopeo").arg("--insecure-policy").args(arguments.as_ref()))
}

/// A file of an archive, as JSON.
fn member(archive: &Path, name: &str) -> Value {
    let output = Command::new("tar").args(["-xOf"]).arg(archive).arg(name).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{name}: {error}: {output:?}"))
}

fn load(env: &Env, archive: &Path) -> String {
    env.docker(["load", "-i", archive.to_str().unwrap()]).ok()
}

/// What people and registries call an image.
fn facts(env: &Env, name: &str) -> String {
    env.inspect(name, "{{.Id}} {{.RepoTags}} {{.RepoDigests}} {{json .RootFS}}")
}

#[test]
fn what_was_pulled_comes_back_with_its_digests() {
    let registry = registries::with_busybox();
    let env = Env::new();
    let name = registry.name("busybox:latest");
    env.docker(["pull", "-q", &name]).ok();
    let archive = save(&env, "one.tar", &[&name]);
    let digest = registry.digest("busybox:latest");
    // A foreign reader of both families.
    let oci = format!("oci-archive:{}", archive.display());
    assert_eq!(skopeo(["inspect", "--format", "{{.Digest}}", &oci]).ok().trim(), digest);
    let dir = env.base().join("dir");
    skopeo(["copy", "-q", &format!("docker-archive:{}", archive.display()), &format!("dir:{}", dir.display())]).ok();
    let other = Registry::start(Options::default());
    let to = format!("docker://{}", other.name("back:1"));
    skopeo(["copy", "-q", "--preserve-digests", "--dest-tls-verify=false", &oci, &to]).ok();
    assert_eq!(other.digest("back:1"), digest);
    // Our own.
    let second = Env::new();
    assert_eq!(load(&second, &archive), format!("Loaded image: {name}\n"));
    assert_eq!(facts(&second, &name), facts(&env, &name));
    assert_eq!(fs::read(save(&second, "two.tar", &[&name])).unwrap(), fs::read(&archive).unwrap());
    assert_eq!(second.docker(["run", "--rm", &name, "echo", "hi"]).ok(), "hi\n");
    let events = env.past_events(&json!({"event": ["save"]}));
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["Actor"]["ID"], env.inspect(&name, "{{.Id}}").as_str());
}

#[test]
fn an_index_is_kept_with_what_is_here_of_it() {
    let (registry, index) = registries::with_index();
    let digest = format!("sha256:{}", fixtures::sha256(index.as_bytes()));
    let env = Env::new();
    let name = registry.name("busybox:index");
    env.docker(["pull", "-q", &name]).ok();
    let archive = save(&env, "one.tar", &[&name]);
    assert_eq!(member(&archive, "index.json")["manifests"][0]["digest"], digest.as_str());
    let listed = Command::new("tar").arg("-tf").arg(&archive).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    // Its manifest, its configuration, its layer, and the index.
    assert_eq!(listed.lines().filter(|line| line.len() > 64).count(), 4, "{listed}");
    let second = Env::new();
    load(&second, &archive);
    assert_eq!(second.inspect(&name, "{{.RepoDigests}}"), format!("[{}@{digest}]", registry.name("busybox")));
    assert_eq!(facts(&second, &name), facts(&env, &name));
    let oci = format!("oci-archive:{}", archive.display());
    assert_eq!(skopeo(["inspect", "--format", "{{.Digest}}", &oci]).ok().trim(), digest);
    let other = Registry::start(Options::default());
    let to = format!("docker://{}", other.name("back:1"));
    skopeo(["copy", "-q", "--preserve-digests", "--dest-tls-verify=false", &oci, &to]).ok();
    let manifest = registry.digest("busybox:latest");
    assert_eq!(other.digest("back:1"), manifest);
    // For one machine its manifest is meant, not the index.
    let amd64 = env.base().join("amd64.tar");
    let platform = "%7B%22os%22:%22linux%22,%22architecture%22:%22amd64%22%7D";
    let reply = env.get(&format!("/v1.51/images/{name}/get?platform={platform}")).expect(200);
    assert_eq!(reply.header("content-type"), Some("application/x-tar"));
    fs::write(&amd64, reply.body).unwrap();
    assert_eq!(member(&amd64, "index.json")["manifests"][0]["digest"], manifest.as_str());
    let other = platform.replace("amd64", "s390x");
    let message = env.get(&format!("/v1.51/images/{name}/get?platform={other}")).expect(404).message();
    assert_eq!(
        message,
        format!("image with reference {name} was found but does not provide the specified platform (linux/s390x)")
    );
    let several = format!("platform={platform}&platform={other}");
    env.get(&format!("/v1.51/images/{name}/get?{several}")).expect(400);
    env.get(&format!("/v1.52/images/{name}/get?{several}")).expect(200);
    env.get(&format!("/v1.51/images/{name}/get?platform=%7B%22os%22:%22linux%22%7D")).expect(400);
}

#[test]
fn many_images_share_one_archive_and_those_without_a_manifest_get_one() {
    let env = Env::with_busybox();
    let second = fixtures::docker_archive(
        &["other:2"],
        busybox_config(),
        &[busybox_layer(), Tar::default().file("a", 0o644, "b").bytes()],
    );
    let path = env.base().join("second.tar");
    fs::write(&path, second).unwrap();
    load(&env, &path);
    env.docker(["tag", "busybox", "busybox:again"]).ok();
    let (busybox, other) = (env.inspect("busybox", "{{.Id}}"), env.inspect("other:2", "{{.Id}}"));
    let archive = save(&env, "one.tar", &["busybox:latest", "other:2", "busybox:again"]);
    // Whatever their order, and again: the same bytes. A name without a tag means all tags.
    for (file, names) in
        [("two.tar", vec!["other:2", "busybox:again", "busybox:latest"]), ("three.tar", vec!["busybox", "other:2"])]
    {
        assert!(fs::read(save(&env, file, &names)).unwrap() == fs::read(&archive).unwrap(), "{names:?}");
    }
    let entries = member(&archive, "manifest.json");
    assert_eq!(entries[0]["RepoTags"], json!(["busybox:again", "busybox:latest"]));
    assert_eq!(entries[1]["RepoTags"], json!(["other:2"]));
    assert_eq!(entries.as_array().unwrap().len(), 2);
    let oci = format!("oci-archive:{}:2", archive.display());
    let docker = format!("docker-archive:{}:other:2", archive.display());
    for source in [&oci, &docker] {
        let config: Value = serde_json::from_str(&skopeo(["inspect", "--config", "--raw", source]).ok()).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 2, "{source}");
    }
    let by_id = save(&env, "id.tar", &[&busybox[7..19]]);
    assert_eq!(member(&by_id, "manifest.json")[0]["RepoTags"], Value::Null);
    let fresh = Env::new();
    let mut said: Vec<String> = load(&fresh, &archive).lines().map(str::to_owned).collect();
    said.sort();
    assert_eq!(said, ["Loaded image: busybox:again", "Loaded image: busybox:latest", "Loaded image: other:2"]);
    assert_eq!([fresh.inspect("busybox", "{{.Id}}"), fresh.inspect("other:2", "{{.Id}}")], [busybox.clone(), other]);
    assert!(fs::read(save(&fresh, "again.tar", &["other:2", "busybox"])).unwrap() == fs::read(&archive).unwrap());
    let nameless = Env::new();
    assert_eq!(load(&nameless, &by_id), format!("Loaded image ID: {busybox}\n"));
}

#[test]
fn what_cannot_be_saved_is_told_before_a_byte() {
    let env = Env::with_busybox();
    let file = env.base().join("none.tar");
    for names in [vec!["nothing"], vec!["busybox", "nothing"]] {
        let mut arguments = vec!["save", "-o", file.to_str().unwrap()];
        arguments.extend(&names);
        let message = env.docker(&arguments[..]).fails(1);
        assert!(message.contains("No such image: nothing:latest"), "{message}");
        assert!(!file.exists());
        let message = env.pierless(&arguments[..]).fails(1);
        assert!(message.contains("No such image: nothing:latest"), "{message}");
        assert!(!file.exists());
    }
    env.get("/v1.51/images/get").expect(400);
    assert_eq!(env.get("/v1.51/images/busybox:no/get").expect(404).message(), "No such image: busybox:no");
    // A byte of a layer is wrong: what came of it is no archive.
    let blobs = env.data().join("images/blobs/sha256");
    let largest = fs::read_dir(&blobs).unwrap().flatten().max_by_key(|entry| entry.metadata().unwrap().len()).unwrap();
    let good = fs::read(largest.path()).unwrap();
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    fs::write(largest.path(), &bad).unwrap();
    let output = env.docker(["save", "-o", file.to_str().unwrap(), "busybox"]);
    assert_ne!(output.code, 0, "{output:?}");
    fs::write(&file, "mine").unwrap();
    let message = env.pierless(["save", "-o", file.to_str().unwrap(), "busybox"]).fails(1);
    assert!(message.contains("is missing or damaged"), "{message}");
    assert_eq!(fs::read(&file).unwrap(), b"mine");
    // Too short, or gone.
    fs::write(largest.path(), &bad[1..]).unwrap();
    assert!(env.get("/v1.51/images/busybox/get").expect(500).message().contains("is missing or damaged"));
    fs::remove_file(largest.path()).unwrap();
    env.get("/v1.51/images/busybox/get").expect(500);
    fs::write(largest.path(), good).unwrap();
    env.pierless(["save", "-o", file.to_str().unwrap(), "busybox"]).ok();
    let piped =
        run(env.command("sh").args(["-c", "bin/pierless save busybox | cmp - none.tar"]).current_dir(env.base()));
    piped.ok();
    let entries = fs::read_dir(env.base())
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().contains(".none"));
    assert_eq!(entries.count(), 0, "nothing half made is left");
}

#[test]
fn an_image_that_is_removed_while_it_is_saved_is_saved_whole() {
    let env = Env::with_busybox();
    let script = "bin/pierless save busybox | (dd bs=512 count=1 status=none; touch begun; until [ -e go ]; do sleep 0.05; done; cat) >slow.tar";
    let saving = super::process::Process::start(env.command("sh").args(["-c", script]).current_dir(env.base()));
    super::process::eventually("it saves", || env.base().join("begun").exists());
    env.docker(["rmi", "busybox"]).ok();
    fs::write(env.base().join("go"), "").unwrap();
    saving.finish().ok();
    assert_eq!(load(&env, &env.base().join("slow.tar")), "Loaded image: busybox:latest\n");
}

/// A layout for two machines, each with a layer of its own.
fn for_two_machines(name: &str) -> Vec<u8> {
    let mut blobs: Vec<Vec<u8>> = Vec::new();
    let mut put = |bytes: Vec<u8>| {
        let descriptor = json!({"digest": format!("sha256:{}", fixtures::sha256(&bytes)), "size": bytes.len()});
        blobs.push(bytes);
        descriptor
    };
    let of = |kind: &str, mut descriptor: Value| {
        descriptor["mediaType"] = format!("application/vnd.oci.image.{kind}").into();
        descriptor
    };
    let mut members = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let layer = Tar::default().file("machine", 0o644, architecture).bytes();
        let diff_id = format!("sha256:{}", fixtures::sha256(&layer));
        let config = json!({"architecture": architecture, "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [diff_id]}, "history": [{"created_by": "test"}]});
        let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": of("config.v1+json", put(config.to_string().into_bytes())),
            "layers": [of("layer.v1.tar", put(layer))]});
        let mut member = of("manifest.v1+json", put(manifest.to_string().into_bytes()));
        member["platform"] = json!({"os": "linux", "architecture": architecture});
        members.push(member);
    }
    let index =
        json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": members});
    let mut top = of("index.v1+json", put(index.to_string().into_bytes()));
    top["annotations"] = json!({"io.containerd.image.name": name});
    let layout = json!({"schemaVersion": 2, "manifests": [top]}).to_string();
    let mut tar =
        Tar::default().file("oci-layout", 0o644, r#"{"imageLayoutVersion":"1.0.0"}"#).file("index.json", 0o644, layout);
    for blob in blobs {
        tar = tar.file(&format!("blobs/sha256/{}", fixtures::sha256(&blob)), 0o644, blob);
    }
    tar.bytes()
}

#[test]
fn of_several_machines_those_asked_for_are_loaded_and_saved() {
    let archive = for_two_machines("docker.io/library/two:1");
    let env = Env::new();
    let path = env.base().join("two.tar");
    fs::write(&path, &archive).unwrap();
    let input = path.to_str().unwrap();
    assert!(env.pierless(["load", "-i", input]).ok().contains("Loaded image: two:1"));
    assert_eq!(env.inspect("two:1", "{{.Architecture}}"), "amd64");
    let message = env.docker(["load", "--platform", "linux/s390x", "-i", input]).fails(1);
    assert!(message.contains("does not provide the specified platform (linux/s390x)"), "{message}");
    let other = Env::new();
    other.docker(["load", "--platform", "linux/arm64", "-i", input]).ok();
    assert_eq!(other.inspect("two:1", "{{.Architecture}}"), "arm64");
    assert_eq!(other.inspect("two:1", "{{.RepoDigests}}"), env.inspect("two:1", "{{.RepoDigests}}"));
    // Both, which share the one name; saved, they are what came.
    let both = Env::new();
    let said = both.pierless(["load", "--platform", "linux/arm64", "--platform", "linux/amd64", "-i", input]).ok();
    assert_eq!(said, "Loaded image: two:1\n");
    assert_eq!(both.inspect("two:1", "{{.Architecture}}"), "amd64");
    let saved = save(&both, "saved.tar", &["two:1"]);
    let digests = |path: &Path| {
        let listed = Command::new("tar").arg("-tf").arg(path).output().unwrap();
        let mut all: Vec<String> = String::from_utf8(listed.stdout)
            .unwrap()
            .lines()
            .filter(|line| line.len() > 64)
            .map(str::to_owned)
            .collect();
        all.sort();
        all
    };
    assert_eq!(digests(&saved), digests(&path));
    let list = both.get("/v1.51/images/json?manifests=1").expect(200).json();
    assert_eq!(list.as_array().unwrap().len(), 1, "one name, one image: {list}");
    let machine = |one: &Value| format!("{} {}", one["ImageData"]["Platform"]["architecture"], one["Available"]);
    let machines: Vec<String> = list[0]["Manifests"].as_array().unwrap().iter().map(machine).collect();
    assert_eq!(machines, ["\"amd64\" true", "\"arm64\" true"]);
    assert_eq!(both.get("/v1.46/images/json?manifests=1").expect(200).json()[0].get("Manifests"), None);
    both.get("/v1.54/images/json?identity=1").expect(400);
    let partly = env.get("/v1.51/images/two:1/json?manifests=1").expect(200).json();
    assert_eq!(
        partly["Manifests"].as_array().unwrap().iter().map(machine).collect::<Vec<_>>(),
        ["\"amd64\" true", "\"arm64\" false"]
    );
    let arm64 = "%7B%22os%22:%22linux%22,%22architecture%22:%22arm64%22%7D";
    let of = |env: &Env, path: &str| env.get(path).expect(200).json();
    let inspected = of(&both, &format!("/v1.51/images/two:1/json?platform={arm64}"));
    assert_eq!((&inspected["Architecture"], &inspected["RepoTags"][0]), (&json!("arm64"), &json!("two:1")));
    assert_eq!(of(&both, &format!("/v1.51/images/two:1/history?platform={arm64}"))[0]["Id"], inspected["Id"]);
    env.get(&format!("/v1.51/images/two:1/json?platform={arm64}")).expect(404);
    let tree = both.docker(["images", "--tree"]).ok();
    assert!(tree.contains("two:1") && tree.contains("linux/amd64") && tree.contains("linux/arm64"), "{tree}");
    // One machine's image can be removed; the name means the other then, and goes with it.
    let amd64 = arm64.replace("arm64", "amd64");
    both.delete(&format!("/v1.51/images/two:1?platforms={amd64}")).expect(400);
    let id = both.inspect("two:1", "{{.Id}}");
    let removed = both.delete(&format!("/v1.51/images/two:1?force=1&platforms={amd64}")).expect(200).json();
    assert_eq!(removed[0], json!({"Deleted": id}));
    assert_eq!(both.inspect("two:1", "{{.Architecture}}"), "arm64");
    let removed = both.delete(&format!("/v1.51/images/two:1?force=1&platforms={arm64}")).expect(200).json();
    assert_eq!(removed[0], json!({"Untagged": "two:1"}));
    assert!(both.contents().is_empty());
    // A single image is checked, too.
    let single = fixtures::busybox().to_str().unwrap();
    let message = env.docker(["load", "--platform", "linux/arm64", "-i", single]).fails(1);
    assert!(message.contains("does not provide the specified platform (linux/arm64)"), "{message}");
    env.docker(["load", "--platform", "linux/amd64", "-i", single]).ok();
}

#[test]
fn layers_that_are_links_to_others_load() {
    // Old `docker save` wrote a layer that several images have once, and links to it.
    let layer = busybox_layer();
    let diff_id = format!("sha256:{}", fixtures::sha256(&layer));
    let config = |number: u32| {
        json!({"architecture": "amd64", "os": "linux", "author": format!("{number}"), "config": busybox_config(),
            "rootfs": {"type": "layers", "diff_ids": [diff_id]}, "history": [{"created_by": "test"}]})
        .to_string()
    };
    let entry = |number: u32| json!({"Config": format!("{number}.json"), "RepoTags": [format!("linked:{number}")], "Layers": [format!("{number}/layer.tar")]});
    let archive = Tar::default()
        .file("1.json", 0o644, config(1))
        .file("2.json", 0o644, config(2))
        .file("3.json", 0o644, config(3))
        .file("1/layer.tar", 0o644, &layer)
        .link("2/layer.tar", "../1/layer.tar")
        .hard_link("3/layer.tar", "1/layer.tar")
        .file("manifest.json", 0o644, json!([entry(1), entry(2), entry(3)]).to_string())
        .bytes();
    let env = Env::new();
    let path = env.base().join("linked.tar");
    fs::write(&path, archive).unwrap();
    assert_eq!(load(&env, &path), "Loaded image: linked:1\nLoaded image: linked:2\nLoaded image: linked:3\n");
    for number in 1..=3 {
        assert_eq!(env.docker(["run", "--rm", &format!("linked:{number}"), "echo", "hi"]).ok(), "hi\n");
    }
    assert_eq!(fs::read_dir(env.data().join("images/layers")).unwrap().count(), 1);
}
