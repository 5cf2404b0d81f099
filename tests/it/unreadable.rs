//! A record that cannot be read is a fact with a name: it is listed, inspected and removed, and in nobody's way.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::harness::{Env, Seen};
use super::process::eventually;

fn record(env: &Env, id: &str, file: &str) -> std::path::PathBuf {
    env.data().join("containers").join(id).join(file)
}

fn create(env: &Env, name: &str) -> String {
    let body = json!({"Image": "busybox", "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}});
    env.post(&format!("/containers/create?name={name}"), &body).expect(201).json()["Id"].as_str().unwrap().to_owned()
}

#[test]
fn an_unreadable_record_is_dead_and_in_nobodys_way() {
    let env = Env::with_busybox();
    let broken = create(&env, "broken");
    let sound = create(&env, "sound");
    // The API has seen it; then it is spoiled in place.
    assert_eq!(env.docker(["ps", "-aq"]).ok().lines().count(), 2);
    for spoiled in ["{\"id\": \"", "\0\0\0\0\0\0\0\0", "{}", "[]", "null"] {
        fs::write(record(&env, &broken, "container.json"), spoiled).unwrap();
        let list = env.get("/containers/json?all=1").expect(200).json();
        assert_eq!(list.as_array().unwrap().len(), 2, "{spoiled:?}: {list}");
        assert_eq!(env.docker(["ps", "-aq", "--no-trunc", "--filter", "status=dead"]).ok().trim(), broken);
        assert_eq!(env.docker(["ps", "-a", "--format", "{{.Names}}", "--filter", "status=dead"]).ok(), "broken\n");
        assert_eq!(env.inspect("broken", "{{.State.Status}} {{.State.Dead}} {{.Id}}"), format!("dead true {broken}"));
        assert!(env.inspect("broken", "{{.State.Error}}").contains("container.json"));
    }
    // Nobody else is concerned; it cannot be started; its name is its own until it is removed.
    assert_eq!(env.post("/containers/broken/start", &json!(null)).status, 409);
    assert_eq!(env.post("/containers/create?name=broken", &json!({"Image": "busybox"})).status, 409);
    env.docker(["start", "sound"]).ok();
    env.docker(["wait", "sound"]).ok();
    env.docker(["rename", "sound", "other"]).ok();
    let pruned = env.docker(["container", "prune", "-f"]).ok();
    assert!(pruned.contains(&sound) && !pruned.contains(&broken), "{pruned}");
    env.docker(["rmi", "-f", "busybox"]).ok();
    eventually("layers of no use go", || fs::read_dir(env.data().join("images/layers")).unwrap().count() == 0);
    assert!(env.pierless(["ps", "-a"]).ok().contains("broken"));
    env.docker(["rm", "-f", "broken"]).ok();
    assert_eq!(env.docker(["ps", "-aq"]).ok(), "");
    assert!(!record(&env, &broken, "container.json").exists());
}

#[test]
fn a_lost_record_of_a_running_container_is_dead_and_ended_with_it() {
    let env = Env::with_busybox();
    for removed in [true, false] {
        let id = env.run_detached(&["--name", "lost", "--network", "none"], &["sleep", "1000"]);
        let path = record(&env, &id, "container.json");
        if removed { fs::remove_file(path) } else { fs::write(path, "") }.unwrap();
        assert_eq!(env.docker(["ps", "-a", "--format", "{{.Names}} {{.State}}"]).ok(), "lost dead\n");
        assert_eq!(env.inspect("lost", "{{.State.Status}}"), "dead");
        // While it is there its name is its own, and who looks after killed processes leaves it alone.
        assert_eq!(env.post("/containers/create?name=lost", &json!({"Image": "busybox"})).status, 409);
        assert!(env.pierless(["ps", "-a"]).ok().contains("lost"));
        assert_eq!(env.role("monitor").len(), 1);
        assert_eq!(env.delete("/containers/lost").status, 409);
        env.docker(["rm", "-f", "lost"]).ok();
        eventually("its monitor has ended", || env.role("monitor").is_empty());
        assert!(!env.data().join("containers").join(&id).exists());
    }
    // Its monitor was killed, and its processes are not all those of a pid namespace.
    let id = env.run_detached(&["--name", "lost", "--pid=host"], &["sh", "-c", "sleep 1000 & echo $!; wait"]);
    let mut child = String::new();
    eventually("it has begun", || {
        child = env.docker(["logs", "lost"]).ok().trim().to_owned();
        !child.is_empty()
    });
    fs::write(record(&env, &id, "container.json"), "{").unwrap();
    for monitor in env.role("monitor") {
        kill(Pid::from_raw(monitor.pid), Signal::SIGKILL).unwrap();
    }
    env.docker(["rm", "-f", "lost"]).ok();
    eventually("nothing outlives it", || Seen::of(child.parse().unwrap()).is_none());
}

#[test]
fn what_is_no_file_keeps_no_reader() {
    let env = Env::with_busybox();
    let (asked, happened) = (create(&env, "asked"), create(&env, "happened"));
    env.docker(["start", "happened"]).ok();
    env.docker(["wait", "happened"]).ok();
    let (asked, happened) = (record(&env, &asked, "container.json"), record(&env, &happened, "state.json"));
    let huge = |path: &std::path::Path| {
        fs::File::create(path).and_then(|file| file.set_len(1 << 42)).unwrap();
    };
    let fifo = |path: &std::path::Path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for other in [huge as fn(&std::path::Path), fifo] {
        for path in [&asked, &happened] {
            fs::remove_file(path).unwrap();
            other(path);
        }
        let mut listed: Vec<String> =
            env.docker(["ps", "-a", "--format", "{{.Names}} {{.State}}"]).ok().lines().map(str::to_owned).collect();
        listed.sort();
        assert_eq!(listed, ["asked dead", "happened exited"]);
        assert_eq!(env.inspect("happened", "{{.State.ExitCode}}"), "137");
    }
    let refs = env.data().join("images/refs");
    let name = fs::read_dir(&refs).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(&name).unwrap();
    fifo(&name);
    fifo(&env.data().join("images/meta").join("0".repeat(64) + ".json"));
    env.docker(["images", "-a"]).ok();
    env.docker(["system", "df"]).ok();
    env.docker(["rm", "-f", "asked", "happened"]).ok();
    assert_eq!(env.docker(["ps", "-aq"]).ok(), "");
}

#[test]
fn an_unreadable_state_is_an_end() {
    let env = Env::with_busybox();
    let id = create(&env, "broken");
    env.docker(["start", "broken"]).ok();
    env.docker(["wait", "broken"]).ok();
    for spoiled in ["", "{", "\0\0\0\0"] {
        fs::write(record(&env, &id, "state.json"), spoiled).unwrap();
        assert_eq!(env.inspect("broken", "{{.State.Status}} {{.State.ExitCode}}"), "exited 137", "{spoiled:?}");
        assert!(env.inspect("broken", "{{.State.Error}}").contains("state.json"));
        assert_eq!(env.docker(["ps", "-q"]).ok(), "");
    }
    env.docker(["start", "broken"]).ok();
    assert_eq!(env.docker(["wait", "broken"]).ok(), "0\n");
    // Of one that runs: its monitor is asked before it is removed.
    let running = env.run_detached(&["--name", "running"], &["sleep", "1000"]);
    fs::write(record(&env, &running, "state.json"), "{").unwrap();
    let refused = env.delete("/containers/running").expect(409).message();
    assert!(refused.contains("container is running"), "{refused}");
    assert!(!env.docker(["container", "prune", "-f"]).ok().contains(&running));
    env.docker(["exec", "broken", "true"]).fails(1);
    env.docker(["rm", "-f", "running", "broken"]).ok();
    eventually("its monitor has ended", || env.role("monitor").is_empty());
}

#[test]
fn what_a_loss_of_power_leaves_is_swept() {
    let mut env = Env::with_busybox();
    let (empty, gone) = (create(&env, "empty"), create(&env, "gone"));
    env.kill_server();
    // The name of a record whose bytes were lost, a directory without one, a name that leads nowhere, half a write.
    fs::write(record(&env, &empty, "container.json"), "").unwrap();
    fs::remove_file(record(&env, &gone, "container.json")).unwrap();
    let names = env.data().join("containers/names");
    std::os::unix::fs::symlink(format!("../{}", "0".repeat(64)), names.join("nowhere")).unwrap();
    env.serve();
    assert_eq!(env.docker(["ps", "-aq"]).ok(), "");
    for name in ["empty", "gone", "nowhere"] {
        let id = create(&env, name);
        fs::write(record(&env, &id, ".state.json.4194305.0"), "").unwrap();
    }
    env.kill_server();
    env.serve();
    assert_eq!(env.docker(["ps", "-aq"]).ok().lines().count(), 3);
    eventually("half a write is swept", || {
        let dirs = fs::read_dir(env.data().join("containers")).unwrap().flatten();
        let files = dirs.flat_map(|dir| fs::read_dir(dir.path()).into_iter().flatten().flatten());
        !files.into_iter().any(|file| file.file_name().to_str().unwrap().starts_with(".state"))
    });
    env.docker(["rm", "empty", "gone", "nowhere"]).ok();
}

#[test]
fn a_container_that_nobody_can_reach_is_ended_by_its_own_monitor() {
    let env = Env::with_busybox();
    let id = env.run_detached(&["--name", "c1"], &["sleep", "1000"]);
    let init: i32 = env.inspect("c1", "{{.State.Pid}}").parse().unwrap();
    // As at the last logout of a user who does not linger.
    let removed = std::process::Command::new("rm").arg("-r").arg(env.run_dir().join("containers")).status();
    assert!(removed.unwrap().success());
    assert_eq!(env.inspect("c1", "{{.State.Status}} {{.State.ExitCode}}"), "exited 137");
    assert!(super::harness::Seen::of(init).is_none());
    eventually("its monitor has ended", || env.role("monitor").is_empty());
    assert_eq!(env.past_events(&json!({"container": [id], "event": ["die"]})).len(), 1);
    env.docker(["start", "c1"]).ok();
    assert_eq!(env.inspect("c1", "{{.State.Running}}"), "true");
}

/// Kills the monitors, and waits until the kernel shows none; not what they have forked, which carries their name until
/// it has become something else.
fn kill_monitors(env: &Env) {
    let all = env.role("monitor");
    for monitor in all.iter().filter(|seen| !all.iter().any(|other| other.pid == seen.parent)) {
        let _ = kill(Pid::from_raw(monitor.pid), Signal::SIGKILL);
        eventually("it has ended", || super::harness::Seen::of(monitor.pid).is_none());
    }
}

#[test]
fn what_runs_without_a_monitor_and_a_readable_state_is_found_and_ended() {
    let env = Env::with_busybox();
    for spoiled in ["{", "", "{\"status\": \"created\"}"] {
        let id = env.run_detached(&["--name", "c1"], &["sleep", "1000"]);
        let init: i32 = env.inspect("c1", "{{.State.Pid}}").parse().unwrap();
        kill_monitors(&env);
        fs::write(record(&env, &id, "state.json"), spoiled).unwrap();
        assert_ne!(env.inspect("c1", "{{.State.Running}}"), "true", "{spoiled:?}");
        assert!(super::harness::Seen::of(init).is_none(), "{spoiled:?}: it still runs");
        env.docker(["rm", "c1"]).ok();
    }
}

#[test]
fn many_lookers_mend_once() {
    let env = Env::with_busybox();
    for temporary in [false, true] {
        let flags: &[&str] = if temporary { &["--rm", "--name", "c1"] } else { &["--name", "c1"] };
        let id = env.run_detached(flags, &["sleep", "1000"]);
        kill_monitors(&env);
        // However many look at once, and whoever mends: from now on it is told to nobody that it runs.
        std::thread::scope(|scope| {
            for looker in 0..8 {
                let (env, id) = (&env, &id);
                scope.spawn(move || match looker % 2 {
                    0 => {
                        let list = env.get("/v1.51/containers/json?all=1").expect(200).json();
                        assert!(list.as_array().unwrap().iter().all(|one| one["State"] != "running"), "{list}");
                    }
                    _ => {
                        let reply = env.get(&format!("/v1.51/containers/{id}/json"));
                        assert!(reply.status == 404 || reply.json()["State"]["Running"] == false, "{}", reply.text());
                    }
                });
            }
        });
        let told = |action: &str| env.past_events(&json!({"container": [&id], "event": [action]})).len();
        assert_eq!((told("die"), told("destroy")), (1, usize::from(temporary)));
        assert_eq!(env.get(&format!("/containers/{id}/json")).status, if temporary { 404 } else { 200 });
        if !temporary {
            env.docker(["rm", "c1"]).ok();
        }
    }
}

#[test]
fn files_of_other_id_maps_are_refused_by_name() {
    let env = Env::with_busybox();
    let other = "u0:4242:1,1:7000000:65536 g0:4242:1,1:7000000:65536";
    let made_by_others = |id: &str| {
        let path = record(&env, id, "container.json");
        let mut value: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert!(value["ids"].as_str().unwrap().starts_with("u0:"), "{value}");
        value["ids"] = json!(other);
        fs::write(&path, value.to_string()).unwrap();
    };
    // Nothing was written yet: it is as good as new, and remembers the maps of now.
    let id = create(&env, "web");
    made_by_others(&id);
    for _ in 0..2 {
        env.docker(["start", "web"]).ok();
        env.docker(["wait", "web"]).ok();
    }
    fs::write(record(&env, &id, "upper").join("file"), "").unwrap();
    made_by_others(&id);
    let refused = env.post("/containers/web/start", &json!(null));
    assert!(refused.status == 409 && refused.text().contains(other), "{} {}", refused.status, refused.text());
    env.docker(["rm", "web"]).ok();
}
