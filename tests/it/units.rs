//! The systemd units are well-formed, as installed for a user.

use super::harness::{Env, source_tree};
use super::process::run;

#[test]
fn systemd_finds_no_fault() {
    let env = Env::bare();
    let folder = env.base().join("units");
    std::fs::create_dir(&folder).unwrap();
    for name in ["pierless.socket", "pierless.service"] {
        let text = std::fs::read_to_string(source_tree().join("systemd").join(name)).unwrap();
        // The program it names must exist, as it does once `up` has written its own path.
        std::fs::write(folder.join(name), text.replace("/usr/local/bin/pierless", env.program().to_str().unwrap()))
            .unwrap();
    }
    let output = run(env
        .command("systemd-analyze")
        .args(["--user", "verify"])
        .arg(folder.join("pierless.socket"))
        .arg(folder.join("pierless.service")));
    assert_eq!((output.code, output.err.as_str()), (0, ""));
}

#[test]
fn they_say_what_the_process_model_needs() {
    let text = std::fs::read_to_string(source_tree().join("systemd/pierless.service")).unwrap();
    for line in ["KillMode=process", "Delegate=yes", "StartLimitIntervalSec=0"] {
        assert!(text.lines().any(|known| known == line), "{line}");
    }
    assert!(!text.lines().any(|line| line.starts_with("NoNewPrivileges")));
    let text = std::fs::read_to_string(source_tree().join("systemd/pierless.socket")).unwrap();
    for line in ["ListenStream=%t/pierless/docker.sock", "SocketMode=0600", "DirectoryMode=0700"] {
        assert!(text.lines().any(|known| known == line), "{line}");
    }
}
