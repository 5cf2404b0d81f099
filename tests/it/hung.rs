//! Sources of mounts on a file system that never answers, as of a network's that is gone.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::harness::Env;
use super::process::{Process, eventually, run};
use super::raw;

/// A server that mounts itself and answers nothing after the kernel's greeting. It prints that it is asked.
const SERVER: &str = r#"
import os, select, socket, struct, subprocess, sys
ours, theirs = socket.socketpair()
mount = ["fusermount3", "--", sys.argv[1]]
subprocess.run(mount, check=True, pass_fds=[theirs.fileno()], env=dict(os.environ, _FUSE_COMMFD=str(theirs.fileno())))
_, [(_, _, data)], _, _ = ours.recvmsg(1, socket.CMSG_SPACE(4))
fuse = struct.unpack("i", data[:4])[0]
length, opcode, unique = struct.unpack_from("=IIQ", os.read(fuse, 1 << 20))
about = struct.pack("=IIIIHHI", 7, 26, 1 << 17, 0, 12, 9, 1 << 17).ljust(64, b"\0")
os.write(fuse, struct.pack("=IiQ", 16 + len(about), 0, unique) + about)
print("mounted", flush=True)
# Not read: of what was read the kernel waits for the answer whatever happens.
events = select.epoll()
events.register(fuse, select.EPOLLIN | select.EPOLLET)
while events.poll():
    print("asked", flush=True)
"#;

/// A mounted file system that hangs whoever asks it for anything.
struct Hung {
    folder: PathBuf,
    server: Process,
}

impl Hung {
    fn mount(env: &Env) -> Hung {
        let folder = env.base().join("hung");
        std::fs::create_dir(&folder).unwrap();
        let server = Process::start(env.command("/usr/bin/python3").args(["-c", SERVER]).arg(&folder));
        server.out.wait_for("mounted");
        Hung { folder, server }
    }

    /// A path that the kernel does not know.
    fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }

    /// What else was asked.
    fn asked(&self) -> usize {
        self.server.out.now().matches("asked").count()
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        // Who waits for it gets an error at last.
        self.server.kill();
        run(std::process::Command::new("fusermount3").args(["-u", "-z", "--"]).arg(&self.folder));
    }
}

/// Sends a request whose answer nobody waits for yet.
fn ask(socket: &Path, path: &str, body: &str) -> std::os::unix::net::UnixStream {
    let mut stream = raw::connect(socket);
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n");
    write!(stream, "{head}Content-Length: {length}\r\n\r\n{body}").unwrap();
    stream
}

#[test]
fn a_start_that_hangs_can_be_ended() {
    let mut env = Env::bare();
    // What is mounted later, its processes see only where the host shares its mounts.
    let hung = Hung::mount(&env);
    env.serve();
    env.docker(["load", "-q", "-i", super::fixtures::busybox().to_str().unwrap()]).ok();
    for (round, end) in [&["stop", "-t", "0"][..], &["kill"], &["rm", "-f"]].into_iter().enumerate() {
        let name = format!("c{round}");
        let bind = format!("{}:/x", hung.path(&name));
        env.docker(["create", "--name", &name, "--network", "none", "-v", &bind, "busybox", "true"]).ok();
        let asked = hung.asked();
        let _starting = ask(&env.socket(), &format!("/containers/{name}/start"), "");
        eventually("the start hangs", || hung.asked() > asked);
        env.docker(end.iter().copied().chain([name.as_str()]).collect::<Vec<_>>()).ok();
        if end[0] != "rm" {
            assert_eq!(env.inspect(&name, "{{.State.Running}}"), "false", "{end:?}");
            env.docker(["rm", &name]).ok();
        }
        eventually("no process is left", || env.role("monitor").is_empty());
    }
    assert_eq!(env.docker(["run", "--rm", "--network", "none", "busybox", "echo", "works"]).ok(), "works\n");
}

/// As in dockerd, which looks for the source of a mount object when it is asked for one.
#[test]
fn a_creation_that_hangs_holds_nobody_up() {
    let mut env = Env::bare();
    let hung = Hung::mount(&env);
    env.serve();
    let archive = super::fixtures::busybox();
    env.docker(["load", "-q", "-i", archive.to_str().unwrap()]).ok();
    env.kill_server();
    let mut command = env.command(env.program());
    let mut server = Process::start(command.args(["serve", "--idle-timeout", "0.2"]));
    eventually("the API answers", || std::os::unix::net::UnixStream::connect(env.socket()).is_ok());
    let mount = json!({"Type": "bind", "Source": hung.path("source"), "Target": "/x"});
    let body = json!({"Image": "busybox", "HostConfig": {"NetworkMode": "none", "Mounts": [mount]}});
    let asked = hung.asked();
    let creations: Vec<_> = (0..5).map(|_| ask(&env.socket(), "/containers/create", &body.to_string())).collect();
    eventually("a creation hangs", || hung.asked() > asked);
    assert_eq!(env.docker(["run", "--rm", "--network", "none", "busybox", "echo", "works"]).ok(), "works\n");
    env.docker(["load", "-q", "-i", archive.to_str().unwrap()]).ok();
    assert_eq!(env.docker(["ps", "-aq"]).ok(), "");
    assert!(server.is_running(), "who waits for an answer is served");
    // Nobody waits any more: the process ends, and its threads with it, although the file system still does not answer.
    drop(creations);
    eventually("the API goes idle", || !server.is_running());
    assert_eq!(server.finish().code, 0);
}
