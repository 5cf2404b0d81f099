use std::io::Write as _;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::*;
use crate::image::{Error, find, garbage};
use crate::model::ids::hex;
use crate::state::paths::Home;

pub(super) fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// A tar of these files.
pub(super) fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, data) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        header.set_uid(rustix::process::geteuid().as_raw().into());
        header.set_gid(rustix::process::getegid().as_raw().into());
        builder.append_data(&mut header, path, *data).expect("append");
    }
    builder.into_inner().expect("archive")
}

fn config_of(layers: &[&[u8]]) -> Vec<u8> {
    let ids: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", digest(layer))).collect();
    serde_json::json!({
        "architecture": "amd64", "os": "linux", "created": "2024-01-02T03:04:05Z",
        "config": { "Cmd": ["sh"], "Labels": { "a": "b" } },
        "rootfs": { "type": "layers", "diff_ids": ids },
    })
    .to_string()
    .into_bytes()
}

/// What `docker save` of before 25 wrote.
pub(super) fn docker_archive(tag: &str, layers: &[&[u8]]) -> Vec<u8> {
    let config = config_of(layers);
    let name = format!("{}.json", digest(&config));
    let paths: Vec<String> = (0..layers.len()).map(|at| format!("{at}/layer.tar")).collect();
    let manifest = serde_json::json!([{ "Config": name, "RepoTags": [tag], "Layers": paths }]).to_string();
    let mut files: Vec<(&str, &[u8])> = paths.iter().map(String::as_str).zip(layers.iter().copied()).collect();
    files.extend([(name.as_str(), config.as_slice()), ("manifest.json", manifest.as_bytes())]);
    tar_of(&files)
}

/// An OCI layout with layers packed by gzip and zstd in turn, its index behind another index.
fn oci_layout(name: &str, layers: &[&[u8]]) -> Vec<u8> {
    let config = config_of(layers);
    let mut blobs = vec![config.clone()];
    let mut descriptors = Vec::new();
    for (at, layer) in layers.iter().enumerate() {
        let packed = if at % 2 == 0 { gzip(layer) } else { zstd::encode_all(*layer, 1).expect("zstd") };
        descriptors.push(serde_json::json!({ "digest": format!("sha256:{}", digest(&packed)), "size": packed.len() }));
        blobs.push(packed);
    }
    let own = format!("sha256:{}", digest(&config));
    let manifest = serde_json::json!({ "config": { "digest": own, "size": 1 }, "layers": descriptors });
    let manifest = manifest.to_string().into_bytes();
    let other = serde_json::json!({ "digest": format!("sha256:{}", "0".repeat(64)), "platform": { "os": "linux", "architecture": "s390x" } });
    let this = serde_json::json!({ "digest": format!("sha256:{}", digest(&manifest)), "platform": { "os": "linux", "architecture": "riscv64" } });
    let inner = serde_json::json!({ "manifests": [other, this] }).to_string().into_bytes();
    let annotations = serde_json::json!({ "io.containerd.image.name": name, "org.opencontainers.image.ref.name": "1" });
    let outer = serde_json::json!({ "manifests": [{ "digest": format!("sha256:{}", digest(&inner)), "annotations": annotations }] });
    blobs.extend([manifest, inner]);
    let paths: Vec<String> = blobs.iter().map(|blob| format!("blobs/sha256/{}", digest(blob))).collect();
    let outer = outer.to_string();
    let mut files: Vec<(&str, &[u8])> = vec![("index.json", outer.as_bytes())];
    files.extend(paths.iter().map(String::as_str).zip(blobs.iter().map(Vec::as_slice)));
    tar_of(&files)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("gzip");
    encoder.finish().expect("gzip")
}

pub(super) fn store(dir: &Path) -> Store {
    Store::open(&Home { data: dir.join("data"), run: dir.join("run") }).expect("store")
}

pub(super) fn load_bytes(store: &Store, bytes: &[u8]) -> Result<Vec<Loaded>> {
    load(store, bytes, &[], &mut |_| {})
}

/// Everything in the store but its locks.
pub(super) fn remains(store: &Store) -> Vec<std::path::PathBuf> {
    let dirs = [store.blobs_dir(), store.layers_dir(), store.refs_dir(), store.meta_dir(), store.tmp_dir()];
    let all = dirs.iter().flat_map(|dir| Store::list(dir).expect("list"));
    all.filter(|path| !path.ends_with("tmp/lock")).collect()
}

#[test]
fn both_forms_make_the_same_image() {
    let (one, two) = (tar_of(&[("etc/a", b"1")]), tar_of(&[("etc/b", b"2"), ("etc/.wh.a", b"")]));
    let dir = tempfile::tempdir().expect("directory");
    let store = store(dir.path());
    let first = load_bytes(&store, &docker_archive("busybox:1", &[&one, &two])).expect("docker archive");
    let xz = liblzma::encode_all(&oci_layout("docker.io/library/other:2", &[&one, &two])[..], 0).expect("xz");
    let second = load_bytes(&store, &xz).expect("OCI layout");
    assert_eq!(first[0].id, second[0].id);
    assert_eq!(first[0].names[0].familiar(), "busybox:1");
    let image = find::resolve(&store, "other:2", None).expect("resolve");
    assert_eq!(image.chains().len(), 2);
    assert!(image.meta.manifests.len() == 1);
    assert_eq!(image.defaults().cmd, Some(vec!["sh".to_owned()]));
    assert_eq!(std::fs::read(store.layer_diff(&image.chains()[1]).join("etc/b")).expect("file"), b"2");
    assert_eq!(store.find(&image.id()[7..19]).expect("by prefix"), image.id());
    assert!(matches!(store.find("busybox:3"), Err(Error::Missing(name)) if name == "busybox:3"));
    assert!(Store::list(&store.tmp_dir()).expect("list").iter().all(|path| !path.is_dir()));
}

#[test]
fn layers_are_shared_and_outlive_neither_image() {
    let (base, top) = (tar_of(&[("a", b"1")]), tar_of(&[("b", b"2")]));
    let dir = tempfile::tempdir().expect("directory");
    let store = store(dir.path());
    let small = load_bytes(&store, &docker_archive("small", &[&base])).expect("small");
    let large = load_bytes(&store, &docker_archive("large", &[&base, &top])).expect("large");
    assert_eq!(Store::list(&store.layers_dir()).expect("layers").len(), 2);
    for (image, layers_left) in [(&small[0], 2), (&large[0], 0)] {
        let staging = Staging::new(&store).expect("staging");
        let lock = store.lock().expect("lock");
        image.names.iter().for_each(|name| store.remove_ref(name).expect("untag"));
        garbage::remove_image(&store, &lock, &store.meta(&image.id).expect("meta"), &staging).expect("remove");
        assert_eq!(Store::list(&store.layers_dir()).expect("layers").len(), layers_left);
    }
    assert!(remains(&store).is_empty());
}

#[test]
fn bad_archives_are_refused_and_leave_nothing() {
    let layer = tar_of(&[("a", &[7; 3000])]);
    let good = docker_archive("x", &[&layer]);
    let config = config_of(&[&layer]);
    let json = |text: &str| tar_of(&[("manifest.json", text.as_bytes()), ("c.json", &config), ("l.tar", &layer)]);
    let escaping = tar_of(&[("etc/ok", b"1")]);
    let mut escaping_entry = tar::Header::new_gnu();
    escaping_entry.as_gnu_mut().expect("GNU header").name[..4].copy_from_slice(b"../x");
    escaping_entry.set_size(0);
    escaping_entry.set_cksum();
    let escaping = [escaping_entry.as_bytes().as_slice(), &escaping].concat();
    let mut cases: Vec<(String, Vec<u8>)> = vec![
        ("empty".into(), Vec::new()),
        ("no archive".into(), b"hello".repeat(1000)),
        ("nothing in it".into(), tar_of(&[("a", b"b")])),
        ("bad JSON".into(), json("{")),
        ("no image".into(), json("[]")),
        ("layer missing".into(), json(r#"[{"Config":"c.json","Layers":["nope.tar"]}]"#)),
        ("config missing".into(), json(r#"[{"Config":"nope","Layers":["l.tar"]}]"#)),
        ("config outside".into(), json(r#"[{"Config":"../../c.json","Layers":["l.tar"]}]"#)),
        ("too few layers".into(), json(r#"[{"Config":"c.json","Layers":[]}]"#)),
        ("wrong layer".into(), json(r#"[{"Config":"c.json","Layers":["c.json"]}]"#)),
        ("bad name".into(), json(r#"[{"Config":"c.json","RepoTags":["UP:x"],"Layers":["l.tar"]}]"#)),
        ("layer leaves its root".into(), docker_archive("x", &[&escaping])),
        ("broken gzip".into(), {
            let mut packed = gzip(&good);
            packed.truncate(packed.len() / 2);
            packed
        }),
    ];
    let end = good.len() - 1024;
    cases.extend((1..end).step_by(700).map(|cut| (format!("cut at {cut}"), good[..cut].to_vec())));
    let dir = tempfile::tempdir().expect("directory");
    let store = store(dir.path());
    for (what, bytes) in cases {
        let err = load_bytes(&store, &bytes).err().unwrap_or_else(|| panic!("{what}: was loaded"));
        assert_eq!(err.kind(), crate::model::ErrorKind::InvalidParameter, "{what}: {err}");
        assert!(remains(&store).is_empty(), "{what}: {:?}", remains(&store));
    }
    load_bytes(&store, &good).expect("the store still works");
}

#[test]
fn what_a_killed_process_left_is_removed() {
    let dir = tempfile::tempdir().expect("directory");
    let store = store(dir.path());
    let dead = store.tmp_dir().join("dead");
    std::fs::create_dir_all(dead.join("layer/diff")).expect("leftover");
    let alive = Staging::new(&store).expect("staging");
    assert!(!dead.exists());
    drop(Staging::new(&store).expect("another"));
    assert!(alive.join("lock").exists());
    // Layers and blobs without an image, as after a kill in the middle of publishing.
    std::fs::create_dir_all(store.layer_diff("abc")).expect("orphan");
    std::fs::write(store.blob("def"), "x").expect("orphan");
    drop(alive);
    assert_eq!(garbage::sweep(&store).expect("sweep").chains.len(), 1);
    assert!(remains(&store).is_empty());
}

#[test]
fn two_who_load_the_same_do_not_disturb_each_other() {
    let layers: Vec<Vec<u8>> = (0..4u8).map(|n| tar_of(&[("f", &[n; 100_000])])).collect();
    let layers: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    let archive = docker_archive("same", &layers);
    let dir = tempfile::tempdir().expect("directory");
    let store = store(dir.path());
    thread::scope(|scope| {
        let all: Vec<_> = (0..4).map(|_| scope.spawn(|| load_bytes(&store, &archive).map(|_| ()))).collect();
        all.into_iter().for_each(|one| one.join().expect("join").expect("load"));
    });
    assert_eq!(find::resolve(&store, "same", None).expect("image").chains().len(), 4);
}

#[test]
fn spoiled_archives_are_refused_or_loaded_but_never_panic() {
    let (one, two) = (tar_of(&[("etc/a", b"1"), ("etc/b", &[3; 2000])]), tar_of(&[("etc/.wh.a", b"")]));
    let archives = [docker_archive("busybox:1", &[&one, &two]), oci_layout("docker.io/library/other:2", &[&one, &two])];
    let dir = tempfile::tempdir().expect("directory");
    let store = store(dir.path());
    let mut random = 1u64;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    for round in 0..120 {
        let mut bytes = archives[round % 2].clone();
        for _ in 0..=next(4) {
            let at = next(bytes.len());
            bytes[at] = [0, 0xff, 0x80, b'7', b'/', b'.', b'x', b'S'][next(8)];
        }
        if load_bytes(&store, &bytes).is_err() {
            assert!(Store::list(&store.tmp_dir()).expect("list").iter().all(|path| !path.is_dir()), "round {round}");
        }
    }
}
