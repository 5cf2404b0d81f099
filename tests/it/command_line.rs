//! pierless's own verbs: `up`, `down`, `check`, and containers without any API.

use std::io::Write;

use super::fixtures;
use super::harness::Env;
use super::process::{self, Process, eventually};

#[test]
fn limits_of_whoever_launches_are_errors_and_leave_nothing() {
    let env = Env::with_busybox();
    let limited = |limit: &str, arguments: &[&str]| {
        let script = format!("ulimit {limit}; exec \"$0\" \"$@\"");
        process::run(env.command("sh").arg("-c").arg(script).arg(env.program()).args(arguments))
    };
    // No file may become larger than nothing: an error, not a signal.
    let output = limited("-f 0", &["run", "--rm", "--network", "none", "busybox", "true"]);
    assert!(output.code == 125 && output.err.contains("too large"), "{output:?}");
    // Few descriptors: at some number each step fails for the first time. A monitor wants more than it takes to remove
    // what was to be removed.
    let mut refused = 0;
    for files in 4..24 {
        let output =
            limited(&format!("-n {files}"), &["run", "--rm", "--network", "none", "busybox", "sh", "-c", "exit 3"]);
        assert!([1, 3, 125].contains(&output.code), "{files}: {output:?}");
        assert!(output.code == 3 || output.err.contains("Too many open files"), "{files}: {output:?}");
        let left = env.pierless(["ps", "-aq"]).ok();
        if left.is_empty() {
            refused += i32::from(output.err.contains("cannot launch"));
        } else {
            assert!(output.code != 3, "{files}: {output:?}");
            env.pierless(["rm", left.trim()]).ok();
        }
    }
    assert!(refused > 0, "what could not be launched was not removed");
    // A soft limit of the launcher's is not its container's, nor its monitor's.
    let output =
        limited("-S -f 1000; ulimit -S -t 1000", &["run", "--rm", "busybox", "sh", "-c", "ulimit -f; ulimit -t"]);
    assert_eq!(output.ok(), "unlimited\nunlimited\n");
}

#[test]
fn up_makes_the_api_reachable_and_down_undoes_it() {
    let env = Env::bare();
    // As from a script that has a file open under the number that sockets are passed by.
    let output = super::process::run(env.command("sh").args(["-c", "exec \"$0\" up 3</dev/null"]).arg(env.program()));
    assert_eq!(output.clone().ok(), format!("export DOCKER_HOST=unix://{}\n", env.socket().display()), "{output:?}");
    assert!(env.role("serve").is_empty(), "nothing serves before the first connection");
    for name in [env.runtime_dir().join("docker.sock"), env.home().join(".docker/run/docker.sock")] {
        assert_eq!(std::fs::read_link(name).unwrap(), env.socket());
    }
    // The context works, without DOCKER_HOST.
    let mut command = env.docker_command(["--context", "pierless", "version", "--format", "{{.Server.Os}}"]);
    let version = super::process::run(command.env_remove("DOCKER_HOST"));
    let log = std::fs::read_to_string(env.run_dir().join("serve.log")).unwrap();
    assert_eq!((version.code, version.out.as_str()), (0, "linux\n"), "{}\nserve.log:\n{log}", version.err);
    // A second `up` changes nothing and is no error.
    let serving = env.role("stand-in");
    env.pierless(["up"]).ok();
    assert_eq!(
        env.role("stand-in").iter().map(|seen| seen.pid).collect::<Vec<_>>(),
        serving.iter().map(|seen| seen.pid).collect::<Vec<_>>()
    );
    env.docker(["load", "-q", "-i", fixtures::busybox().to_str().unwrap()]).ok();
    let id = env.run_detached(&["--name", "c1"], &["sleep", "1000"]);
    // It stands in again and again: the API's end is followed by a new one at the next request.
    for serve in env.role("serve") {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(serve.pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    assert_eq!(env.docker(["ps", "-q", "--no-trunc"]).ok().trim(), id);

    env.pierless(["down"]).ok();
    eventually("only the container is left", || env.role("serve").is_empty() && env.role("stand-in").is_empty());
    assert_eq!(env.role("monitor").len(), 1, "containers stay");
    for name in [env.runtime_dir().join("docker.sock"), env.home().join(".docker/run/docker.sock"), env.socket()] {
        assert!(name.symlink_metadata().is_err(), "{}", name.display());
    }
    assert_eq!(std::fs::read_dir(env.home().join(".docker/contexts/meta")).unwrap().count(), 0);
    env.pierless(["up"]).ok();
    assert_eq!(env.docker(["ps", "-q", "--no-trunc"]).ok().trim(), id);
    env.pierless(["down", "--stop"]).ok();
    eventually("nothing is left", || env.processes().is_empty());
    env.pierless(["down"]).ok();
}

#[test]
fn up_takes_no_name_that_is_somebody_elses() {
    let env = Env::bare();
    let taken = env.runtime_dir().join("docker.sock");
    std::fs::write(&taken, "mine").unwrap();
    let output = env.pierless(["up"]);
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(std::fs::read_to_string(&taken).unwrap(), "mine");
    env.pierless(["down"]).ok();
    assert_eq!(std::fs::read_to_string(&taken).unwrap(), "mine");
}

#[test]
fn check_tells_item_by_item() {
    let env = Env::bare();
    let output = env.pierless(["check"]);
    for item in [
        "kernel",
        "user namespaces",
        "subuid",
        "subgid",
        "newuidmap",
        "newgidmap",
        "overlay",
        "cgroups",
        "XDG_RUNTIME_DIR",
        "pasta",
        "linger",
    ] {
        let line =
            output.out.lines().find(|line| line.contains(item)).unwrap_or_else(|| panic!("{item}: {}", output.out));
        assert!(["ok", "lacking", "BROKEN"].iter().any(|verdict| line.starts_with(verdict)), "{line}");
        // What is lacking comes with what mends it.
        let next = output.out.lines().skip_while(|other| *other != line).nth(1).unwrap_or_default();
        assert!(line.starts_with("ok") || next.contains("mend: "), "{line}");
    }
    assert_eq!(output.code, 0, "{output:?}");
    let mut command = env.command(env.program());
    let output = super::process::run(command.arg("check").env_remove("XDG_RUNTIME_DIR"));
    assert_eq!(output.code, 1);
    assert!(output.out.contains("BROKEN   XDG_RUNTIME_DIR"), "{}", output.out);
}

#[test]
fn containers_without_any_api() {
    let env = Env::bare();
    let loaded = env.pierless(["load", "-i", fixtures::busybox().to_str().unwrap()]);
    assert!(loaded.ok().contains("busybox:latest"));
    assert!(env.pierless(["images"]).ok().contains("busybox"));
    let output = env.pierless([
        "run",
        "--rm",
        "--network",
        "none",
        "-e",
        "A=b",
        "busybox",
        "sh",
        "-c",
        "echo $A; echo err >&2; exit 9",
    ]);
    assert_eq!((output.code, output.out.as_str(), output.err.as_str()), (9, "b\n", "err\n"));
    let mut run = Process::start(env.command(env.program()).args(["run", "--rm", "-i", "busybox", "cat"]));
    run.stdin.as_mut().unwrap().write_all(b"through\n").unwrap();
    assert_eq!(run.finish().ok(), "through\n");
    let id = env.pierless(["run", "-d", "--name", "c1", "busybox", "sh", "-c", "echo hello; exec sleep 1000"]).ok();
    assert_eq!(env.pierless(["ps", "-q", "--no-trunc"]).ok(), id);
    assert!(env.pierless(["ps"]).ok().lines().nth(1).unwrap().ends_with("c1"));
    eventually("its log", || env.pierless(["logs", "c1"]).out == "hello\n");
    env.pierless(["stop", "-t", "0", "c1"]).ok();
    assert_eq!(env.pierless(["ps", "-q"]).ok(), "");
    assert_eq!(env.pierless(["ps", "-aq", "--no-trunc"]).ok(), id);
    env.pierless(["rm", "c1"]).ok();
    assert_eq!(env.pierless(["ps", "-aq"]).ok(), "");
    let output = env.pierless(["rm", "c1"]);
    assert!(output.code == 1 && output.err.contains("No such container: c1"), "{output:?}");
    eventually("nothing is left", || env.processes().is_empty());
}

#[test]
fn a_terminal_without_any_api() {
    let env = Env::bare();
    env.pierless(["load", "-i", fixtures::busybox().to_str().unwrap()]).ok();
    let mut command = env.command(env.program());
    command.args(["run", "--rm", "-it", "busybox", "sh"]);
    let mut terminal = super::pty::Terminal::start(&command, 24, 80);
    terminal.screen.wait_for("# ");
    terminal.type_in(b"stty size\n");
    terminal.screen.wait_for("24 80\r\n");
    terminal.type_in(b"exit 3\n");
    assert_eq!(terminal.finish().0, 3);
}

#[test]
fn api_and_verbs_see_the_same() {
    let env = Env::with_busybox();
    let id = env.pierless(["run", "-d", "busybox", "sleep", "1000"]).ok();
    assert_eq!(env.docker(["ps", "-q", "--no-trunc"]).ok(), id);
    env.docker(["rm", "-f", id.trim()]).ok();
    assert_eq!(env.pierless(["ps", "-aq"]).ok(), "");
}

#[test]
fn bad_command_lines() {
    let env = Env::bare();
    for arguments in [
        vec![],
        vec!["nonsense"],
        vec!["serve", "--idle-timeout", "x"],
        vec!["serve", "--idle-timeout", "-1"],
        vec!["rm"],
        vec!["run"],
        vec!["logs"],
    ] {
        let output = env.pierless(&arguments[..]);
        assert_eq!(output.code, 2, "{arguments:?}: {output:?}");
        assert!(!output.err.is_empty());
    }
    assert!(env.pierless(["--version"]).ok().starts_with("pierless "));
    assert!(env.pierless(["--help"]).ok().contains("check"));
    assert!(env.processes().is_empty());
}
