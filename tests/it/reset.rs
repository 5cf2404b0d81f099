//! `pierless reset` leaves nothing of containers and images, whoever owns their files and whatever runs.

use super::fixtures;
use super::harness::{Env, Seen};
use super::process::eventually;

#[test]
fn reset_ends_and_removes_everything() {
    let mut env = Env::with_busybox();
    let script = "mkdir -p /tmp/a/b && echo x >/tmp/a/b/f && chmod 000 /tmp/a; exec sleep 1000";
    for (name, options) in [("c1", &["-u", "1000"][..]), ("c2", &["--init"]), ("c3", &["--pid", "host"])] {
        env.run_detached(&[&["--name", name], options].concat(), &["sh", "-c", script]);
    }
    env.docker(["create", "busybox"]).ok();
    let inits: Vec<i32> =
        ["c1", "c2", "c3"].iter().map(|name| env.inspect(name, "{{.State.Pid}}").parse().unwrap()).collect();
    let asked = env.pierless(["reset"]);
    assert!(asked.code != 0 && asked.err.contains("--force"), "{asked:?}");
    assert_eq!(env.docker(["ps", "-q"]).ok().lines().count(), 3);

    // One whose monitor is gone, too.
    let monitor = env.role("monitor")[0].pid;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(monitor), nix::sys::signal::Signal::SIGKILL).unwrap();
    env.pierless(["reset", "--force"]).ok();
    assert!(inits.iter().all(|pid| Seen::of(*pid).is_none()), "{inits:?}");
    eventually("nothing runs", || env.processes().is_empty());
    assert!(!env.server.as_mut().unwrap().is_running());
    assert!(!env.data().exists());
    assert!(env.pierless(["down"]).ok().is_empty());

    env.kill_server();
    env.serve();
    assert_eq!(env.docker(["ps", "-aq"]).ok() + &env.docker(["images", "-q"]).ok(), "");
    env.docker(["load", "-q", "-i", fixtures::busybox().to_str().unwrap()]).ok();
    assert!(env.pierless(["down"]).err.contains("pierless reset"));
    assert_eq!(env.docker(["run", "--rm", "busybox", "echo", "again"]).ok(), "again\n");
}
