//! Any of pierless's processes may be killed, alone or together: what runs stays known, and can be ended.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::harness::{Env, Seen, every_process};
use super::process::eventually;

fn kill_all(seen: &[Seen]) {
    for seen in seen {
        let _ = kill(Pid::from_raw(seen.pid), Signal::SIGKILL);
    }
    eventually("they have ended", || {
        seen.iter().all(|seen| Seen::of(seen.pid).is_none_or(|now| now.arguments != seen.arguments))
    });
}

/// Kills what `who` says: `h`older, `m`onitors, `a`PI.
fn kill_some(env: &mut Env, who: &str) {
    if who.contains('a') {
        env.kill_server();
    }
    for (letter, role) in [('h', "holder"), ('m', "monitor")] {
        if who.contains(letter) {
            kill_all(&env.role(role));
        }
    }
}

/// By its record, which nobody has looked at yet.
fn init_of(env: &Env, id: &str) -> i32 {
    let state = std::fs::read(env.data().join("containers").join(id).join("state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_slice(&state).unwrap();
    i32::try_from(state["pid"].as_i64().unwrap()).unwrap()
}

#[test]
fn nothing_outlives_a_container_that_shares_a_pid_namespace() {
    let mut env = Env::with_busybox();
    env.run_detached(&["--name", "other", "--network", "none"], &["sleep", "1000"]);
    // Its first process ends with its monitor; the rest are known by what they have mounted.
    for (round, options) in [
        vec!["--pid=host"],
        vec!["--pid=container:other"],
        vec!["--pid=host", "--rm"],
        vec!["--pid=host", "--read-only"],
    ]
    .iter()
    .enumerate()
    {
        let name = format!("c{round}");
        let mark = format!("99{round}.5");
        let script = format!("sleep {mark} & unshare -m sleep {mark} & echo up; wait");
        let options = [&["--name", &name, "--cap-add=SYS_ADMIN"][..], options].concat();
        let id = env.run_detached(&options, &["sh", "-c", &script]);
        let left = || every_process().iter().filter(|seen| seen.arguments.last() == Some(&mark)).count();
        eventually("they run", || left() == 2);
        let other = env.inspect("other", "{{.State.Pid}}");
        let monitors = env.role("monitor").into_iter().filter(|seen| seen.arguments.contains(&id)).collect::<Vec<_>>();
        assert_eq!(monitors.len(), 1);
        if round % 2 == 1 {
            env.kill_server();
        }
        kill_all(&monitors);
        assert!(!env.pierless(["ps", "-q", "--no-trunc"]).ok().contains(&id));
        assert_eq!(left(), 0, "{options:?}");
        if env.server.is_none() {
            env.serve();
        }
        assert_eq!(env.inspect("other", "{{.State.Status}} {{.State.Pid}}"), format!("running {other}"));
        if !options.contains(&"--rm") {
            env.docker(["rm", &name]).ok();
        }
        assert!(!env.docker(["ps", "-aq", "--no-trunc"]).ok().contains(&id));
    }
}

#[test]
fn after_any_kill_everything_works_and_the_list_is_true() {
    let mut env = Env::with_busybox();
    for (round, who) in ["h", "m", "a", "hm", "ha", "ma", "hma"].into_iter().enumerate() {
        // With the API or without it, which keeps the namespaces, too; as another user than root.
        let name = format!("c{round}");
        let id = env.run_detached(
            &["--name", &name, "-u", "1000", "--network", "none"],
            &["sh", "-c", "echo said; sleep 1000"],
        );
        eventually("it has spoken", || env.docker(["logs", &name]).ok() == "said\n");
        let init = init_of(&env, &id);
        kill_some(&mut env, who);
        let listed = env.pierless(["ps", "-a", "-q", "--no-trunc"]).ok();
        assert!(listed.contains(&id), "{who}: {listed}");
        // Only a monitor's end is its container's.
        let runs = env.pierless(["ps", "-q", "--no-trunc"]).ok().contains(&id);
        assert_eq!(runs, !who.contains('m'), "{who}");
        assert_eq!(Seen::of(init).is_some(), runs, "{who}: the list is not true");
        if env.server.is_none() {
            env.serve();
        }
        let state = env.inspect(&name, "{{.State.Status}} {{.State.ExitCode}}");
        assert_eq!(state, if runs { "running 0" } else { "exited 137" }, "{who}");
        assert_eq!(env.docker(["logs", &name]).ok(), "said\n", "{who}");
        let second = env.run_detached(&["--network", "none"], &["sleep", "1000"]);
        if runs {
            assert_eq!(env.docker(["exec", &name, "id", "-u"]).ok(), "1000\n", "{who}");
        }
        // A file of a user of the container's has the same owner for both.
        env.docker(["stop", "-t", "0", &name]).ok();
        env.docker(["start", &name]).ok();
        env.docker(["rm", "-f", &name, &second]).ok();
        assert!(Seen::of(init).is_none(), "{who}: its process goes on");
        assert_eq!(env.docker(["ps", "-aq"]).ok(), "", "{who}");
    }
    env.kill_server();
    eventually("nothing runs any more", || env.processes().is_empty());
}

/// The container's first process may sit in a user namespace that it made itself.
#[test]
fn a_nested_user_namespace_does_not_mislead() {
    let mut env = Env::with_busybox();
    let command = ["unshare", "-Ur", "sh", "-c", "echo inside; exec sleep 1000"];
    let id = env.run_detached(&["--name", "c1", "--security-opt", "seccomp=unconfined"], &command);
    eventually("it is inside", || env.docker(["logs", "c1"]).ok() == "inside\n");
    let init = init_of(&env, &id);
    let namespace = |env: &Env, pid: &str| env.pierless(["unshare", "readlink", &format!("/proc/{pid}/ns/user")]).ok();
    let shared = namespace(&env, "self");
    assert_ne!(namespace(&env, &init.to_string()), shared);
    kill_some(&mut env, "hma");
    // Looked at by a verb that ends nothing.
    assert_eq!(namespace(&env, "self"), shared);
    // And where no record tells which one it is.
    kill_all(&env.role("holder"));
    std::fs::remove_file(env.run_dir().join("holder/namespace")).unwrap();
    assert_eq!(namespace(&env, "self"), shared);
    env.pierless(["rm", "-f", "c1"]).ok();
    assert!(Seen::of(init).is_none());
}

/// A runtime directory may vanish at a logout while what runs goes on.
#[test]
fn a_lost_run_directory_loses_nobody() {
    let mut env = Env::with_busybox();
    let id = env.run_detached(&["--name", "c1", "-u", "1000"], &["sleep", "1000"]);
    let init = init_of(&env, &id);
    kill_some(&mut env, "hma");
    #[expect(clippy::disallowed_methods, reason = "no container wrote here")]
    std::fs::remove_dir_all(env.run_dir()).unwrap();
    assert!(env.pierless(["ps", "-aq", "--no-trunc"]).ok().contains(&id));
    env.pierless(["rm", "-f", "c1"]).ok();
    assert!(Seen::of(init).is_none());
    eventually("nothing runs any more", || env.processes().is_empty());
}

/// While the API is the only one that is left in the namespaces, the next process finds them through it.
#[test]
fn a_new_holder_is_where_the_others_are() {
    let env = Env::with_busybox();
    env.docker(["ps"]).ok();
    let namespace = || env.pierless(["unshare", "readlink", "/proc/self/ns/user"]).ok();
    let shared = namespace();
    kill_all(&env.role("holder"));
    assert_eq!(namespace(), shared);
}
