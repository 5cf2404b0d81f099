//! `pierless check --store`: what is damaged is found, mended or told, and what is sound is left alone.

use std::fs;
use std::path::PathBuf;

use super::fixtures;
use super::harness::Env;

/// What it tells, and whether something is lost.
#[track_caller]
fn check(env: &Env) -> (String, bool) {
    let output = env.pierless(["check", "--store"]);
    assert!(output.code == 0 || output.code == 1, "{output:?}");
    assert!(output.out.lines().last().is_some_and(|line| line.starts_with("verified ")), "{output:?}");
    (output.out, output.code == 1)
}

/// Every blob, record and file of the images is what it should be.
#[track_caller]
pub fn is_sound(env: &Env) {
    let (text, lost) = check(env);
    assert!(!lost && text.lines().count() == 1, "{text}");
}

fn load(env: &Env) {
    env.docker(["load", "-q", "-i", fixtures::busybox().to_str().unwrap()]).ok();
}

/// The only file or folder of a folder of the store.
fn only(env: &Env, dir: &str) -> PathBuf {
    let mut all = fs::read_dir(env.data().join("images").join(dir)).unwrap().flatten().map(|entry| entry.path());
    let one = all.next().unwrap();
    assert_eq!(all.next(), None);
    one
}

/// The blob of the layer, which is the larger one, or that of the configuration.
fn blob(env: &Env, layer: bool) -> PathBuf {
    let mut all: Vec<PathBuf> =
        fs::read_dir(env.data().join("images/blobs/sha256")).unwrap().flatten().map(|entry| entry.path()).collect();
    all.sort_by_key(|path| fs::metadata(path).unwrap().len());
    assert_eq!(all.len(), 2);
    if layer { all.pop().unwrap() } else { all.remove(0) }
}

#[test]
fn a_sound_store_is_left_alone_beside_containers() {
    let env = Env::with_busybox();
    let container = env.run_detached(&[], &["sleep", "1000"]);
    let before = env.contents();
    let (text, lost) = check(&env);
    assert!(!lost, "{text}");
    assert!(text.starts_with("verified 1 images, 1 layers, 1 names, 2 blobs of "), "{text}");
    assert_eq!(env.contents(), before);
    assert_eq!(env.docker(["exec", &container, "cat", "/etc/data"]).ok(), "from the image\n");
}

#[test]
fn a_wrong_blob_is_set_aside_and_comes_again() {
    let env = Env::with_busybox();
    let spoil: [fn(Vec<u8>) -> Vec<u8>; 3] = [
        |mut bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            bytes
        },
        |bytes| bytes[..bytes.len() / 2].to_vec(),
        |_| Vec::new(),
    ];
    for spoil in spoil {
        let path = blob(&env, true);
        fs::write(&path, spoil(fs::read(&path).unwrap())).unwrap();
        let (text, lost) = check(&env);
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(lost && text.contains(&format!("mended   blob sha256:{name}: its content has the digest")), "{text}");
        assert!(text.contains("busybox:latest: blobs that it needs are missing") && text.contains("it runs"), "{text}");
        assert!(env.data().join("images/unreadable").join(name).exists() && !path.exists());
        assert_eq!(env.docker(["run", "--rm", "busybox", "cat", "/etc/data"]).ok(), "from the image\n");
        load(&env);
        is_sound(&env);
    }
    // The configuration is the image.
    let path = blob(&env, false);
    fs::write(&path, "{}").unwrap();
    let (text, lost) = check(&env);
    assert!(lost && text.contains("busybox:latest: its configuration is missing or damaged"), "{text}");
    assert!(text.contains("LOST     name busybox:latest"), "{text}");
    assert_eq!(env.docker(["images", "-aq"]).ok(), "");
    assert!(env.contents().is_empty(), "{:?}", env.contents());
    load(&env);
    is_sound(&env);
}

#[test]
fn a_layer_that_differs_from_its_archive_is_unpacked_anew() {
    let env = Env::with_busybox();
    let layer = only(&env, "layers");
    let file = layer.join("diff/etc/data");
    let damage: [(&str, &dyn Fn()); 8] = [
        ("its files are not those", &|| fs::write(&file, "from the imagE\n").unwrap()),
        ("its files are not those", &|| fs::remove_file(&file).unwrap()),
        ("its files are not those", &|| fs::write(layer.join("diff/etc/more"), "").unwrap()),
        ("its files are not those", &|| {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o4755);
            fs::set_permissions(&file, mode).unwrap();
        }),
        ("its record is missing or wrong", &|| fs::write(layer.join("layer.json"), "{").unwrap()),
        ("its record is missing or wrong", &|| fs::remove_file(layer.join("layer.json")).unwrap()),
        ("it is not unpacked", &|| fs::rename(layer.join("diff"), env.base().join("away")).unwrap()),
        ("it is not unpacked", &|| fs::rename(&layer, env.base().join("away layer")).unwrap()),
    ];
    for (found, damage) in damage {
        damage();
        let (text, lost) = check(&env);
        assert!(!lost && text.contains(found) && text.contains("unpacked anew"), "{found}: {text}");
        is_sound(&env);
        assert_eq!(env.docker(["run", "--rm", "busybox", "cat", "/etc/data"]).ok(), "from the image\n", "{found}");
    }
    // A running container keeps what it has; then it is mended.
    let container = env.run_detached(&[], &["sleep", "1000"]);
    fs::write(&file, "damaged\n").unwrap();
    let (text, lost) = check(&env);
    assert!(lost && text.contains(&format!("the running container {} uses it", &container[..12])), "{text}");
    env.docker(["exec", &container, "true"]).ok();
    env.docker(["kill", &container]).ok();
    env.docker(["wait", &container]).ok();
    let (text, lost) = check(&env);
    assert!(!lost && text.contains("unpacked anew"), "{text}");
    env.docker(["start", &container]).ok();
    assert_eq!(env.docker(["exec", &container, "cat", "/etc/data"]).ok(), "from the image\n");
}

#[test]
fn records_and_names_that_are_lost_are_told_and_go() {
    let env = Env::with_busybox();
    let record = only(&env, "meta");
    fs::write(&record, "{").unwrap();
    let (text, lost) = check(&env);
    assert!(lost && text.contains("LOST     image ") && text.contains("LOST     name busybox:latest"), "{text}");
    assert!(env.contents().is_empty(), "{:?}", env.contents());
    load(&env);
    fs::remove_file(&record).unwrap();
    let (text, lost) = check(&env);
    assert!(lost && text.contains("LOST     name busybox:latest: its image "), "{text}");
    load(&env);
    // A name that is none, and things that nobody owns.
    let images = env.data().join("images");
    fs::write(images.join("refs/nonsense"), "nonsense").unwrap();
    fs::write(images.join("blobs/sha256").join(fixtures::sha256(b"stray")), "stray").unwrap();
    fs::create_dir_all(images.join("layers").join("0".repeat(64)).join("diff")).unwrap();
    let (text, lost) = check(&env);
    assert!(!lost, "{text}");
    assert!(!images.join("refs/nonsense").exists());
    only(&env, "layers");
    blob(&env, true);
    is_sound(&env);
}

#[test]
fn it_disturbs_nobody_who_works_with_the_store() {
    let env = Env::with_busybox();
    std::thread::scope(|scope| {
        let others = scope.spawn(|| {
            for _ in 0..6 {
                env.docker(["rmi", "busybox"]).ok();
                load(&env);
                env.docker(["run", "--rm", "busybox", "true"]).ok();
            }
        });
        while !others.is_finished() {
            let (text, lost) = check(&env);
            assert!(!lost && !text.contains("mended"), "{text}");
        }
    });
    is_sound(&env);
}
