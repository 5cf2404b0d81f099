//! The user's two directories and the user's ids: made once, one way, whoever comes first.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Barrier;

use super::harness::Env;
use super::raw;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn directories_are_the_users_alone() {
    for _ in 0..5 {
        let env = Env::new();
        let paths =
            ["/events?until=1", "/containers/json", "/images/json", "/info", "/events?since=0&until=1", "/system/df"];
        let (socket, barrier) = (env.socket(), Barrier::new(paths.len()));
        std::thread::scope(|scope| {
            for path in paths {
                let (socket, barrier) = (&socket, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    raw::request(socket, "GET", path, "", b"").expect(200);
                });
            }
        });
        assert_eq!([mode(&env.data()), mode(&env.run_dir())], [0o700, 0o700]);
    }
}

#[test]
fn a_wrong_mode_is_mended() {
    let env = Env::bare();
    for dir in [env.data(), env.run_dir()] {
        fs::create_dir_all(&dir).unwrap();
        fs::set_permissions(&dir, Permissions::from_mode(0o777)).unwrap();
    }
    env.pierless(["ps"]).ok();
    assert_eq!([mode(&env.data()), mode(&env.run_dir())], [0o700, 0o700]);
}

/// A helper that fails once must not give the user's files other owners from then on.
#[test]
fn a_helper_that_fails_is_an_error_and_one_that_is_absent_a_single_id() {
    let env = Env::bare();
    let bin = env.base().join("helpers");
    fs::create_dir(&bin).unwrap();
    let map = |path: String| {
        let mut command = env.command(env.program());
        super::process::run(command.env("PATH", path).args(["unshare", "/bin/cat", "/proc/self/uid_map"]))
    };
    // Absent: nothing else than one id can be had.
    let alone = map(bin.display().to_string()).ok();
    assert_eq!(alone.lines().count(), 1, "{alone}");
    super::process::eventually("the holder goes", || env.processes().is_empty());
    let helper = bin.join("newuidmap");
    fs::write(&helper, "#!/bin/sh\necho out of luck >&2\nexit 3\n").unwrap();
    fs::set_permissions(&helper, Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    let failed = map(format!("{}:{path}", bin.display()));
    assert!(failed.code == 1 && failed.err.contains("newuidmap failed: out of luck"), "{failed:?}");
    super::process::eventually("nothing is left of the attempt", || env.processes().is_empty());
    assert_eq!(map(path).ok().lines().count(), 2);
}

/// A container must not depend on how the shell was set up that launched it.
#[test]
fn who_launches_a_monitor_makes_no_difference_to_it() {
    let env = Env::with_busybox();
    let seen = |pid: i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let masks = status
            .lines()
            .filter(|line| ["Umask:", "SigBlk:", "SigIgn:", "SigCgt:"].iter().any(|field| line.starts_with(field)));
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
        let directory = fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
        (masks.map(str::to_owned).collect::<Vec<_>>(), files.to_owned(), environment, directory)
    };
    // A starter, which carries its monitor's name until it ends, is none.
    let of = |env: &Env| {
        let all = env.role("monitor");
        let monitors = all.iter().filter(|seen| !all.iter().any(|other| other.pid == seen.parent));
        monitors.map(|seen| seen.pid).collect::<Vec<_>>()
    };
    env.run_detached(&["--name", "c1"], &["sleep", "1000"]);
    let by_api = of(&env);
    let script = format!(
        "umask 077; trap '' INT HUP QUIT USR1 CHLD; ulimit -Sn 200; cd /tmp; FOO=bar exec nice -n 3 {} run -d --name c2 \
         busybox sleep 1000",
        env.program().display()
    );
    super::process::run(env.command("bash").args(["-c", &script])).ok();
    let by_hand: Vec<i32> = of(&env).into_iter().filter(|pid| !by_api.contains(pid)).collect();
    assert_eq!([by_api.len(), by_hand.len()], [1, 1]);
    assert_eq!(seen(by_api[0]), seen(by_hand[0]));
    let modes = |name: &str| {
        let id = env.inspect(name, "{{.Id}}");
        let dir = env.data().join("containers").join(id);
        ["upper", "etc/hosts"].map(|path| mode(&dir.join(path)))
    };
    assert_eq!(modes("c1"), modes("c2"));
    assert_eq!(env.docker(["exec", "c2", "sh", "-c", "umask"]).ok(), "0022\n");
}
