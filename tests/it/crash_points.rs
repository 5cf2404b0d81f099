//! Every system call that changes the disk, of every verb, is the one at which the process is killed, or which fails:
//! afterwards everything that was acknowledged is there, everything that is listed can be inspected and removed, names
//! are free again, and ends and removals were told of once.
//!
//! strace(1) does it, with a count for each system call. A run without harm tells how many there are. Some of them are
//! taken here; all with `PIERLESS_CRASH_POINTS=all`, which takes some minutes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::fixtures;
use super::harness::Env;
use super::process::{Process, eventually};
use super::raw;
use super::registries::{Options, Registry};
use super::store_check::is_sound;

/// What changes a disk, by the names that an x86-64 program may call it.
const CALLS: &str = "rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,symlink,symlinkat,link,linkat,fsync,\
                     fdatasync,fallocate,ftruncate";

/// Points of each verb and harm that are taken if not all are.
const SOME: usize = 6;

/// What is done at a point.
const HARMS: [&str; 3] = ["signal=SIGKILL", "error=EIO", "error=ENOSPC"];

/// An API process whose system calls are watched; when it ends, so does everything that it left.
struct Traced<'a> {
    env: &'a Env,
    strace: Process,
    socket: PathBuf,
    log: PathBuf,
}

impl<'a> Traced<'a> {
    /// `inject`: what strace is to do, beside watching.
    fn start(env: &'a Env, inject: Option<&str>) -> Traced<'a> {
        let (socket, log) = (env.run_dir().join("t.sock"), env.base().join("trace"));
        let mut command = env.command("strace");
        command.args(["-f", "-qq", "-o"]).arg(&log).arg(format!("--trace={CALLS}"));
        if let Some(inject) = inject {
            command.arg(format!("--inject={inject}"));
        }
        command.arg(env.program()).args(["serve", "--idle-timeout", "0", "--socket"]).arg(&socket);
        let mut traced = Traced { env, strace: Process::start(&mut command), socket, log };
        eventually("the API answers, or was killed", || {
            UnixStream::connect(&traced.socket).is_ok() || !traced.strace.is_running()
        });
        traced
    }

    /// The status that was answered, and the body; none if the process was killed before.
    fn ask(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Option<(u16, Vec<u8>)> {
        let mut stream = UnixStream::connect(&self.socket).ok()?;
        stream.set_read_timeout(Some(super::process::GUARD)).ok()?;
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Type: {kind}\r\n");
        stream.write_all(format!("{head}Content-Length: {length}\r\n\r\n").as_bytes()).ok()?;
        stream.write_all(body).ok()?;
        let reply = raw::read_reply(&mut BufReader::new(&stream), false).ok()?;
        Some((reply.status, reply.body))
    }

    fn post(&self, path: &str, body: &Value) -> Option<(u16, Vec<u8>)> {
        self.ask("POST", path, "application/json", body.to_string().as_bytes())
    }

    /// How often one process or thread did each call, at most.
    fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
        for line in fs::read_to_string(&self.log).unwrap_or_default().lines() {
            let mut words = line.split_whitespace();
            let (Some(pid), Some(rest)) = (words.next(), words.next()) else { continue };
            if let Some((call, _)) = rest.split_once('(')
                && CALLS.split(',').any(|known| known == call)
            {
                *counts.entry((pid.to_owned(), call.to_owned())).or_default() += 1;
            }
        }
        let mut most = BTreeMap::new();
        for ((_, call), count) in counts {
            let entry = most.entry(call).or_default();
            *entry = count.max(*entry);
        }
        most
    }
}

impl Drop for Traced<'_> {
    fn drop(&mut self) {
        let socket = self.socket.to_str().unwrap();
        for seen in self.env.role("serve") {
            if seen.arguments.iter().any(|word| word == socket) {
                let _ = kill(Pid::from_raw(seen.pid), Signal::SIGKILL);
            }
        }
        // It ends with the last that it watches: monitors, too.
        self.strace.kill();
        let _ = fs::remove_file(&self.socket);
    }
}

/// A verb: how it is prepared, done, and what must hold if it was acknowledged.
struct Verb {
    prepare: fn(&Env),
    /// Whether it was acknowledged.
    act: fn(&Traced<'_>) -> bool,
    holds: fn(&Env),
}

fn body(temporary: bool) -> Value {
    let host = json!({"NetworkMode": "none", "AutoRemove": temporary});
    json!({"Image": "busybox", "Cmd": ["sh", "-c", "exit 3"], "HostConfig": host})
}

fn create(env: &Env, name: &str, temporary: bool) {
    env.post(&format!("/containers/create?name={name}"), &body(temporary)).expect(201);
}

fn status(env: &Env, path: &str) -> u16 {
    env.get(path).status
}

/// Everything that is listed can be inspected and removed, and names are free afterwards. Gives the ids that were there.
#[track_caller]
fn all_can_go(env: &Env, point: &str) -> BTreeSet<String> {
    let list = env.get("/containers/json?all=1").expect(200).json();
    let mut ids = BTreeSet::new();
    for one in list.as_array().unwrap() {
        let id = one["Id"].as_str().unwrap();
        let inspected = env.get(&format!("/containers/{id}/json"));
        // A temporary one may go by itself.
        if inspected.status == 200 {
            let state = inspected.json()["State"].clone();
            assert!(["created", "running", "exited"].contains(&state["Status"].as_str().unwrap()), "{point}: {state}");
            let removed = env.delete(&format!("/containers/{id}?force=1"));
            assert!([204, 404].contains(&removed.status), "{point}: {}", removed.text());
        }
        ids.insert(id.to_owned());
    }
    assert_eq!(env.get("/containers/json?all=1").expect(200).json(), json!([]), "{point}");
    for name in ["cx", "cy"] {
        let made = env.post(&format!("/containers/create?name={name}"), &body(false));
        assert_eq!(made.status, 201, "{point}: {name} is free: {}", made.text());
        let id = made.json()["Id"].as_str().unwrap().to_owned();
        env.delete(&format!("/containers/{id}")).expect(204);
    }
    ids
}

fn all_points(counts: &BTreeMap<String, usize>) -> Vec<(String, usize)> {
    counts.iter().flat_map(|(call, count)| (1..=*count).map(|n| (call.clone(), n))).collect()
}

/// Some of them, at equal distances, or all.
fn chosen(points: Vec<(String, usize)>, shift: usize) -> Vec<(String, usize)> {
    if std::env::var("PIERLESS_CRASH_POINTS").is_ok_and(|which| which == "all") || points.len() <= SOME {
        return points;
    }
    let step = points.len().div_ceil(SOME);
    points.into_iter().skip(shift % step).step_by(step).collect()
}

#[track_caller]
fn crash(verb: &Verb) {
    let mut env = Env::with_busybox();
    (verb.prepare)(&env);
    let counts = {
        let traced = Traced::start(&env, None);
        assert!((verb.act)(&traced), "without harm");
        eventually("its monitor has ended", || env.role("monitor").is_empty());
        traced.counts()
    };
    (verb.holds)(&env);
    assert!(counts.keys().any(|call| call.starts_with("fsync") || call.starts_with("rename")), "{counts:?}");
    let mut ids = all_can_go(&env, "without harm");
    let mut missed = 0;
    for (shift, harm) in HARMS.iter().enumerate() {
        for (call, n) in chosen(all_points(&counts), shift) {
            let point = format!("{harm} at {call} {n}");
            (verb.prepare)(&env);
            let acknowledged = {
                let traced = Traced::start(&env, Some(&format!("{call}:{harm}:when={n}")));
                (verb.act)(&traced)
            };
            missed += usize::from(!acknowledged);
            if acknowledged {
                (verb.holds)(&env);
            }
            ids.extend(all_can_go(&env, &point));
            eventually("no monitor is left", || env.role("monitor").is_empty());
        }
    }
    assert!(missed > 0, "no harm was done");
    told_and_tidy(&mut env, &ids);
}

/// The next API process ends what was cut short: nothing is left, and everything was told of once; images that are
/// removed leave nothing either.
#[track_caller]
fn told_and_tidy(env: &mut Env, ids: &BTreeSet<String>) {
    env.kill_server();
    env.serve();
    let _ = env.get("/containers/json").expect(200);
    let left = || {
        let dirs = [env.data().join("containers"), env.data().join("images/tmp"), env.run_dir().join("containers")];
        let entries = dirs.into_iter().flat_map(|dir| fs::read_dir(dir).into_iter().flatten().flatten());
        entries.map(|entry| entry.file_name().into_string().unwrap()).filter(|name| name != "lock" && name != "names")
    };
    eventually(&format!("nothing is left of {:?}", left().collect::<Vec<_>>()), || left().next().is_none());
    let mut told: BTreeMap<(String, String), usize> = BTreeMap::new();
    for event in env.past_events(&json!({"type": ["container"]})) {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        *told.entry((text(&event["Actor"]["ID"]), text(&event["Action"]))).or_default() += 1;
    }
    let count = |id: &str, action: &str| told.get(&(id.to_owned(), action.to_owned())).copied().unwrap_or(0);
    for id in ids {
        assert_eq!(count(id, "destroy"), 1, "{id}");
        assert!(count(id, "die") <= 1 && count(id, "die") >= count(id, "start"), "{id}");
    }
    for image in env.get("/images/json").expect(200).json().as_array().unwrap() {
        env.delete(&format!("/images/{}?force=1", image["Id"].as_str().unwrap())).expect(200);
    }
    let images = env.data().join("images");
    let stored = ["layers", "blobs/sha256"].map(|kind| fs::read_dir(images.join(kind)).unwrap().flatten());
    let names: Vec<_> = stored.into_iter().flatten().map(|entry| entry.file_name()).collect();
    assert!(names.is_empty(), "left of removed images: {names:?}");
}

#[test]
fn create_survives() {
    crash(&Verb {
        prepare: |_| (),
        act: |api| api.post("/containers/create?name=cx", &body(false)).is_some_and(|(status, _)| status == 201),
        holds: |env| assert_eq!(status(env, "/containers/cx/json"), 200),
    });
}

#[test]
fn rename_survives() {
    crash(&Verb {
        prepare: |env| create(env, "cx", false),
        act: |api| api.post("/containers/cx/rename?name=cy", &json!(null)).is_some_and(|(status, _)| status == 204),
        holds: |env| assert_eq!(["cx", "cy"].map(|name| status(env, &format!("/containers/{name}/json"))), [404, 200]),
    });
}

#[test]
fn remove_survives() {
    crash(&Verb {
        prepare: |env| create(env, "cx", false),
        act: |api| api.ask("DELETE", "/containers/cx", "", b"").is_some_and(|(status, _)| status == 204),
        holds: |env| assert_eq!(status(env, "/containers/cx/json"), 404),
    });
}

/// Starts `cx` and waits for its end: the code that was answered.
fn start_and_wait(api: &Traced<'_>) -> Option<i64> {
    // Before the start: afterwards it may be gone.
    let mut waiting = UnixStream::connect(&api.socket).ok()?;
    waiting.set_read_timeout(Some(super::process::GUARD)).ok()?;
    waiting
        .write_all(b"POST /containers/cx/wait?condition=next-exit HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n")
        .ok()?;
    let mut reader = BufReader::new(&waiting);
    // The head comes when the wait has begun.
    let head = raw::read_head(&mut reader).ok().filter(|head| head.status == 200)?;
    api.post("/containers/cx/start", &json!(null)).filter(|(status, _)| *status == 204)?;
    let body = raw::read_body(&mut reader, &head).ok()?;
    serde_json::from_slice::<Value>(&body).ok()?["StatusCode"].as_i64()
}

#[test]
fn start_and_exit_survive() {
    crash(&Verb {
        prepare: |env| create(env, "cx", false),
        // 137, if it was the container's process or its monitor that was killed.
        act: |api| start_and_wait(api).is_some_and(|code| [3, 137].contains(&code)),
        holds: |env| {
            let state = env.get("/containers/cx/json").expect(200).json()["State"].clone();
            assert_eq!(state["Status"], "exited");
            assert!(state["ExitCode"] == 3 || state["ExitCode"] == 137, "{state}");
        },
    });
}

#[test]
fn temporary_ones_go() {
    crash(&Verb {
        prepare: |env| create(env, "cx", true),
        act: |api| start_and_wait(api).is_some_and(|code| [3, 137].contains(&code)),
        // By itself, or by the next process that looks.
        holds: |env| {
            let mut patience = 0;
            while status(env, "/containers/cx/json") != 404 {
                patience += 1;
                assert!(patience < 3000, "it stays");
                std::thread::sleep(Duration::from_millis(10));
            }
        },
    });
}

#[test]
fn tag_survives() {
    crash(&Verb {
        prepare: |env| drop(env.delete("/images/other:one")),
        act: |api| {
            api.post("/images/busybox/tag?repo=other&tag=one", &json!(null)).is_some_and(|(status, _)| status == 201)
        },
        holds: |env| assert_eq!(status(env, "/images/other:one/json"), 200),
    });
}

/// An image with a layer of its own, under the name `loaded:one`.
fn archive(text: &str) -> Vec<u8> {
    let layers = [fixtures::busybox_layer(), fixtures::Tar::default().file("more", 0o644, text).bytes()];
    fixtures::docker_archive(&["loaded:one"], fixtures::busybox_config(), &layers)
}

fn load(env: &Env, text: &str) {
    let path = env.base().join("archive");
    fs::write(&path, archive(text)).unwrap();
    env.docker(["load", "-q", "-i", path.to_str().unwrap()]).ok();
}

#[test]
fn load_survives() {
    crash(&Verb {
        prepare: |env| drop(env.delete("/images/loaded:one?force=1")),
        act: |api| {
            let reply = api.ask("POST", "/images/load?quiet=1", "application/x-tar", &archive("more"));
            reply.is_some_and(|(status, body)| status == 200 && String::from_utf8_lossy(&body).contains("Loaded image"))
        },
        holds: |env| {
            assert_eq!(status(env, "/images/loaded:one/json"), 200);
            assert_eq!(env.docker(["run", "--rm", "--network=none", "loaded:one", "cat", "/more"]).ok(), "more");
            is_sound(env);
        },
    });
}

#[test]
fn untag_survives() {
    crash(&Verb {
        prepare: |env| drop(env.post("/images/busybox/tag?repo=other&tag=one", &json!(null)).expect(201)),
        act: |api| api.ask("DELETE", "/images/other:one", "", b"").is_some_and(|(status, _)| status == 200),
        holds: |env| {
            assert_eq!(["other:one", "busybox"].map(|name| status(env, &format!("/images/{name}/json"))), [404, 200]);
        },
    });
}

#[test]
fn image_removal_survives() {
    crash(&Verb {
        prepare: |env| load(env, "more"),
        act: |api| api.ask("DELETE", "/images/loaded:one", "", b"").is_some_and(|(status, _)| status == 200),
        holds: |env| {
            assert_eq!(status(env, "/images/loaded:one/json"), 404);
            is_sound(env);
        },
    });
}

/// What a prune says that it removed.
fn pruned(api: &Traced<'_>, path: &str, what: &str) -> bool {
    let reply = api.post(path, &json!(null)).filter(|(status, _)| *status == 200);
    let deleted =
        reply.and_then(|(_, body)| serde_json::from_slice::<Value>(&body).ok()).map(|body| body[what].clone());
    deleted.is_some_and(|deleted| deleted.as_array().is_some_and(|deleted| !deleted.is_empty()))
}

#[test]
fn image_prune_survives() {
    crash(&Verb {
        prepare: |env| ["without a name", "with the name"].iter().for_each(|text| load(env, text)),
        act: |api| pruned(api, "/images/prune", "ImagesDeleted"),
        holds: |env| {
            let dangling = "/images/json?filters=%7B%22dangling%22%3A%5B%22true%22%5D%7D";
            assert_eq!(env.get(dangling).expect(200).json(), json!([]));
            assert_eq!(status(env, "/images/loaded:one/json"), 200);
            is_sound(env);
        },
    });
}

#[test]
fn container_prune_survives() {
    crash(&Verb {
        prepare: |env| ["cx", "cy"].iter().for_each(|name| create(env, name, false)),
        act: |api| pruned(api, "/containers/prune", "ContainersDeleted"),
        // It may have removed one and failed with the other.
        holds: |env| {
            let there = ["cx", "cy"].map(|name| status(env, &format!("/containers/{name}/json")));
            assert!(there.contains(&404), "{there:?}");
        },
    });
}

/// The registry of a verb, by its port: a verb keeps nothing itself.
static PULLS: AtomicU16 = AtomicU16::new(0);
static PUSHES: AtomicU16 = AtomicU16::new(0);

fn at(port: &AtomicU16, name: &str) -> String {
    format!("127.0.0.1:{}/{name}", port.load(Ordering::Relaxed))
}

/// Whether a stream came to its end and had no error in it.
fn streamed(reply: Option<(u16, Vec<u8>)>, end: &str) -> bool {
    let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
    reply.is_some_and(|(status, body)| {
        status == 200 && text(&body).contains(end) && !text(&body).contains("errorDetail")
    })
}

#[test]
fn pull_survives() {
    let registry = Registry::start(Options::default());
    let path = tempfile::NamedTempFile::new().unwrap();
    fs::write(path.path(), archive("pulled")).unwrap();
    registry.push(path.path(), "pulled:one", &[]);
    PULLS.store(registry.port, Ordering::Relaxed);
    crash(&Verb {
        prepare: |env| drop(env.delete(&format!("/images/{}?force=1", at(&PULLS, "pulled:one")))),
        act: |api| {
            let path = format!("/images/create?fromImage={}&tag=one", at(&PULLS, "pulled"));
            streamed(api.post(&path, &json!(null)), "Status: ")
        },
        holds: |env| {
            let name = at(&PULLS, "pulled:one");
            is_sound(env);
            assert_eq!(env.docker(["run", "--rm", "--network=none", &name, "cat", "/more"]).ok(), "pulled");
        },
    });
}

#[test]
fn push_survives() {
    let registry = Registry::start(Options::default());
    PUSHES.store(registry.port, Ordering::Relaxed);
    crash(&Verb {
        // As it was loaded: its manifest is made, and kept, by the push.
        prepare: |env| {
            let name = at(&PUSHES, "pushed");
            drop(env.delete(&format!("/images/{name}:one?force=1")));
            drop(env.delete("/images/loaded:one?force=1"));
            load(env, "pushed");
            env.post(&format!("/images/loaded:one/tag?repo={name}&tag=one"), &json!(null)).expect(201);
        },
        act: |api| {
            let path = format!("/images/{}/push?tag=one", at(&PUSHES, "pushed"));
            streamed(api.post(&path, &json!(null)), "\"aux\"")
        },
        holds: |env| {
            let name = at(&PUSHES, "pushed");
            is_sound(env);
            let image = env.get(&format!("/images/{name}:one/json")).expect(200).json();
            let known = image["RepoDigests"].as_array().unwrap().iter();
            let known: Vec<_> = known.filter(|one| one.as_str().unwrap().starts_with(&name)).collect();
            assert_eq!(known.len(), 1, "{image}");
            let digest = known[0].as_str().unwrap();
            env.delete(&format!("/images/{name}:one")).expect(200);
            env.docker(["pull", "-q", digest]).ok();
        },
    });
}
