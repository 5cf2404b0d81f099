//! Images: load, list, inspect, history, tag, remove, import.

use std::io::{Read, Write};
use std::process::Command;

use serde_json::json;

use super::fixtures::{self, Tar, busybox_config, busybox_layer, docker_archive};
use super::harness::Env;
use super::process::{Output, Process};

/// `docker load` of these bytes through stdin.
fn load(env: &Env, archive: &[u8]) -> Output {
    let mut docker = env.docker_start(["load"]);
    // A server that refuses early closes: that is the reply's matter.
    let _ = docker.stdin.as_mut().unwrap().write_all(archive);
    docker.finish()
}

pub fn through(program: &str, bytes: &[u8]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    std::fs::write(&path, bytes).unwrap();
    Command::new(program).arg("-c").arg(&path).output().unwrap().stdout
}

#[test]
fn load_says_what_it_loaded_and_lists_it() {
    let env = Env::new();
    let text = env.docker(["load", "-i", fixtures::busybox().to_str().unwrap()]).ok();
    assert_eq!(text, "Loaded image: busybox:latest\n");
    let text = env.docker(["images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"]).ok();
    let id = env.inspect("busybox", "{{.Id}}");
    assert_eq!(text, format!("busybox:latest {}\n", &id[7..19]));
    // Twice is as good as once.
    env.docker(["load", "-q", "-i", fixtures::busybox().to_str().unwrap()]).ok();
    assert_eq!(env.docker(["images", "-q"]).ok().lines().count(), 1);
    // Every spelling of the reference means it.
    for name in [
        "busybox",
        "busybox:latest",
        "library/busybox",
        "docker.io/busybox",
        "docker.io/library/busybox:latest",
        &id,
        &id[7..],
        &id[7..19],
    ] {
        assert_eq!(env.inspect(name, "{{.Id}}"), id, "{name}");
    }
}

#[test]
fn compressed_archives_load() {
    for program in ["gzip", "xz", "zstd", "bzip2"] {
        let env = Env::new();
        let archive = std::fs::read(fixtures::busybox()).unwrap();
        assert_eq!(load(&env, &through(program, &archive)).ok(), "Loaded image: busybox:latest\n", "{program}");
        assert_eq!(env.docker(["run", "--rm", "busybox", "echo", "hi"]).ok(), "hi\n");
    }
}

/// An OCI layout whose one layer is gzip-compressed.
fn oci_layout() -> Vec<u8> {
    let layer = busybox_layer();
    let packed = through("gzip", &layer);
    let sha = |bytes: &[u8]| format!("sha256:{}", fixtures::sha256(bytes));
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": busybox_config(),
        "rootfs": {"type": "layers", "diff_ids": [sha(&layer)]}, "history": [{"created_by": "test"}],
    })
    .to_string();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": sha(config.as_bytes()), "size": config.len()},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": sha(&packed), "size": packed.len()}],
    })
    .to_string();
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": sha(manifest.as_bytes()), "size": manifest.len(),
            "annotations": {"io.containerd.image.name": "docker.io/library/fromoci:v1", "org.opencontainers.image.ref.name": "v1"}}],
    })
    .to_string();
    let mut tar =
        Tar::default().file("oci-layout", 0o644, r#"{"imageLayoutVersion":"1.0.0"}"#).file("index.json", 0o644, index);
    for blob in [config.into_bytes(), manifest.into_bytes(), packed] {
        tar = tar.file(&format!("blobs/sha256/{}", fixtures::sha256(&blob)), 0o644, blob);
    }
    tar.bytes()
}

#[test]
fn an_oci_layout_loads() {
    let env = Env::new();
    assert_eq!(load(&env, &oci_layout()).ok(), "Loaded image: fromoci:v1\n");
    assert_eq!(env.docker(["run", "--rm", "fromoci:v1", "echo", "hi"]).ok(), "hi\n");
}

#[test]
fn layers_cover_each_other() {
    let env = Env::new();
    let second = Tar::default()
        .dir("www", 0o755)
        .file("www/.wh.index.html", 0o644, "")
        .file("www/new.html", 0o644, "new\n")
        .dir("home", 0o755)
        .file("home/.wh..wh..opq", 0o644, "")
        .file("home/only", 0o600, "only\n")
        .bytes();
    let long = format!("long/{}/{}", "d".repeat(120), "f".repeat(150));
    let third = Tar::default()
        .file("etc/data", 0o640, "from the third\n")
        .link("etc/alias", "data")
        .hard_link("etc/twin", "etc/data")
        .file(&long, 0o644, "deep\n")
        .bytes();
    let archive = docker_archive(&["layered:1"], busybox_config(), &[busybox_layer(), second, third]);
    load(&env, &archive).ok();
    let script = format!("ls /www; ls -A /home; cat /etc/data /etc/alias /etc/twin /{long}; stat -c '%a %h' /etc/data");
    assert_eq!(
        env.docker(["run", "--rm", "layered:1", "sh", "-c", &script]).ok(),
        "new.html\nonly\nfrom the third\nfrom the third\nfrom the third\ndeep\n640 2\n"
    );
    // Writing in one container changes neither the image nor another container.
    env.docker(["run", "--rm", "layered:1", "sh", "-c", "rm -r /www; echo x >/etc/data; mkdir /www; ls /www"]).ok();
    assert_eq!(
        env.docker(["run", "--rm", "layered:1", "sh", "-c", "ls /www; cat /etc/data"]).ok(),
        "new.html\nfrom the third\n"
    );
    let history = env.docker(["history", "--no-trunc", "--format", "{{.CreatedBy}}", "layered:1"]).ok();
    assert_eq!(history, "layer 2\nlayer 1\nlayer 0\n");
}

#[test]
fn tags_come_and_go() {
    let env = Env::with_busybox();
    let id = env.inspect("busybox", "{{.Id}}");
    env.docker(["tag", "busybox", "mine.example:5000/team/box:v2"]).ok();
    let tags = env.inspect("busybox", "{{json .RepoTags}}");
    assert!(tags.contains("busybox:latest") && tags.contains("mine.example:5000/team/box:v2"), "{tags}");
    let text = env.docker(["rmi", "busybox"]).ok();
    assert_eq!(text, "Untagged: busybox:latest\n");
    assert_eq!(env.inspect("mine.example:5000/team/box:v2", "{{.Id}}"), id);
    let text = env.docker(["rmi", "mine.example:5000/team/box:v2"]).ok();
    assert!(
        text.starts_with("Untagged: mine.example:5000/team/box:v2\n") && text.contains(&format!("Deleted: {id}\n")),
        "{text}"
    );
    assert_eq!(env.docker(["images", "-aq"]).ok(), "");
    let layers = env.data().join("images/layers");
    assert_eq!(std::fs::read_dir(&layers).into_iter().flatten().flatten().filter(|e| e.path().is_dir()).count(), 0);
    let message = env.docker(["rmi", "busybox"]).fails(1);
    assert!(message.contains("No such image: busybox"), "{message}");
    let message = env.docker(["tag", "nothing", "x"]).fails(1);
    assert!(message.contains("No such image: nothing:latest"), "{message}");
}

#[test]
fn an_image_in_use_stays() {
    let env = Env::with_busybox();
    let id = env.inspect("busybox", "{{.Id}}");
    let container = env.run_detached(&[], &["sleep", "1000"]);
    let message = env.docker(["rmi", "busybox"]).fails(1);
    assert!(message.contains("conflict") && message.contains(&container[..12]), "{message}");
    let message = env.docker(["rmi", "-f", &id]).fails(1);
    assert!(message.contains("is using its referenced image") || message.contains("running container"), "{message}");
    env.docker(["rm", "-f", &container]).ok();
    env.docker(["create", "--name", "stopped", "busybox"]).ok();
    env.docker(["rmi", "busybox"]).fails(1);
    env.docker(["rm", "stopped"]).ok();
    env.docker(["rmi", "busybox"]).ok();
}

#[test]
fn filters_of_the_list() {
    let env = Env::with_busybox();
    env.docker(["tag", "busybox", "other:1"]).ok();
    let names = |filter: &str| {
        let mut names: Vec<String> = env
            .docker(["images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", filter])
            .ok()
            .lines()
            .map(str::to_owned)
            .collect();
        names.sort();
        names.join(" ")
    };
    assert_eq!(names("reference=busy*"), "busybox:latest");
    assert_eq!(names("reference=other:1"), "other:1");
    assert_eq!(names("dangling=true"), "");
    assert_eq!(names("label=none"), "");
}

#[test]
fn import_makes_an_image_of_a_root_file_system() {
    let env = Env::new();
    let mut docker = Process::start(&mut env.docker_command([
        "import",
        "--change",
        "CMD [\"echo\", \"imported\"]",
        "--change",
        "ENV A=b",
        "--message",
        "by hand",
        "-",
        "flat:1",
    ]));
    docker.send(&busybox_layer());
    let text = docker.finish().ok();
    assert!(text.starts_with("sha256:"), "{text}");
    assert_eq!(env.docker(["run", "--rm", "flat:1"]).ok(), "imported\n");
    assert_eq!(env.docker(["run", "--rm", "flat:1", "sh", "-c", "echo $A"]).ok(), "b\n");
    assert!(env.docker(["history", "flat:1"]).ok().contains("by hand"));
}

#[test]
fn archives_that_lie_or_end_early_leave_nothing() {
    let env = Env::with_busybox();
    let before = env.contents();
    let good = std::fs::read(fixtures::busybox()).unwrap();
    let outside = env.base().join("escaped");
    let escape = |layer: Tar| docker_archive(&["evil:1"], busybox_config(), &[layer.bytes()]);
    let bad = [
        ("a truncated archive", docker_archive(&["cut:1"], json!({}), &[busybox_layer()])[..700_000].to_vec()),
        ("an empty one", vec![]),
        ("no tar at all", b"this is no archive".repeat(1000)),
        ("no manifest", Tar::default().file("x", 0o644, "y").bytes()),
        ("a manifest that is no JSON", Tar::default().file("manifest.json", 0o644, "{").bytes()),
        ("a path upward", escape(Tar::default().rogue_file("../../../../../../escaped", "x"))),
        (
            "a link upward, and a file through it",
            escape(Tar::default().link("l", env.base().to_str().unwrap()).rogue_file("l/../../../escaped", "x")),
        ),
        ("a hard link upward", escape(Tar::default().hard_link("h", "../../../../../../../../../etc/passwd"))),
        ("a layer that is another", {
            let mut archive =
                docker_archive(&["wrong:1"], json!({}), &[Tar::default().file("a", 0o644, "one").bytes()]);
            let at = archive.windows(3).rposition(|three| three == b"one").unwrap();
            archive[at..at + 3].copy_from_slice(b"two");
            archive
        }),
    ];
    for (what, archive) in bad {
        let output = load(&env, &archive);
        assert_ne!(output.code, 0, "{what}: {output:?}");
        assert!(!outside.exists(), "{what} wrote outside");
        assert_eq!(env.contents(), before, "{what} left something");
    }
    // An absolute link in a layer stays inside when a file is written through it.
    let through_link = escape(Tar::default().link("l", env.base().to_str().unwrap()).file("l/escaped", 0o644, "x"));
    load(&env, &through_link);
    assert!(!outside.exists());
    assert!(!good.is_empty());
}

#[test]
fn an_import_comes_from_an_address_too() {
    let env = Env::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        for client in listener.incoming().take(4) {
            let mut client = client.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                client.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            let (status, body) = match head.split(' ').nth(1).unwrap() {
                // Basic me:s@crt
                "/root.tar" if head.contains("Basic bWU6c0BjcnQ=") => ("200 OK", busybox_layer()),
                "/cut.tar" => ("200 OK", busybox_layer()),
                _ => ("404 Not Found", b"nothing here".to_vec()),
            };
            let length = body.len();
            write!(client, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n").unwrap();
            let half = if head.contains("/cut.tar") { length / 2 } else { length };
            let _ = client.write_all(&body[..half]);
        }
    });
    let source = format!("http://me:s%40crt@{address}/root.tar");
    let text = env.docker(["import", "--change", "CMD echo imported", &source, "far:1"]).ok();
    assert!(text.contains(&format!("Downloading from http://{address}/root.tar")), "{text}");
    assert_eq!(env.docker(["run", "--rm", "far:1"]).ok(), "imported\n");
    let history = env.docker(["history", "--no-trunc", "far:1"]).ok();
    assert!(history.contains(&format!("Imported from http://{address}/root.tar")), "{history}");
    let before = env.contents();
    let message = env.docker(["import", &format!("http://{address}/none.tar"), "far:2"]).fails(1);
    assert!(message.contains("with status 404 Not Found: nothing here"), "{message}");
    env.post(&format!("/v1.51/images/create?fromSrc={address}/none.tar"), &json!(null)).expect(404);
    env.docker(["import", &format!("http://{address}/cut.tar"), "far:3"]).fails(1);
    env.post("/v1.51/images/create?fromSrc=ftp://a.example/x", &json!(null)).expect(400);
    assert_eq!(env.contents(), before);
    server.join().unwrap();
    // Nothing at all is an image without files.
    let text = env.docker(["import", "/dev/null", "empty:1"]).ok();
    assert!(text.starts_with("sha256:"), "{text}");
    assert_eq!(env.inspect("empty:1", "{{.Size}} {{len .RootFS.Layers}}"), "0 1");
    let archive = env.base().join("empty.tar");
    env.docker(["save", "-o", archive.to_str().unwrap(), "empty:1"]).ok();
    let other = Env::new();
    assert_eq!(other.docker(["load", "-i", archive.to_str().unwrap()]).ok(), "Loaded image: empty:1\n");
}

#[test]
fn an_inspection_has_the_shape_of_its_version() {
    let env = Env::with_busybox();
    let of = |version: &str| env.get(&format!("/v{version}/images/busybox/json")).expect(200).json();
    let (old, new) = (of("1.51"), of("1.52"));
    for field in ["Parent", "Comment", "DockerVersion", "Author"] {
        assert_eq!((&old[field], new.get(field)), (&json!(""), None), "{field}");
    }
    assert_eq!((&old["Config"]["Volumes"], old["Config"].get("Hostname")), (&json!(null), None));
    assert_eq!(new["Config"], busybox_config());
    assert_eq!(of("1.49")["Config"]["Hostname"], "");
    assert_eq!(of("1.55").get("Identity"), None, "nobody knows where it came from");
    // Names in full fit a filter as well as short ones.
    for pattern in ["busybox", "docker.io/library/busybox", "docker.io/*/busy*:latest", "busybox:lat*"] {
        let filters = format!("%7B%22reference%22:[%22{pattern}%22]%7D");
        assert_eq!(
            env.get(&format!("/v1.51/images/json?filters={filters}")).expect(200).json().as_array().unwrap().len(),
            1
        );
    }
    env.delete("/v1.51/images/%20").expect(400);
}
