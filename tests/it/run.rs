//! `docker run`, as people use it.

use std::process::Command;

use serde_json::json;

use super::harness::Env;
use super::process::{Process, eventually};

#[test]
fn prints_both_streams_apart_and_hands_on_the_exit_code() {
    let env = Env::with_busybox();
    let output =
        env.docker(["run", "--rm", "--network", "none", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((output.code, output.out.as_str(), output.err.as_str()), (7, "out\n", "err\n"));
}

#[test]
fn a_container_that_ends_at_once_loses_nothing() {
    let env = Env::with_busybox();
    for round in 0..20 {
        let output = env.docker(["run", "--rm", "busybox", "sh", "-c", &format!("echo {round}; exit {round}")]);
        assert_eq!((output.code, output.out), (round, format!("{round}\n")), "{}", output.err);
    }
}

#[test]
fn big_output_arrives_whole() {
    let env = Env::with_busybox();
    let output = env.docker(["run", "--rm", "--network", "none", "busybox", "sh", "-c", "seq 1 200000; echo end >&2"]);
    let wanted: String = (1..=200_000).map(|number| format!("{number}\n")).collect();
    assert_eq!(output.out.len(), wanted.len());
    assert!(output.out == wanted && output.err == "end\n");
}

#[test]
fn takes_the_images_configuration_and_the_callers_over_it() {
    let env = Env::with_busybox();
    let script = "echo $GREETING; pwd; id -u; id -g; hostname; id -Gn";
    let output = env.docker([
        "run",
        "--rm",
        "-e",
        "GREETING=hi there",
        "-w",
        "/var/new/place",
        "-u",
        "alice",
        "-h",
        "box",
        "busybox",
        "sh",
        "-c",
        script,
    ]);
    assert_eq!(output.ok(), "hi there\n/var/new/place\n1000\n1000\nbox\nalice wheel web\n");
    assert_eq!(env.docker(["run", "--rm", "-u", "1234:4321", "busybox", "id"]).ok(), "uid=1234 gid=4321 groups=4321\n");
    assert_eq!(env.docker(["run", "--rm", "-u", "1000:web", "busybox", "id", "-g"]).ok(), "2000\n");
    let path = env.docker(["run", "--rm", "busybox", "sh", "-c", "echo $PATH $HOME"]).ok();
    assert_eq!(path, "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /root\n");
}

#[test]
fn entrypoint_goes_before_the_command() {
    let env = Env::with_busybox();
    assert_eq!(env.docker(["run", "--rm", "--entrypoint", "echo", "busybox", "a", "b"]).ok(), "a b\n");
    // An entrypoint of the caller's drops the image's command.
    assert_eq!(env.docker(["run", "--rm", "--entrypoint", "pwd", "busybox"]).ok(), "/\n");
}

#[test]
fn what_cannot_be_run_is_126_or_127_and_an_unknown_user_125() {
    let env = Env::with_busybox();
    let message = env.docker(["run", "--rm", "busybox", "no-such-program"]).fails(127);
    assert!(message.contains("executable file not found in $PATH"), "{message}");
    env.docker(["run", "--rm", "busybox", "/no/such/program"]).fails(127);
    let message = env.docker(["run", "--rm", "busybox", "/etc/passwd"]).fails(126);
    assert!(message.contains("permission denied"), "{message}");
    let message = env.docker(["run", "--rm", "-u", "nobody-here", "busybox", "true"]).fails(125);
    assert!(message.contains("nobody-here"), "{message}");
    let left = env.docker(["ps", "-aq"]).ok();
    assert_eq!(left, "", "a container whose start failed is left in spite of --rm");
}

#[test]
fn a_failed_start_without_rm_stays_and_says_why() {
    let env = Env::with_busybox();
    env.docker(["run", "--name", "c1", "busybox", "no-such-program"]).fails(127);
    assert_eq!(env.inspect("c1", "{{.State.Status}} {{.State.ExitCode}}"), "created 127");
    assert!(env.inspect("c1", "{{.State.Error}}").contains("executable file not found"));
}

#[test]
fn an_unknown_image_is_named() {
    let env = Env::with_busybox();
    let message = env.docker(["run", "--pull", "never", "no-such-image", "true"]).fails(125);
    assert!(message.contains("No such image: no-such-image:latest"), "{message}");
}

#[test]
fn a_name_is_taken_once() {
    let env = Env::with_busybox();
    let id = env.run_detached(&["--name", "one"], &["sleep", "1000"]);
    assert_eq!(env.inspect("one", "{{.Name}} {{.Id}}"), format!("/one {id}"));
    let message = env.docker(["run", "--name", "one", "busybox", "true"]).fails(125);
    assert!(message.contains("Conflict. The container name \"/one\" is already in use"), "{message}");
    assert!(message.contains(&id), "{message}");
}

#[test]
fn stdin_reaches_the_container_and_its_end_does_too() {
    let env = Env::with_busybox();
    let mut docker = env.docker_start(["run", "--rm", "-i", "busybox", "cat"]);
    docker.send(b"first\n");
    docker.out.wait_for("first\n");
    docker.send(b"second\n");
    docker.out.wait_for("second\n");
    // Half-close: output that comes after the end of input still arrives.
    let output = docker.finish();
    assert_eq!((output.code, output.out.as_str()), (0, "first\nsecond\n"));

    let mut docker =
        env.docker_start(["run", "--rm", "-i", "busybox", "sh", "-c", "cat >/dev/null; sleep 1; echo late"]);
    docker.send(&vec![b'x'; 1 << 20]);
    assert_eq!(docker.finish().ok(), "late\n");
}

#[test]
fn much_stdin_arrives_whole() {
    let env = Env::with_busybox();
    let mut docker = env.docker_start(["run", "--rm", "-i", "busybox", "sh", "-c", "md5sum; echo done"]);
    let data: Vec<u8> = (0..8_000_000u32).map(|number| (number % 251) as u8).collect();
    docker.send(&data);
    let mut sum = Process::start(&mut Command::new("md5sum"));
    sum.send(&data);
    let wanted = sum.finish().ok();
    assert_eq!(docker.finish().ok(), format!("{wanted}done\n"));
}

#[test]
fn without_dash_i_stdin_is_empty() {
    let env = Env::with_busybox();
    assert_eq!(env.docker(["run", "--rm", "busybox", "sh", "-c", "cat; echo end"]).ok(), "end\n");
}

#[test]
fn a_terminal_has_a_size_and_follows_it() {
    let env = Env::with_busybox();
    let mut terminal = env.docker_terminal(["run", "--rm", "-it", "busybox", "sh"]);
    terminal.screen.wait_for("# ");
    terminal.type_in(b"stty size; tty\n");
    terminal.screen.wait_for("24 80\r\n/dev/pts/0\r\n");
    // The client hears of a new size by a signal and passes it on, once it has come to listen for that signal.
    eventually("the container's terminal has the new size", || {
        terminal.resize(40, 131);
        terminal.resize(40, 132);
        terminal.type_in(b"stty size\n");
        std::thread::sleep(std::time::Duration::from_millis(100));
        terminal.screen.now().contains("40 132\r\n")
    });
    terminal.type_in(b"exit 5\n");
    assert_eq!(terminal.finish().0, 5);
}

#[test]
fn keys_act_on_a_terminals_foreground() {
    let env = Env::with_busybox();
    let mut terminal = env.docker_terminal([
        "run",
        "--rm",
        "-it",
        "busybox",
        "sh",
        "-c",
        "trap 'echo trapped; exit 9' INT; echo ready; while :; do sleep 0.1; done",
    ]);
    terminal.screen.wait_for("ready");
    terminal.type_in(b"\x03");
    let (code, screen) = terminal.finish();
    assert!(code == 9 && screen.contains("trapped"), "{code}: {screen}");
}

#[test]
fn detach_keys_leave_the_container_running() {
    let env = Env::with_busybox();
    let mut terminal = env.docker_terminal(["run", "-it", "--name", "c1", "busybox", "sh"]);
    terminal.screen.wait_for("# ");
    terminal.type_in(b"\x10\x11");
    assert_eq!(terminal.finish().0, 0);
    assert_eq!(env.inspect("c1", "{{.State.Running}}"), "true");
    let mut terminal = env.docker_terminal(["attach", "--detach-keys", "ctrl-x,x", "c1"]);
    terminal.type_in(b"echo a''gain\n");
    terminal.screen.wait_for("again");
    terminal.type_in(b"\x18x");
    terminal.finish();
    assert_eq!(env.inspect("c1", "{{.State.Running}}"), "true");
}

#[test]
fn detached_prints_the_id_and_goes_on() {
    let env = Env::with_busybox();
    let id = env.run_detached(&[], &["sh", "-c", "echo hello; sleep 1000"]);
    assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    eventually("it has printed", || env.docker(["logs", &id]).out == "hello\n");
    assert_eq!(env.inspect(&id, "{{.State.Status}}"), "running");
}

#[test]
fn rm_removes_after_the_end_even_if_nobody_waits() {
    let env = Env::with_busybox();
    let id = env.run_detached(&["--rm"], &["sleep", "0.2"]);
    eventually("it is gone", || env.get(&format!("/containers/{id}/json")).status == 404);
    assert!(!env.data().join("containers").join(&id).exists());
}

#[test]
fn signals_are_passed_on_and_the_exit_code_comes_back() {
    let env = Env::with_busybox();
    let docker = env.docker_start([
        "run",
        "--rm",
        "busybox",
        "sh",
        "-c",
        "trap 'exit 33' TERM; echo ready; while :; do sleep 0.1; done",
    ]);
    docker.out.wait_for("ready");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(docker.pid() as i32), nix::sys::signal::Signal::SIGTERM).unwrap();
    docker.finish().fails(33);
}

#[test]
fn whoever_sees_output_may_ask_for_more() {
    // A program may speak before its start is written down; nobody hears it before. The monitor's own tests force that.
    let env = Env::with_busybox();
    for tty in [&["-t"][..], &[]] {
        for round in 0..3 {
            let name = format!("c{}{round}", tty.len());
            let options = [&["run", "--rm", "--network", "none", "--name", &name][..], tty].concat();
            let docker =
                env.docker_start([&options[..], &["busybox", "sh", "-c", "echo ready; exec sleep 1000"]].concat());
            docker.out.wait_for("ready");
            let state = env.get(&format!("/containers/{name}/json")).expect(200).json()["State"]["Status"].clone();
            assert_eq!(state, "running", "{name}");
            env.post(&format!("/containers/{name}/kill?signal=KILL"), &json!(null)).expect(204);
            docker.finish().fails(137);
        }
    }
}

#[test]
fn a_real_distribution_works() {
    let env = Env::new();
    env.docker(["load", "-q", "-i", super::fixtures::debian().to_str().unwrap()]).ok();
    let script = "set -e; . /etc/os-release; echo $ID; dpkg --print-architecture; perl -e 'print 6*7, \"\\n\"'; \
                  useradd -m tester; su tester -c id; stat -c %U /etc/shadow; test -c /dev/null; echo x >/dev/null; \
                  apt-get --version | head -c 3; tar -C / -cf - etc | tar -C /tmp -xf -; ls /tmp";
    let output = env.docker(["run", "--rm", "debian:bookworm", "bash", "-c", script]).ok();
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(
        lines,
        ["debian", "amd64", "42", "uid=1000(tester) gid=1000(tester) groups=1000(tester)", "root", "aptetc"]
    );
}
