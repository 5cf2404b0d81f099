//! What a loss of power, another id map, a kill or a full disk does to the store, and how it gets well again.

use std::fs;

use super::tests::{digest, docker_archive, load_bytes, remains, store, tar_of};
use super::*;
use crate::image::{Error, find, garbage};
use crate::model::ids::random_id;
use crate::model::reference::Reference;
use crate::state::container::ContainerRecord;
use crate::state::lock::Lock;

/// A layer's record, changed in place.
fn change(store: &Store, chain: &str, change: impl FnOnce(String) -> String) {
    let path = store.layers_dir().join(chain).join("layer.json");
    let text = fs::read_to_string(&path).expect("record");
    fs::write(path, change(text)).expect("write");
}

#[test]
fn what_is_torn_is_repaired_by_loading_it_again() {
    let layer = tar_of(&[("f", b"content")]);
    let archive = docker_archive("torn", &[&layer]);
    let dir = tempfile::tempdir().expect("directory");
    let store = store(dir.path());
    let id = load_bytes(&store, &archive).expect("load")[0].id.clone();
    let chain = digest(&layer);
    let name = Reference::parse("torn:latest").expect("name");
    let tear: [(&str, &dyn Fn()); 6] = [
        ("an empty layer record", &|| change(&store, &chain, |_| String::new())),
        ("half a layer record", &|| change(&store, &chain, |text| text[..text.len() / 2].to_owned())),
        ("a short blob", &|| fs::write(store.blob(&chain), &layer[..700]).expect("write")),
        ("a blob of zeros", &|| fs::write(store.blob(&chain), vec![0; layer.len()]).expect("write")),
        ("an empty image record", &|| fs::write(store.meta_path(&id), "").expect("write")),
        ("a name that is none", &|| {
            fs::write(store.refs_dir().join("docker.io,library,torn:latest"), "").expect("write")
        }),
    ];
    for (what, tear) in tear {
        tear();
        assert_eq!(load_bytes(&store, &archive).unwrap_or_else(|err| panic!("{what}: {err}"))[0].id, id, "{what}");
        assert_eq!(store.read_ref(&name).expect("name").map(|one| one.id), Some(id.clone()), "{what}");
        assert_eq!(find::resolve(&store, "torn", None).expect("image").chains()[0], chain, "{what}");
        assert_eq!(fs::read(store.blob(&chain)).expect("blob"), layer, "{what}");
        assert!(store.usable_layer(&chain).expect("map").is_some(), "{what}");
        assert_eq!(fs::read(store.layer_diff(&chain).join("f")).expect("file"), b"content", "{what}");
    }
}

#[test]
fn what_cannot_be_read_is_in_nobodys_way() {
    let layer = tar_of(&[("f", b"content")]);
    let dir = tempfile::tempdir().expect("directory");
    let store = store(dir.path());
    let id = load_bytes(&store, &docker_archive("lost", &[&layer])).expect("load")[0].id.clone();
    let good = load_bytes(&store, &docker_archive("good", &[&tar_of(&[("g", b"1")])])).expect("load")[0].id.clone();
    for text in ["", "{", "{}", "[1]"] {
        fs::write(store.meta_path(&id), text).expect("spoil");
        assert_eq!(store.metas().expect("list").len(), 1, "{text}");
        assert_eq!(garbage::sweep(&store).expect("sweep").chains.len(), usize::from(text.is_empty()), "{text}");
        assert!(matches!(store.find("lost"), Err(Error::Missing(name)) if name == "lost:latest"), "{text}");
    }
    assert!(store.refs().expect("names").iter().all(|one| one.id == good), "no name is left of it");
    assert!(!store.blob(id.trim_start_matches("sha256:")).exists());
    load_bytes(&store, &docker_archive("lost", &[&layer])).expect("again");
}

#[test]
fn layers_of_another_map_are_unpacked_anew_and_never_under_a_running_container() {
    let (base, top) = (tar_of(&[("a", b"1")]), tar_of(&[("b", b"2")]));
    let dir = tempfile::tempdir().expect("directory");
    let store = store(dir.path());
    load_bytes(&store, &docker_archive("mapped", &[&base, &top])).expect("load");
    let chains = find::resolve(&store, "mapped", None).expect("image").chains();
    let now = crate::holder::map_id().expect("map");
    let other = || {
        for chain in &chains {
            change(&store, chain, |text| text.replace(&now, "u0:7:1 g0:7:1"));
            fs::write(store.layer_diff(chain).join("stale"), "").expect("file");
        }
    };
    let is_new = || chains.iter().all(|chain| !store.layer_diff(chain).join("stale").exists());
    other();
    assert!(!store.are_usable(&chains).expect("map"));
    store.renew_layers(&chains).expect("renewed");
    assert!(is_new() && store.are_usable(&chains).expect("map"));
    let parents: Vec<String> = chains.iter().map(|chain| store.layer(chain).expect("record").parent).collect();
    assert_eq!(parents, ["", &chains[0]]);

    other();
    let record = ContainerRecord { id: random_id(), layers: chains.clone(), ..ContainerRecord::default() };
    let paths = store.home().container(&record.id);
    fs::create_dir_all(&paths.data).expect("directory");
    fs::create_dir_all(&paths.run).expect("directory");
    crate::state::store::save(store.home(), &record).expect("record");
    let monitor = Lock::exclusive(&paths.monitor_lock()).expect("lock");
    assert!(matches!(store.renew_layers(&chains), Err(Error::Conflict(text)) if text.contains(&record.id[..12])));
    assert!(!is_new(), "a running container keeps its files");
    // A layer of before maps were remembered serves on, and is replaced once nobody runs on it.
    for chain in &chains {
        change(&store, chain, |text| text.replace("u0:7:1 g0:7:1", ""));
    }
    store.renew_layers(&chains).expect("accepted");
    load_bytes(&store, &docker_archive("mapped", &[&base, &top])).expect("load");
    assert!(!is_new(), "a running container keeps its files");
    drop(monitor);
    load_bytes(&store, &docker_archive("mapped", &[&base, &top])).expect("load");
    assert!(is_new() && store.are_usable(&chains).expect("map"));

    other();
    fs::remove_file(store.blob(&digest(&top))).expect("remove");
    let gone = store.renew_layers(&chains).expect_err("its archive is gone");
    assert!(matches!(&gone, Error::Conflict(text) if text.contains("its archive is gone")), "{gone}");
}

#[test]
fn a_reboot_and_a_killed_publish_are_swept_after() {
    let dir = tempfile::tempdir().expect("directory");
    let store = store(dir.path());
    let orphans = || {
        fs::create_dir_all(store.layer_diff("abc")).expect("orphan");
        fs::write(store.blob("def"), "x").expect("orphan");
        fs::write(store.meta_dir().join(".x.json.0.1"), "x").expect("temporary file");
    };
    orphans();
    garbage::recover(&store).expect("the first in this boot");
    assert!(remains(&store).is_empty(), "{:?}", remains(&store));
    assert_eq!(fs::read_dir(store.meta_dir()).expect("list").count(), 0);
    orphans();
    garbage::recover(&store).expect("nothing happened");
    assert_eq!(remains(&store).len(), 2, "looked at again without a reason");
    let killed = store.tmp_dir().join("killed");
    fs::create_dir(&killed).expect("leftover");
    fs::write(killed.join("unsettled"), "").expect("mark");
    garbage::recover(&store).expect("after a kill");
    assert!(remains(&store).is_empty(), "{:?}", remains(&store));
    // The next publish looks, too.
    orphans();
    fs::create_dir(&killed).expect("leftover");
    fs::write(killed.join("unsettled"), "").expect("mark");
    load_bytes(&store, &docker_archive("next", &[&tar_of(&[("f", b"1")])])).expect("load");
    assert!(!store.blob("def").exists() && !killed.exists());
}
