//! Ends what killed processes, and losses of power, left half done.

use std::collections::BTreeSet;
use std::fs;

use super::container::ContainerRecord;
use super::events::{self, Event};
use super::lock::Lock;
use super::names::{names, release_name, reserve_name};
use super::paths::{GONE, Home, RECORD, entry_id};
use super::remains::{Burial, PROBE, bury, remove_remains, remove_run, remove_tree};
use super::store::{ids, load};
use super::{Error, atomic};

/// Ends creations, renames and removals whose process was killed. What fails is left for the next time.
pub fn sweep(home: &Home) {
    let ids: Vec<String> =
        ids(home).unwrap_or_default().into_iter().filter(|id| bury(home, id) != Burial::Done).collect();
    let mut named = BTreeSet::new();
    for (name, id) in names(home) {
        if is_stale(home, &name, &id) {
            let _ = release_name(home, &name, &id);
        } else {
            named.insert(id);
        }
    }
    for id in ids {
        let paths = home.container(&id);
        atomic::sweep(&paths.data);
        atomic::sweep(&paths.run);
        // Its link was lost with the power; unless another one has that name by now, it is made again.
        if !named.contains(&id)
            && let Ok(Some(_lock)) = Lock::try_exclusive(&paths.verb_lock())
            && let Ok(record) = load(home, &id)
        {
            let _ = reserve_name(home, &record.name, &id);
        }
    }
    for entry in fs::read_dir(home.containers()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let abandoned = |pid: &str| atomic::is_abandoned(&entry.path(), pid);
        if let Some(id) = name.strip_prefix(GONE) {
            end_removal(home, id);
        } else if name.strip_prefix(PROBE).is_some_and(abandoned) {
            let _ = remove_tree(&entry.path());
        }
    }
    for entry in fs::read_dir(home.running()).into_iter().flatten().flatten() {
        if let Some(id) = entry_id(&entry.path())
            && !home.container(id).data.exists()
            && !Lock::is_held(&home.container(id).monitor_lock()).unwrap_or(true)
        {
            let _ = remove_run(home, id);
        }
    }
}

/// Goes on with a removal whose process was killed: frees its name and tells of it, unless that was done, and removes
/// the rest. One that is going on is left alone.
pub fn end_removal(home: &Home, id: &str) {
    let gone = home.gone(id);
    // Whoever removes it now, and lives, has one of these.
    let Ok(Some(_lock)) = Lock::try_exclusive(&gone.join("lock")) else { return };
    if Lock::is_held(&home.container(id).monitor_lock()).unwrap_or(true) {
        return;
    }
    for (name, _) in names(home).into_iter().filter(|(_, owner)| owner == id) {
        let _ = release_name(home, &name, id);
    }
    // Without a record it never was a container that anybody was told of.
    if let Ok(record) = atomic::read_json::<ContainerRecord>(&gone.join(RECORD))
        && !events::is_told(home, id, "destroy", record.created)
        && let Err(err) = events::append(home, &Event::container(&record, "destroy", &[]))
    {
        tracing::warn!(container = %id, "event destroy is lost: {err}");
    }
    let _ = remove_remains(home, id);
}

/// Whether a name leads to no container, or to one that has another name.
fn is_stale(home: &Home, name: &str, id: &str) -> bool {
    let paths = home.container(id);
    // A name is reserved by whoever holds this lock.
    match Lock::try_exclusive(&paths.verb_lock()) {
        Ok(Some(_lock)) => load(home, id).is_ok_and(|record| record.name != name),
        Ok(None) => false,
        Err(Error::Missing(_)) => true,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::random_id;
    use crate::state::atomic::Durability;
    use crate::state::names::{name_owner, note_rename, settle_rename};
    use crate::state::store::{save, take_away};

    fn named(home: &Home, name: &str) -> ContainerRecord {
        let record = ContainerRecord { id: random_id(), name: name.to_owned(), ..ContainerRecord::default() };
        reserve_name(home, name, &record.id).expect("name");
        fs::create_dir_all(home.container(&record.id).data).expect("container");
        record
    }

    #[test]
    fn what_killed_processes_left_is_swept() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let home = Home { data: dir.path().join("data"), run: dir.path().join("run") };
        let made = |name: &str| named(&home, name);
        // Killed while it was created; being created; killed while it was renamed.
        let (killed, alive, renamed) = (made("killed"), made("alive"), made("new"));
        let lock = Lock::exclusive(&home.container(&alive.id).verb_lock()).expect("lock");
        save(&home, &renamed).expect("record");
        reserve_name(&home, "old", &renamed.id).expect("name");
        let leftover = home.container(&killed.id).run;
        fs::create_dir_all(&leftover).expect("run directory");
        let temporary = home.container(&renamed.id).data.join(".container.json.0.1");
        fs::write(&temporary, "").expect("file");

        sweep(&home);
        assert!(!home.container(&killed.id).data.exists() && !leftover.exists() && !temporary.exists());
        let owner = |name: &str| name_owner(&home, name);
        assert_eq!([owner("killed"), owner("old")], [None, None]);
        assert_eq!([owner("alive"), owner("new")], [Some(alive.id), Some(renamed.id)]);
        drop(lock);
        // A name is free at once, without a sweep.
        reserve_name(&home, "alive", &random_id()).expect("its creator is dead");
        fs::write(home.names().join("odd"), "").expect("file");
        assert!(reserve_name(&home, "odd", &random_id()).is_err());
    }

    #[test]
    fn a_removal_frees_whatever_a_killed_rename_had() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let home = Home { data: dir.path().join("data"), run: dir.path().join("run") };
        let killed = |names: [&str; 2], noted: bool| {
            let record = named(&home, names[0]);
            save(&home, &record).expect("record");
            if noted {
                note_rename(&home, &record.id, names[0], names[1]).expect("note");
            }
            reserve_name(&home, names[1], &record.id).expect("name");
            record
        };
        let left = || names(&home).into_iter().map(|(name, _)| name).collect::<BTreeSet<_>>();
        let (kept, removed, cut_short) =
            (killed(["a", "b"], true), killed(["c", "d"], true), killed(["e", "f"], false));
        settle_rename(&home, &kept.id, &home.container(&kept.id).data, Some("a")).expect("settle");
        take_away(&home, &removed.id, "c", Durability::Process).expect("take away");
        // Killed between the rename that takes it away and all that follows; with it went a run directory.
        fs::create_dir_all(home.container(&cut_short.id).run).expect("run directory");
        fs::rename(home.container(&cut_short.id).data, home.gone(&cut_short.id)).expect("rename");
        end_removal(&home, &cut_short.id);
        assert_eq!(left(), ["a".to_owned()].into());
        assert!(!home.container(&cut_short.id).run.exists() && !home.gone(&cut_short.id).exists());
        assert!(events::last(&home, &cut_short.id, "destroy").is_some());
    }

    #[test]
    fn what_a_loss_of_power_left_is_swept() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let home = Home { data: dir.path().join("data"), run: dir.path().join("run") };
        // An empty record is none; one that cannot be read is kept, with its name; a lost name comes back.
        let (empty, broken, unlinked) = (named(&home, "empty"), named(&home, "broken"), named(&home, "unlinked"));
        fs::write(home.container(&empty.id).record(), "").expect("file");
        fs::write(home.container(&broken.id).record(), "{\"id\":").expect("file");
        save(&home, &unlinked).expect("record");
        release_name(&home, "unlinked", &unlinked.id).expect("release");
        // A name that leads nowhere.
        reserve_name(&home, "nowhere", &random_id()).expect("name");

        sweep(&home);
        let owner = |name: &str| name_owner(&home, name);
        assert_eq!([owner("empty"), owner("nowhere")], [None, None]);
        assert_eq!([owner("broken"), owner("unlinked")], [Some(broken.id), Some(unlinked.id)]);
        assert!(!home.container(&empty.id).data.exists());
    }
}
