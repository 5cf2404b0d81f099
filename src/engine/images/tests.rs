use std::fs;
use std::path::Path;

use super::*;
use crate::image::import::Import;
use crate::model::ErrorKind;
use crate::model::filters::Filters;
use crate::model::ids::random_id;
use crate::state::atomic::Durability;
use crate::state::container::{ContainerRecord, StateRecord, Status};
use crate::state::events::Reader;
use crate::state::paths::Home;
use crate::state::store;

fn engine(dir: &Path) -> Engine {
    Engine::new(Home { data: dir.join("data"), run: dir.join("run") })
}

/// Imports an image of one file with this content.
fn import(engine: &Engine, name: &str, content: &[u8], changes: &[&str]) -> String {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_uid(rustix::process::geteuid().as_raw().into());
    header.set_gid(rustix::process::getegid().as_raw().into());
    builder.append_data(&mut header, "file", content).expect("append");
    let archive = builder.into_inner().expect("archive");
    let name = (!name.is_empty()).then(|| repository_and_tag(name, "").expect("name"));
    let changes = changes.iter().map(|change| (*change).to_owned()).collect();
    engine.import_image(&archive[..], Import { name, changes, ..Import::default() }).expect("import").id
}

fn container(engine: &Engine, image: &str) -> String {
    container_of(engine, image, image)
}

/// A container of the image, which its creator called so.
fn container_of(engine: &Engine, image: &str, name: &str) -> String {
    let (image_id, image) = (image.to_owned(), name.to_owned());
    let record = ContainerRecord { id: random_id(), image_id, image, ..ContainerRecord::default() };
    fs::create_dir_all(engine.home().container(&record.id).data).expect("directory");
    store::save(engine.home(), &record).expect("record");
    record.id
}

fn actions(engine: &Engine) -> String {
    let mut reader = Reader::from_start(engine.home());
    std::iter::from_fn(|| reader.next_event()).map(|event| event.action).collect::<Vec<_>>().join(" ")
}

fn tags(engine: &Engine, filters: Filters) -> Vec<String> {
    let list = engine.list_images(&ListOptions { filters, ..ListOptions::default() }).expect("list");
    let mut tags: Vec<String> = list.into_iter().flat_map(|image| image.tags).collect();
    tags.sort();
    tags
}

#[test]
fn names_come_and_go_and_the_last_takes_the_image() {
    let dir = tempfile::tempdir().expect("directory");
    let engine = engine(dir.path());
    let id = import(&engine, "one", b"1", &[]);
    engine.tag_image("one", "two", "v1").expect("tag");
    assert_eq!(engine.inspect_image("two:v1", None, false).expect("inspect").tags, ["one:latest", "two:v1"]);
    assert_eq!(
        engine.remove_image("one", false, true).expect("untag").items,
        [RemovedItem::Untagged("one:latest".into())]
    );
    let last = engine.remove_image("two:v1", false, true).expect("delete").items;
    assert_eq!(last[..2], [RemovedItem::Untagged("two:v1".into()), RemovedItem::Deleted(id)]);
    assert_eq!(last.len(), 3, "the layer");
    assert_eq!(engine.remove_image("one", false, true).expect_err("gone").to_string(), "No such image: one:latest");
    assert_eq!(actions(&engine), "tag import tag untag untag delete");
}

#[test]
fn by_id_all_names_go_if_they_are_of_one_repository() {
    let dir = tempfile::tempdir().expect("directory");
    let engine = engine(dir.path());
    let id = import(&engine, "one", b"1", &[]);
    engine.tag_image("one", "two", "").expect("tag");
    let err = engine.remove_image(&id, false, true).expect_err("several names");
    assert_eq!(err.kind(), ErrorKind::Conflict);
    assert!(err.to_string().contains("(must be forced) - image is referenced in multiple repositories"), "{err}");
    assert_eq!(engine.remove_image(&id[7..19], true, true).expect("forced").items.len(), 4);
}

#[test]
fn containers_keep_their_images() {
    let dir = tempfile::tempdir().expect("directory");
    let engine = engine(dir.path());
    let id = import(&engine, "one", b"1", &[]);
    let user = container(&engine, &id);
    for name in ["one", &id] {
        let err = engine.remove_image(name, false, true).expect_err("in use");
        assert_eq!(err.kind(), ErrorKind::Conflict, "{err}");
        assert!(err.to_string().contains(&user[..12]), "{err}");
    }
    let running = StateRecord { status: Status::Running, ..StateRecord::default() };
    store::save_state(engine.home(), &user, &running, Durability::Process).expect("state");
    fs::create_dir_all(engine.home().container(&user).run).expect("run directory");
    let monitor = crate::state::lock::Lock::exclusive(&engine.home().container(&user).monitor_lock()).expect("lock");
    let err = engine.remove_image(&id, true, true).expect_err("running");
    assert!(err.to_string().contains("(cannot be forced) - image is being used by running container"), "{err}");
    assert_eq!(tags(&engine, Filters::default()), ["one:latest"], "a refusal takes no name away");
    // By name, force takes the name; the image stays without one.
    assert_eq!(engine.remove_image("one", true, true).expect("untagged").items.len(), 1);
    drop(monitor);
    assert_eq!(engine.remove_image(&id, true, true).expect("stopped").items.len(), 1 + 1);
    store::remove(engine.home(), &user, "", Durability::Process, || ()).expect("remove container");
}

#[test]
fn lists_are_filtered() {
    let dir = tempfile::tempdir().expect("directory");
    let engine = engine(dir.path());
    import(&engine, "first", b"same", &["LABEL kind=a"]);
    import(&engine, "example.com/team/second", b"same", &["LABEL kind=b"]);
    let nameless = import(&engine, "", b"other", &[]);
    let of = |name: &str, value: &str| tags(&engine, Filters::from_pairs([(name, value.to_owned())]));
    assert_eq!(of("reference", "fir*"), ["first:latest"]);
    assert_eq!(of("reference", "*/*/sec*"), ["example.com/team/second:latest"]);
    assert_eq!(of("label", "kind=b"), ["example.com/team/second:latest"]);
    assert_eq!(of("label!", "kind=b"), ["first:latest"]);
    assert_eq!(of("since", "first"), ["example.com/team/second:latest"]);
    assert_eq!(of("before", "example.com/team/second"), ["first:latest"]);
    let options = ListOptions { shared_size: true, ..ListOptions::default() };
    let all = engine.list_images(&options).expect("list");
    assert_eq!(all.iter().map(|image| image.shared_size).collect::<Vec<_>>(), [Some(0), Some(4), Some(4)]);
    let dangling = ListOptions { filters: Filters::from_pairs([("dangling", "true".to_owned())]), ..options };
    let list = engine.list_images(&dangling).expect("list");
    assert_eq!(list.iter().map(|image| &image.meta.id).collect::<Vec<_>>(), [&nameless]);
    let unknown = ListOptions { filters: Filters::from_pairs([("colour", "red".to_owned())]), ..Default::default() };
    assert_eq!(engine.list_images(&unknown).expect_err("unknown").kind(), ErrorKind::InvalidParameter);
}

#[test]
fn pruning_takes_what_nobody_uses() {
    let dir = tempfile::tempdir().expect("directory");
    let engine = engine(dir.path());
    let used = import(&engine, "used", b"1", &[]);
    container(&engine, &used);
    import(&engine, "unused", b"22", &[]);
    let nameless = import(&engine, "", b"333", &[]);
    let pruned = engine.prune_images(&Filters::default()).expect("dangling");
    assert_eq!((pruned.reclaimed, &pruned.items[0]), (3, &RemovedItem::Deleted(nameless)));
    assert_eq!(tags(&engine, Filters::default()), ["unused:latest", "used:latest"]);
    let all = Filters::from_pairs([("dangling", "false".to_owned())]);
    assert_eq!(engine.prune_images(&all).expect("all").reclaimed, 2);
    assert_eq!(tags(&engine, Filters::default()), ["used:latest"]);
    assert!(actions(&engine).ends_with("prune"));
    let twice = Filters::from_pairs([("until", "1h".to_owned()), ("until", "2h".to_owned())]);
    assert_eq!(engine.prune_images(&twice).expect_err("two").to_string(), "more than one until filter specified");
}

#[test]
fn pruning_leaves_an_image_in_use_the_names_that_its_containers_know() {
    let dir = tempfile::tempdir().expect("directory");
    let engine = engine(dir.path());
    let all = Filters::from_pairs([("dangling", "false".to_owned())]);
    let only = Filters::default();
    for (named, left) in [
        ("used", &["used:latest"][..]),
        ("used:2", &["used:2"]),
        ("example.com/a/b:1", &["example.com/a/b:1"]),
        ("ID", &["example.com/a/b:2"]),
        ("gone:1", &["example.com/a/b:2"]),
    ] {
        let id = import(&engine, "used", b"1", &[]);
        for (repository, tag) in [("used", "2"), ("example.com/a/b", "1"), ("example.com/a/b", "2")] {
            engine.tag_image(&id, repository, tag).expect("tag");
        }
        let container = container_of(&engine, &id, if named == "ID" { &id } else { named });
        engine.prune_images(&only).expect("dangling");
        assert_eq!(tags(&engine, Filters::default()).len(), 4, "{named}");
        let pruned = engine.prune_images(&all).expect("all");
        assert_eq!(
            (tags(&engine, Filters::default()), pruned.reclaimed),
            (left.iter().map(|name| (*name).to_owned()).collect(), 0)
        );
        assert!(pruned.items.iter().all(|item| matches!(item, RemovedItem::Untagged(_))), "{:?}", pruned.items);
        assert!(engine.prune_images(&all).expect("again").items.is_empty());
        store::remove(engine.home(), &container, "", Durability::Process, || ()).expect("remove");
    }
}

#[test]
fn history_and_ambiguous_names() {
    let dir = tempfile::tempdir().expect("directory");
    let engine = engine(dir.path());
    let id = import(&engine, "one", b"12345", &[]);
    let steps = engine.image_history("one", None).expect("history");
    assert_eq!((steps.len(), steps[0].id.as_str(), steps[0].size), (1, id.as_str(), 5));
    assert_eq!(steps[0].tags, ["one:latest"]);
    let err = engine.tag_image("one", "sha256", "x").expect_err("ambiguous");
    assert!(err.to_string().contains("ambiguous tag using digest algorithm as name"), "{err}");
}
