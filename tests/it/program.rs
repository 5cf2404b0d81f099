//! The user's own program is out of containers' reach: what runs beside and in them is a sealed copy.

use std::fs;

use super::harness::{Env, Seen, sh};

fn bytes(env: &Env) -> Vec<u8> {
    fs::read(env.program()).unwrap()
}

/// What is executed by way of a script is the program that was about to become it.
const SCRIPT: &str = "printf '#!/proc/self/exe\\n' >/self; chmod +x /self";

#[test]
fn the_program_does_nothing_when_a_container_calls_it() {
    let env = Env::with_busybox();
    env.run_detached(&["--name", "c1"], &["sh", "-c", &format!("{SCRIPT}; exec sleep 1000")]);
    super::process::eventually("the script is there", || env.docker(["exec", "c1", "test", "-x", "/self"]).code == 0);
    for arguments in [&["/self"][..], &["/self", "ps"], &["/self", "monitor"], &["/self", "holder"]] {
        let output = env.docker([&["exec", "c1"], arguments].concat());
        assert!(output.code == 1 && output.err.contains("pierless"), "{arguments:?}: {output:?}");
    }
}

#[test]
fn nobody_in_a_container_can_write_the_program() {
    let env = Env::with_busybox();
    let before = bytes(&env);
    // Keeps what it gets hold of until nobody runs it any more, as far as it can see, and writes then.
    let attack = format!(
        "{SCRIPT}; n=0; while [ $n -lt 400 ]; do for p in /proc/[0-9]*; do \
           case $(readlink $p/exe) in *pierless*) command exec 7<$p/exe && echo caught && break 2;; esac; done; \
         n=$((n+1)); done 2>/dev/null; echo ready; read line; \
         for fd in 7 0; do for how in '>' '>>' '<>'; do eval \"echo overwritten $how/proc/self/fd/$fd\"; done; done 2>&1; \
         chmod 777 /proc/self/fd/7; truncate -s 0 /proc/self/fd/7; echo tried"
    );
    for options in [&[][..], &["--privileged"], &["--init"], &["--init", "--privileged"], &["--pid=host"]] {
        let mut arguments = vec!["run", "-i", "--rm", "--name", "c1"];
        arguments.extend(options);
        arguments.extend(["busybox", "sh", "-c", &attack]);
        let mut container = env.docker_start(arguments);
        // Something to catch: sessions on their way.
        while !container.out.now().contains("ready") {
            env.docker(["exec", "c1", "/self"]);
            assert!(container.is_running(), "{}", container.err.now());
        }
        container.send(b"go\n");
        container.out.wait_for("tried");
        drop(container.stdin.take());
        container.finish();
        assert!(bytes(&env) == before, "overwritten: {options:?}");
    }
    env.pierless(["ps", "-a"]).ok();
}

#[test]
fn the_first_process_that_is_ours_cannot_be_written() {
    let env = Env::with_busybox();
    let script = "for how in '>' '>>' '<>'; do eval \"echo x $how/proc/1/exe\" 2>&1; done; readlink /proc/1/exe; \
                  mount -o remount,rw / 2>&1; cat /proc/1/comm; tr '\\0' ' ' </proc/1/cmdline";
    for options in [&["--init"][..], &["--init", "--privileged"]] {
        let text = sh(&env, options, script);
        assert!(text.contains("/memfd:pierless") && text.contains("/sbin/docker-init -- sh -c"), "{text}");
        assert_eq!(text.matches("/proc/1/exe: ").count(), 3, "{text}");
    }
    // One that the container itself calls.
    let text = sh(&env, &["--init"], "ln -s /proc/1/exe /docker-init; /docker-init -- echo no 2>&1; echo $?");
    assert!(text.contains("docker-init") && text.ends_with("1\n"), "{text}");
}

#[test]
fn there_is_one_copy_for_all() {
    let env = Env::with_busybox();
    let inode = |seen: &Seen| {
        let path = format!("/proc/{}/exe", seen.pid);
        env.pierless(["unshare", "stat", "-L", "-c", "%d %i %s", &path]).ok()
    };
    let ids: Vec<String> = (0..3).map(|_| env.run_detached(&[], &["sleep", "1000"])).collect();
    env.pierless(["run", "-d", "busybox", "sleep", "1000"]).ok();
    let of = |role: &str| -> Vec<String> { env.role(role).iter().map(inode).collect() };
    let (holder, monitors) = (of("holder"), of("monitor"));
    assert_eq!((holder.len(), monitors.len()), (1, 4));
    assert!(monitors.iter().all(|monitor| *monitor == holder[0]), "{holder:?} {monitors:?}");
    let user = fs::metadata(env.program()).unwrap();
    assert!(holder[0].ends_with(&format!(" {}\n", user.len())));
    // A new holder takes the monitors' one.
    for seen in env.role("holder") {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(seen.pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    env.pierless(["ps"]).ok();
    assert_eq!(of("holder"), holder);
    assert_eq!(ids.len(), 3);
}

#[test]
fn the_internal_roles_are_for_nobody_to_call() {
    let env = Env::with_busybox();
    let id = env.create(serde_json::json!({"Image": "busybox"})).0;
    for arguments in [&["holder"][..], &["monitor"], &["monitor", &id]] {
        let output = env.pierless(arguments);
        assert!(output.code == 1 && output.err.contains("internal command"), "{output:?}");
    }
}
