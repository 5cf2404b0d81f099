//! Create, start, stop, kill, wait, restart, rename, remove, and what events they make.

use serde_json::json;

use super::harness::Env;
use super::process::{Process, eventually};

#[test]
fn stop_asks_then_kills() {
    let env = Env::with_busybox();
    let polite = "trap 'echo bye; exit 12' TERM; echo ready; while :; do sleep 0.1; done";
    env.run_detached(&["--name", "polite"], &["sh", "-c", polite]);
    eventually("ready", || env.docker(["logs", "polite"]).out == "ready\n");
    assert_eq!(env.docker(["stop", "polite"]).ok(), "polite\n");
    assert_eq!(env.inspect("polite", "{{.State.Status}} {{.State.ExitCode}} {{.State.Pid}}"), "exited 12 0");
    assert_eq!(env.docker(["logs", "polite"]).ok(), "ready\nbye\n");

    env.run_detached(&["--name", "deaf"], &["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"]);
    eventually("ready", || env.docker(["logs", "deaf"]).out == "ready\n");
    env.docker(["stop", "-t", "1", "deaf"]).ok();
    assert_eq!(env.inspect("deaf", "{{.State.ExitCode}}"), "137");

    env.run_detached(
        &["--name", "own", "--stop-signal", "USR1", "--stop-timeout", "50"],
        &["sh", "-c", "trap 'exit 21' USR1; echo ready; while :; do sleep 0.1; done"],
    );
    eventually("ready", || env.docker(["logs", "own"]).out == "ready\n");
    env.docker(["stop", "own"]).ok();
    assert_eq!(env.inspect("own", "{{.State.ExitCode}}"), "21");
    // Stopping what does not run is no error, and says so by its status.
    env.post("/containers/own/stop", &json!(null)).expect(304);
}

#[test]
fn kill_sends_any_signal() {
    let env = Env::with_busybox();
    env.run_detached(&["--name", "c1"], &["sh", "-c", "trap 'echo got' USR1; echo ready; while :; do sleep 0.1; done"]);
    eventually("ready", || env.docker(["logs", "c1"]).out == "ready\n");
    env.docker(["kill", "-s", "USR1", "c1"]).ok();
    eventually("got", || env.docker(["logs", "c1"]).out == "ready\ngot\n");
    env.docker(["kill", "-s", "SIGUSR1", "c1"]).ok();
    eventually("got twice", || env.docker(["logs", "c1"]).out == "ready\ngot\ngot\n");
    env.docker(["kill", "c1"]).ok();
    assert_eq!(env.docker(["wait", "c1"]).ok(), "137\n");
    let message = env.docker(["kill", "c1"]).fails(1);
    assert!(message.contains("is not running"), "{message}");
    env.post("/containers/c1/kill", &json!(null)).expect(409);
    env.post("/containers/c1/kill?signal=NONSENSE", &json!(null)).expect(400);
}

#[test]
fn wait_has_its_conditions() {
    let env = Env::with_busybox();
    env.docker(["create", "--name", "c1", "-i", "busybox", "sh", "-c", "read code; exit $code"]).ok();
    // The default condition holds of what does not run.
    assert_eq!(env.post("/containers/c1/wait", &json!(null)).expect(200).json(), json!({"StatusCode": 0}));
    let socket = env.socket();
    let waiting: Vec<_> = ["next-exit", "removed"]
        .into_iter()
        .map(|condition| {
            let socket = socket.clone();
            std::thread::spawn(move || {
                super::raw::request(
                    &socket,
                    "POST",
                    &format!("/v1.51/containers/c1/wait?condition={condition}"),
                    "",
                    b"",
                )
            })
        })
        .collect();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(waiting.iter().all(|thread| !thread.is_finished()), "a wait returned before the start");
    let mut docker = env.docker_start(["start", "-ai", "c1"]);
    docker.send(b"8\n");
    assert_eq!(docker.finish().code, 8);
    let mut waiting = waiting.into_iter();
    assert_eq!(waiting.next().unwrap().join().unwrap().json()["StatusCode"], 8);
    assert_eq!(env.docker(["wait", "c1"]).ok(), "8\n");
    let removed = waiting.next().unwrap();
    assert!(!removed.is_finished());
    env.docker(["rm", "c1"]).ok();
    assert_eq!(removed.join().unwrap().json()["StatusCode"], 8);
    env.post("/containers/c1/wait", &json!(null)).expect(404);
}

#[test]
fn waits_headers_come_before_its_answer() {
    use std::io::{BufReader, Write};
    let env = Env::with_busybox();
    env.docker(["create", "--name", "c1", "busybox", "true"]).ok();
    let mut stream = super::raw::connect(&env.socket());
    stream
        .write_all(
            b"POST /v1.51/containers/c1/wait?condition=next-exit HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n",
        )
        .unwrap();
    let head = super::raw::read_head(&mut BufReader::new(&stream)).unwrap();
    assert_eq!((head.status, head.header("content-type")), (200, Some("application/json")));
}

#[test]
fn restart_makes_a_new_process_of_the_same_container() {
    let env = Env::with_busybox();
    env.run_detached(
        &["--name", "c1"],
        &["sh", "-c", "echo $$ >>/tmp/runs; trap 'exit 0' TERM; while :; do sleep 0.1; done"],
    );
    let first = env.inspect("c1", "{{.State.Pid}} {{.State.StartedAt}}");
    eventually("it runs", || env.docker(["exec", "c1", "cat", "/tmp/runs"]).out == "1\n");
    env.docker(["restart", "-t", "5", "c1"]).ok();
    let second = env.inspect("c1", "{{.State.Pid}} {{.State.StartedAt}}");
    assert_ne!(first, second);
    eventually("it runs again on its own files", || env.docker(["exec", "c1", "cat", "/tmp/runs"]).out == "1\n1\n");
    env.docker(["stop", "c1"]).ok();
    env.docker(["start", "c1"]).ok();
    assert_eq!(env.inspect("c1", "{{.State.Status}}"), "running");
    env.post("/containers/c1/start", &json!(null)).expect(304);
}

#[test]
fn a_restart_is_no_end_for_rm() {
    let env = Env::with_busybox();
    env.run_detached(&["--rm", "--name", "c1"], &["sleep", "1000"]);
    let first = env.inspect("c1", "{{.State.Pid}}");
    env.docker(["restart", "-t", "0", "c1"]).ok();
    assert_ne!(env.inspect("c1", "{{.State.Pid}}"), first);
    env.docker(["stop", "-t", "0", "c1"]).ok();
    eventually("it is removed", || env.docker(["ps", "-aq"]).out.is_empty());
}

#[test]
fn rename_moves_the_name() {
    let env = Env::with_busybox();
    let id = env.run_detached(&["--name", "old"], &["sleep", "1000"]);
    env.run_detached(&["--name", "other"], &["sleep", "1000"]);
    env.docker(["rename", "old", "new"]).ok();
    assert_eq!(env.inspect("new", "{{.Id}} {{.Name}}"), format!("{id} /new"));
    env.docker(["inspect", "old"]).fails(1);
    let message = env.docker(["rename", "new", "other"]).fails(1);
    assert!(message.contains("already in use"), "{message}");
    env.post("/containers/new/rename?name=b%20d", &json!(null)).expect(400);
    env.post("/containers/new/rename", &json!(null)).expect(400);
    env.post("/containers/nobody/rename?name=x1", &json!(null)).expect(404);
    env.docker(["run", "-d", "--name", "old", "busybox", "true"]).ok();
}

#[test]
fn remove_refuses_what_runs_unless_forced() {
    let env = Env::with_busybox();
    let id = env.run_detached(&["--name", "c1"], &["sleep", "1000"]);
    let message = env.delete("/containers/c1").expect(409).message();
    assert!(message.contains("container is running") || message.contains("running container"), "{message}");
    assert_eq!(env.docker(["rm", "-f", "c1"]).ok(), "c1\n");
    env.delete("/containers/c1").expect(404);
    for path in [env.data().join("containers").join(&id), env.run_dir().join("containers").join(&id)] {
        assert!(!path.exists(), "{} is left", path.display());
    }
    assert!(!env.data().join("containers/names/c1").exists());
    eventually("its monitor is gone", || env.role("monitor").is_empty());
}

#[test]
fn by_prefix_if_it_is_the_only_one() {
    let env = Env::with_busybox();
    let id = env.run_detached(&[], &["sleep", "1000"]);
    assert_eq!(env.inspect(&id[..12], "{{.Id}}"), id);
    assert_eq!(env.inspect(&id[..4], "{{.Id}}"), id);
}

#[test]
fn prune_removes_what_has_ended() {
    let env = Env::with_busybox();
    env.run_detached(&["--name", "keep"], &["sleep", "1000"]);
    for name in ["aa", "bb"] {
        env.docker(["run", "--name", name, "--label", &format!("which={name}"), "busybox", "true"]).ok();
    }
    env.docker(["container", "prune", "-f", "--filter", "label=which=aa"]).ok();
    assert_eq!(names(&env), ["bb", "keep"]);
    let text = env.docker(["container", "prune", "-f"]).ok();
    assert!(text.contains("Deleted Containers:"), "{text}");
    assert_eq!(names(&env), ["keep"]);
}

fn names(env: &Env) -> Vec<String> {
    let mut names: Vec<String> =
        env.docker(["ps", "-a", "--format", "{{.Names}}"]).ok().lines().map(str::to_owned).collect();
    names.sort();
    names
}

/// Actions of container events from `docker events`, until `last` has come.
fn actions(events: &Process, last: &str, times: usize) -> Vec<String> {
    events.out.wait_until(last, |text| text.lines().filter(|line| *line == last).count() >= times);
    events.out.now().lines().map(str::to_owned).collect()
}

#[test]
fn events_tell_in_order() {
    let env = Env::with_busybox();
    let watch = || env.docker_start(["events", "--filter", "type=container", "--format", "{{.Action}}"]);
    let subscribe = |events: &Process| {
        // There is no answer to wait for: make events until one is seen.
        let mut round = 0;
        eventually("the subscription stands", || {
            round += 1;
            env.docker(["create", "--name", &format!("probe{round}"), "busybox"]).ok();
            std::thread::sleep(std::time::Duration::from_millis(100));
            events.out.now().contains("create")
        });
    };
    let events = watch();
    subscribe(&events);
    let known = events.out.now().lines().count();
    env.docker(["run", "--rm", "busybox", "true"]).ok();
    let seen = actions(&events, "destroy", 1);
    assert_eq!(seen[known..], ["create", "attach", "start", "die", "destroy"]);

    let known = events.out.now().lines().count();
    env.run_detached(&["--name", "c1"], &["sh", "-c", "trap 'exit 0' TERM; echo ready; while :; do sleep 0.1; done"]);
    let ready = |times| eventually("ready", || env.docker(["logs", "c1"]).out.lines().count() == times);
    ready(1);
    env.docker(["stop", "c1"]).ok();
    env.docker(["start", "c1"]).ok();
    ready(2);
    env.docker(["restart", "c1"]).ok();
    env.docker(["rename", "c1", "d1"]).ok();
    env.docker(["kill", "d1"]).ok();
    env.docker(["start", "d1"]).ok();
    env.docker(["rm", "-f", "d1"]).ok();
    let seen = actions(&events, "destroy", 2);
    // Which of a stop's `die` and `stop` comes first is no promise of Docker's.
    let seen = seen[known..].join(" ").replace("die stop", "stop die");
    assert_eq!(
        seen,
        "create start kill stop die start kill stop die start restart rename kill die start kill die destroy"
    );
}

#[test]
fn past_events_are_told_from_disk() {
    let mut env = Env::with_busybox();
    let id = env.run_detached(&["--name", "c1", "--label", "a=b"], &["sh", "-c", "exit 3"]);
    env.docker(["wait", "c1"]).ok();
    env.kill_server();
    env.serve();
    let events = env.past_events(&json!({"container": ["c1"]}));
    let actions: Vec<&str> = events.iter().map(|event| event["Action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["create", "start", "die"]);
    let attributes = &events[2]["Actor"]["Attributes"];
    assert_eq!(events[2]["Actor"]["ID"], *id);
    assert_eq!(
        (&attributes["exitCode"], &attributes["name"], &attributes["image"], &attributes["a"]),
        (&json!("3"), &json!("c1"), &json!("busybox"), &json!("b"))
    );
    let images = env.past_events(&json!({"type": ["image"]}));
    assert!(images.iter().any(|event| event["Action"] == "load"), "{images:?}");
    // The command line cuts its times to whole seconds, so it is asked for what is surely past.
    let before = env.docker(["events", "--since", "10m", "--until", "1m", "--format", "{{.Action}}"]).ok();
    assert_eq!(before, "");
}

#[test]
fn top_lists_the_containers_processes() {
    let env = Env::with_busybox();
    env.run_detached(&["--name", "c1"], &["sh", "-c", "sleep 1001 & sleep 1002"]);
    eventually("both sleep", || {
        let text = env.docker(["top", "c1"]).ok();
        let first = text.lines().next().unwrap_or_default().to_owned();
        assert!(first.starts_with("UID") && first.contains("PID") && first.contains("CMD"), "{text}");
        text.contains("sleep 1001") && text.contains("sleep 1002")
    });
    let text = env.docker(["top", "c1", "-o", "pid,comm"]).ok();
    assert!(text.lines().next().unwrap().split_whitespace().eq(["PID", "COMMAND"]), "{text}");
    env.docker(["kill", "c1"]).ok();
    let message = env.docker(["top", "c1"]).fails(1);
    assert!(message.contains("is not running"), "{message}");
}
