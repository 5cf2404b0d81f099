//! `docker logs` and the log on disk.

use serde_json::{Value, json};

use super::harness::Env;
use super::process::eventually;

#[test]
fn both_streams_and_their_ends() {
    let env = Env::with_busybox();
    env.docker([
        "run",
        "--name",
        "c1",
        "busybox",
        "sh",
        "-c",
        "echo one; sleep 0.1; echo two >&2; sleep 0.1; printf half",
    ])
    .ok();
    let output = env.docker(["logs", "c1"]);
    assert_eq!((output.out.as_str(), output.err.as_str()), ("one\nhalf", "two\n"));
    assert_eq!(env.docker(["logs", "--tail", "0", "c1"]).ok(), "");
    assert_eq!(env.docker(["logs", "--tail", "1", "c1"]).out, "half");
    let output = env.docker(["logs", "--tail", "2", "c1"]);
    assert_eq!((output.out.as_str(), output.err.as_str()), ("half", "two\n"));
    let stamped = env.docker(["logs", "-t", "c1"]).ok();
    for line in stamped.lines() {
        let (time, text) = line.split_once(' ').unwrap();
        assert!(time.len() == 30 && time.ends_with('Z') && !text.is_empty(), "{line}");
    }
    let message = env.docker(["logs", "nobody"]).fails(1);
    assert!(message.contains("No such container: nobody"), "{message}");
}

#[test]
fn follow_ends_with_the_container() {
    let env = Env::with_busybox();
    let (id, _) = env
        .create(json!({"Image": "busybox", "Cmd": ["sh", "-c", "echo a; read x; echo $x; read x"], "OpenStdin": true}));
    env.docker(["start", &id]).ok();
    let follower = env.docker_start(["logs", "-f", &id]);
    follower.out.wait_for("a\n");
    let mut writer = env.docker_start(["attach", &id]);
    std::thread::sleep(std::time::Duration::from_millis(300));
    writer.send(b"b\n");
    follower.out.wait_for("a\nb\n");
    let late = env.docker_start(["logs", "-f", "--tail", "1", &id]);
    late.out.wait_for("b\n");
    writer.send(b"c\n");
    assert_eq!(follower.finish().ok(), "a\nb\n");
    assert_eq!(late.finish().ok(), "b\n");
}

#[test]
fn since_and_until_cut() {
    let env = Env::with_busybox();
    env.docker(["run", "--name", "c1", "busybox", "sh", "-c", "echo early; sleep 2.2; echo late"]).ok();
    let stamped = env.docker(["logs", "-t", "c1"]).ok();
    let times: Vec<&str> = stamped.lines().map(|line| line.split_once(' ').unwrap().0).collect();
    assert_eq!(env.docker(["logs", "--since", times[1], "c1"]).ok(), "late\n");
    assert_eq!(env.docker(["logs", "--until", times[0], "c1"]).ok(), "early\n");
    assert_eq!(env.docker(["logs", "--since", "1h", "c1"]).ok(), "early\nlate\n");
    assert_eq!(env.docker(["logs", "--since", "2100-01-01T00:00:00Z", "c1"]).ok(), "");
}

#[test]
fn on_disk_in_dockers_format() {
    let env = Env::with_busybox();
    let id = env.run_detached(
        &[],
        &["sh", "-c", "echo 'with \"quotes\" and \\ and ü'; echo e >&2; head -c 40000 /dev/zero | tr '\\0' x"],
    );
    env.docker(["wait", &id]).ok();
    let path = env.inspect(&id, "{{.LogPath}}");
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let find = |text: &str| lines.iter().find(|line| line["log"] == text).unwrap();
    assert_eq!(find("with \"quotes\" and \\ and ü\n")["stream"], "stdout");
    assert_eq!(find("e\n")["stream"], "stderr");
    assert!(lines.iter().all(|line| line["time"].as_str().unwrap().ends_with('Z')));
    // A line longer than 16 KiB is split, without losing or adding a byte.
    let long: String =
        lines.iter().map(|line| line["log"].as_str().unwrap()).filter(|text| text.starts_with('x')).collect();
    assert_eq!(long.len(), 40000);
    assert!(lines.len() > 3);
}

#[test]
fn rotation_bounds_it() {
    let env = Env::with_busybox();
    let id = env.run_detached(
        &["--log-opt", "max-size=10k", "--log-opt", "max-file=3"],
        &["sh", "-c", "for i in $(seq 1 2000); do echo line $i; done"],
    );
    env.docker(["wait", &id]).ok();
    let path = env.inspect(&id, "{{.LogPath}}");
    let folder = std::path::Path::new(&path).parent().unwrap();
    let sizes: Vec<u64> = std::fs::read_dir(folder)
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_str().unwrap().starts_with("container.log"))
        .map(|entry| entry.metadata().unwrap().len())
        .collect();
    assert_eq!(sizes.len(), 3, "{sizes:?}");
    assert!(sizes.iter().all(|size| *size <= 11_000), "{sizes:?}");
    let text = env.docker(["logs", &id]).ok();
    assert!(text.ends_with("line 1999\nline 2000\n"));
    let first: u32 = text.lines().next().unwrap().strip_prefix("line ").unwrap().parse().unwrap();
    assert!(text.lines().count() as u32 == 2001 - first && first > 1);
    // Two full files are always kept, some 120 lines each: so many that more than one is read.
    assert_eq!(env.docker(["logs", "--tail", "200", &id]).ok().lines().next(), Some("line 1801"));
}

#[test]
fn following_survives_rotation() {
    let env = Env::with_busybox();
    let (id, _) = env.create(json!({"Image": "busybox", "Cmd": ["sh", "-c", "read x; for i in $(seq 1 1000); do echo line $i; sleep 0.001; done"],
        "OpenStdin": true, "HostConfig": {"LogConfig": {"Type": "json-file", "Config": {"max-size": "20k", "max-file": "10"}}}}));
    env.docker(["start", &id]).ok();
    let follower = env.docker_start(["logs", "-f", &id]);
    let mut writer = env.docker_start(["attach", &id]);
    std::thread::sleep(std::time::Duration::from_millis(300));
    writer.send(b"go\n");
    let wanted: String = (1..=1000).map(|number| format!("line {number}\n")).collect();
    assert_eq!(follower.finish().ok(), wanted);
}

#[test]
fn none_keeps_nothing() {
    let env = Env::with_busybox();
    let output = env.docker(["run", "--name", "c1", "--log-driver", "none", "busybox", "echo", "hi"]);
    assert_eq!(output.ok(), "hi\n");
    let message = env.docker(["logs", "c1"]).fails(1);
    assert!(message.contains("configured logging driver does not support reading"), "{message}");
    let message = env.docker(["run", "--log-driver", "gelf", "busybox", "true"]).fails(125);
    assert!(message.contains("gelf"), "{message}");
    let message = env.docker(["run", "--log-opt", "max-size=nonsense", "busybox", "true"]).fails(125);
    assert!(message.contains("max-size") || message.contains("nonsense"), "{message}");
}

#[test]
fn a_terminals_log_is_one_stream() {
    let env = Env::with_busybox();
    let id = env.run_detached(&["-t"], &["sh", "-c", "echo a; echo b >&2"]);
    env.docker(["wait", &id]).ok();
    eventually("the log", || env.docker(["logs", &id]).out == "a\r\nb\r\n");
}
