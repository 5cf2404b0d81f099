//! What holds whoever was killed.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::harness::{Env, Seen, every_process};
use super::super::process::eventually;
use super::super::raw::Reply;
use super::Victim;
use super::told::{Known, Told};
use super::workloads::marker;

/// How a round is looked at.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    pub env: &'a Env,
    /// Who was killed.
    pub hit: &'a [Victim],
    /// Names the round.
    pub what: &'a str,
    /// Whether the disk was full: then events may be missing, and starts may have failed.
    pub full: bool,
}

/// What was told is so; records, processes and events agree; everything can be removed, and then nothing is left.
#[track_caller]
pub fn check(look: Look<'_>, told: &Told) {
    let Look { env, what, .. } = look;
    let listed = env.get("/v1.51/containers/json?all=1").expect(200).json();
    let mut there = BTreeMap::new();
    for entry in listed.as_array().unwrap() {
        let id = entry["Id"].as_str().unwrap().to_owned();
        let reply = env.get(&format!("/v1.51/containers/{id}/json"));
        // One that removes itself may be about to.
        if reply.status != 404 {
            there.insert(id, reply.expect(200).json());
        }
    }
    let known = told.containers.lock().unwrap().clone();
    for (id, known) in &known {
        check_container(look, id, known, there.get(id));
    }
    check_processes(env, what);
    let tags: Vec<Value> = env.get("/v1.51/images/json").expect(200).json().as_array().unwrap().clone();
    let tags: Vec<&str> =
        tags.iter().flat_map(|image| image["RepoTags"].as_array().unwrap()).filter_map(Value::as_str).collect();
    for (tag, removing) in &*told.tags.lock().unwrap() {
        assert!(*removing || tags.contains(&tag.as_str()), "{what}: {tag} is not among {tags:?}");
    }
    for tag in tags.iter().filter(|tag| **tag != "busybox:latest") {
        env.delete(&format!("/v1.51/images/{tag}")).expect(200);
    }
    for id in there.keys() {
        let reply = env.delete(&format!("/v1.51/containers/{id}?force=1"));
        assert!([204, 404].contains(&reply.status), "{what}: rm -f: {} {}", reply.status, reply.text());
        told_once(look, id, "destroy", 1);
    }
    check_networks(env, what);
}

/// No network is in use any more, and no interface of a container is left on a bridge.
#[track_caller]
fn check_networks(env: &Env, what: &str) {
    let networks = env.get("/v1.51/networks?filters={%22type%22:[%22custom%22]}").expect(200).json();
    for network in networks.as_array().unwrap() {
        let id = network["Id"].as_str().unwrap();
        // A monitor that is about to end has what it had.
        eventually(&format!("{what}: a network can be removed"), || {
            let said = env.delete(&format!("/v1.51/networks/{id}"));
            assert!([204, 403, 404].contains(&said.status), "{what}: {}", said.text());
            said.status != 403
        });
    }
    let inside = |holder: &Seen| {
        let namespace = format!("--net=/proc/{}/ns/net", holder.pid);
        env.pierless(["unshare", "nsenter", namespace.as_str(), "cat", "/proc/net/dev"]).out
    };
    eventually(&format!("{what}: no interface is left"), || {
        let seen = env.role("holder").first().map(inside).unwrap_or_default();
        !seen.lines().any(|line| line.trim_start().starts_with("veth") || line.trim_start().starts_with("br-"))
    });
}

#[track_caller]
fn check_container(look: Look<'_>, id: &str, known: &Known, there: Option<&Value>) {
    let Look { env, hit, what, full } = look;
    let Some(inspected) = there else {
        assert!(known.removing || known.auto_remove, "{what}: {known:?} is gone");
        told_once(look, id, "destroy", 1);
        return;
    };
    assert!(!known.removed, "{what}: it is still there: {known:?}");
    let name = inspected["Name"].as_str().unwrap().trim_start_matches('/');
    assert!(known.names.contains(name), "{what}: {name} is none of {known:?}");
    let state = &inspected["State"];
    let status = state["Status"].as_str().unwrap();
    let started = count(env, id, "start");
    assert!(full || started >= known.starts, "{what}: {started} starts told, {known:?}");
    match status {
        "running" => {
            let pid = i32::try_from(state["Pid"].as_i64().unwrap()).unwrap();
            // It may have ended since, and have removed itself.
            eventually("a running container runs", || {
                let now = || env.get(&format!("/v1.51/containers/{id}/json"));
                let ended = |now: Reply| now.status == 404 || now.json()["State"]["Running"] == false;
                Seen::of(pid).is_some() || ended(now())
            });
        }
        "exited" => {
            told_once(look, id, "die", started);
            if let Some(code) = known.code.filter(|_| known.starts == 1 && !full) {
                assert_eq!(state["ExitCode"], code, "{what}: not the code that was told: {state}");
            }
            let code = state["ExitCode"].as_i64().unwrap();
            // 128: the start was broken off.
            assert!([7, 128, 137].contains(&code), "{what}: {state}");
            assert!(code == 7 || full || !hit.is_empty() || known.starts != 1, "{what}: {state}");
        }
        "created" => told_once(look, id, "die", started),
        other => panic!("{what}: {other}: {state}"),
    }
}

fn count(env: &Env, id: &str, action: &str) -> usize {
    env.past_events(&json!({"container": [id], "event": [action]})).len()
}

/// What was done is told so often, and no more. It is seen before it is told of; what a killed process did not tell, the
/// next that looks does.
#[track_caller]
fn told_once(look: Look<'_>, id: &str, action: &str, times: usize) {
    let Look { env, what, full, .. } = look;
    if full {
        // Which of them could be written is chance.
        return;
    }
    eventually(&format!("{what}: {action} is told {times} times"), || {
        let told = count(env, id, action);
        assert!(told <= times, "{what}: {action} was told {told} times, not {times}");
        told == times || {
            env.get("/v1.51/containers/json?all=1").expect(200);
            false
        }
    });
}

/// No program runs that belongs to no running container.
#[track_caller]
fn check_processes(env: &Env, what: &str) {
    let marker = marker(env);
    let programs = || -> Vec<Seen> {
        let all = every_process().into_iter();
        all.filter(|seen| seen.arguments.iter().any(|word| word.contains(&marker))).collect()
    };
    eventually(&format!("{what}: every program belongs to a running container"), || {
        let running = env.get("/v1.51/containers/json").expect(200).json();
        let running = running.as_array().unwrap().iter();
        let inits: Vec<i64> = running
            .filter_map(|entry| {
                let inspected = env.get(&format!("/v1.51/containers/{}/json", entry["Id"].as_str()?));
                inspected.json()["State"]["Pid"].as_i64()
            })
            .collect();
        programs().iter().all(|seen| {
            let line = seen.ancestors();
            let is_ours = |pid: i32| inits.contains(&i64::from(pid));
            // An exec's process is its monitor's child, as init is: it shares the pid namespace instead.
            is_ours(seen.pid)
                || line.iter().any(|pid| is_ours(*pid))
                || inits.iter().any(|pid| same_pids(*pid, seen.pid))
        })
    });
}

fn same_pids(a: i64, b: i32) -> bool {
    let namespace = |pid: i64| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    namespace(a).is_some() && namespace(a) == namespace(b.into())
}

/// Of what was removed nothing is left.
#[track_caller]
pub fn nothing_left(env: &Env, what: &str) {
    let gone = |id: &Value| env.get(&format!("/v1.51/containers/{}/json", id.as_str().unwrap())).status == 404;
    eventually(&format!("{what}: no container is left"), || {
        let left = env.get("/v1.51/containers/json?all=1").expect(200).json();
        left.as_array().unwrap().iter().all(|entry| gone(&entry["Id"]))
    });
    eventually(&format!("{what}: no monitor is left"), || env.role("monitor").is_empty());
    let entries = |dir: std::path::PathBuf| -> Vec<String> {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        names.filter(|name| name != "names" && name != "lock").collect()
    };
    let leases = |dir: std::path::PathBuf| -> Vec<String> {
        let named = |entry: std::fs::DirEntry| entry.file_name().into_string().unwrap();
        let links = std::fs::read_dir(dir).into_iter().flatten().flatten();
        links.filter(|entry| entry.path().is_symlink()).map(named).collect()
    };
    let networks = || std::fs::read_dir(env.run_dir().join("networks")).into_iter().flatten().flatten();
    let taken = || networks().flat_map(|entry| leases(entry.path())).collect::<Vec<_>>();
    assert_eq!(taken(), Vec::<String>::new(), "{what}: addresses are taken");
    let containers = env.data().join("containers");
    for dir in [containers.join("names"), containers, env.run_dir().join("containers"), env.run_dir().join("execs")] {
        eventually(&format!("{what}: {} is empty", dir.display()), || entries(dir.clone()).is_empty());
    }
}
