//! `docker exec`.

use std::io::{BufReader, Write};

use rustix::process::{Resource, Rlimit};
use serde_json::json;

use super::harness::Env;
use super::process::eventually;
use super::raw;

fn env_with_c() -> Env {
    let env = Env::with_busybox();
    env.run_detached(&["--name", "c1", "-e", "FROM=container"], &["sleep", "1000"]);
    env
}

#[test]
fn streams_and_codes() {
    let env = env_with_c();
    let output = env.docker(["exec", "c1", "sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!((output.code, output.out.as_str(), output.err.as_str()), (3, "out\n", "err\n"));
    env.docker(["exec", "c1", "true"]).ok();
    env.docker(["exec", "c1", "sh", "-c", "kill -9 $$"]).fails(137);
}

#[test]
fn what_cannot_be_run() {
    let env = env_with_c();
    let output = env.docker(["exec", "c1", "no-such-program"]);
    assert_eq!(output.code, 127, "{output:?}");
    assert!(format!("{}{}", output.out, output.err).contains("executable file not found in $PATH"), "{output:?}");
    assert_eq!(env.docker(["exec", "c1", "/etc/passwd"]).code, 126);
    let message = env.docker(["exec", "no-such-container", "true"]).fails(1);
    assert!(message.contains("No such container: no-such-container"), "{message}");
    env.docker(["create", "--name", "idle", "busybox", "true"]).ok();
    let message = env.docker(["exec", "idle", "true"]).fails(1);
    assert!(message.contains("is not running"), "{message}");
}

#[test]
fn a_user_is_looked_up_before_and_refused_in_its_own_words() {
    let env = env_with_c();
    let create =
        |user: &str| env.post("/containers/c1/exec", &json!({"Cmd": ["true"], "User": user, "AttachStdout": true}));
    for (user, wanted) in [
        ("nobody-here", "unable to find user nobody-here: no matching entries in passwd file"),
        ("0:nobody-here", "unable to find group nobody-here: no matching entries in group file"),
        ("4294967295", "uids and gids must be in range 0-2147483647"),
    ] {
        assert_eq!(create(user).expect(400).message(), wanted);
    }
    // A number is any number, until the kernel says that it is nobody's here; the container runs all the while.
    let exec = create("1999999999").expect(201).json()["Id"].as_str().unwrap().to_owned();
    let refused = env.post(&format!("/exec/{exec}/start"), &json!({"Detach": true}));
    assert!(refused.message().contains("cannot become user 1999999999:0"), "{}", refused.text());
    assert_eq!(env.get(&format!("/exec/{exec}/json")).expect(200).json()["ExitCode"], 126);
    // No process to be had, and no descriptor: an engine's failure is a status, and no stream of nothing.
    let monitor = rustix::process::Pid::from_raw(env.role("monitor")[0].pid).unwrap();
    for resource in [Resource::Nproc, Resource::Nofile] {
        let usual = rustix::process::getrlimit(resource);
        let exec = create("").expect(201).json()["Id"].as_str().unwrap().to_owned();
        let low = if resource == Resource::Nproc { 0 } else { 10 };
        let limit = Rlimit { current: Some(low), ..usual };
        let before = rustix::process::prlimit(Some(monitor), resource, limit).unwrap();
        let bytes = format!(
            "POST /exec/{exec}/start HTTP/1.1\r\nHost: d\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\
             Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        let mut stream = raw::connect(&env.socket());
        stream.write_all(bytes.as_bytes()).unwrap();
        let head = raw::read_head(&mut BufReader::new(stream)).unwrap();
        assert_eq!(head.status, 500, "{resource:?}");
        rustix::process::prlimit(Some(monitor), resource, before).unwrap();
        env.docker(["exec", "c1", "true"]).ok();
    }
}

#[test]
fn environment_user_and_folder() {
    let env = env_with_c();
    let output = env.docker([
        "exec",
        "-e",
        "MORE=exec",
        "-w",
        "/tmp",
        "-u",
        "alice",
        "c1",
        "sh",
        "-c",
        "echo $FROM $MORE; pwd; id -un; echo $HOME",
    ]);
    assert_eq!(output.ok(), "container exec\n/tmp\nalice\n/home/alice\n");
}

#[test]
fn input_is_passed_and_its_end() {
    let env = env_with_c();
    let mut docker = env.docker_start(["exec", "-i", "c1", "sh", "-c", "cat; echo late"]);
    docker.send(b"line\n");
    docker.out.wait_for("line\n");
    assert_eq!(docker.finish().ok(), "line\nlate\n");
}

#[test]
fn on_a_terminal() {
    let env = env_with_c();
    let mut terminal = env.docker_terminal(["exec", "-it", "c1", "sh"]);
    terminal.screen.wait_for("# ");
    terminal.type_in(b"stty size; tty\n");
    terminal.screen.wait_for("24 80\r\n/dev/pts/");
    terminal.type_in(b"exit 4\n");
    assert_eq!(terminal.finish().0, 4);
}

#[test]
fn detached_goes_on_alone() {
    let env = env_with_c();
    env.docker(["exec", "-d", "c1", "sh", "-c", "sleep 0.3; touch /tmp/done; sleep 1000"]).ok();
    eventually("it did its work", || env.docker(["exec", "c1", "ls", "/tmp/done"]).code == 0);
}

#[test]
fn many_at_once() {
    let env = env_with_c();
    let all: Vec<_> =
        (0..10).map(|n| env.docker_start(["exec", "c1", "sh", "-c", &format!("echo {n}; exit {n}")])).collect();
    for (number, docker) in all.into_iter().enumerate() {
        let output = docker.finish();
        assert_eq!((output.code, output.out), (number as i32, format!("{number}\n")), "{}", output.err);
    }
}

#[test]
fn inspect_tells_before_during_and_after() {
    let env = env_with_c();
    let body = json!({"Cmd": ["sh", "-c", "exit 6"], "AttachStdout": true, "AttachStderr": true});
    let id = env.post("/v1.51/containers/c1/exec", &body).expect(201).json()["Id"].as_str().unwrap().to_owned();
    let before = env.get(&format!("/v1.51/exec/{id}/json")).expect(200).json();
    assert_eq!((&before["Running"], &before["ExitCode"]), (&json!(false), &json!(null)));
    assert_eq!(before["ProcessConfig"]["entrypoint"], "sh");
    assert_eq!(before["ProcessConfig"]["arguments"], json!(["-c", "exit 6"]));
    env.post(&format!("/v1.51/exec/{id}/start"), &json!({"Detach": false, "Tty": false})).expect(200);
    // The stream's end comes after the code is committed: no waiting here.
    let after = env.get(&format!("/v1.51/exec/{id}/json")).expect(200).json();
    assert_eq!((&after["Running"], &after["ExitCode"]), (&json!(false), &json!(6)));
    env.post(&format!("/v1.51/exec/{id}/start"), &json!({"Detach": false})).expect(409);
    env.get("/v1.51/exec/0123456789abcdef/json").expect(404);
}

#[test]
fn a_session_ends_with_its_container() {
    let env = env_with_c();
    let docker = env.docker_start(["exec", "c1", "sh", "-c", "echo ready; sleep 1000"]);
    docker.out.wait_for("ready");
    env.docker(["kill", "c1"]).ok();
    docker.join().fails(137);
    // Its record is there until the container's next start.
    let body = json!({"Cmd": ["true"]});
    env.docker(["start", "c1"]).ok();
    let id = env.post("/v1.51/containers/c1/exec", &body).expect(201).json()["Id"].as_str().unwrap().to_owned();
    env.post(&format!("/v1.51/exec/{id}/start"), &json!({"Detach": true})).expect(200);
    eventually("it has run", || env.get(&format!("/v1.51/exec/{id}/json")).json()["ExitCode"] == 0);
    env.docker(["kill", "c1"]).ok();
    assert_eq!(env.get(&format!("/v1.51/exec/{id}/json")).expect(200).json()["ExitCode"], 0);
    env.docker(["start", "c1"]).ok();
    env.get(&format!("/v1.51/exec/{id}/json")).expect(404);
}
