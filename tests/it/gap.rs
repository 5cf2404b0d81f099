//! The API is killed when it has told a client to go on, and has not yet handed over its stream.

use std::fs;
use std::io::{BufReader, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread::JoinHandle;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use serde_json::json;

use super::activation::stand_in;
use super::fixtures;
use super::harness::Env;
use super::raw;

fn packets() -> OwnedFd {
    net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
}

fn receive(from: &OwnedFd) -> Vec<u8> {
    let mut buffer = [MaybeUninit::uninit(); 1 << 17];
    // A descriptor that comes with it is closed by the kernel.
    net::recv(from, &mut buffer, RecvFlags::empty()).unwrap().0.0.to_vec()
}

/// Stands in the door of the monitor of container `id`, passes on what is said, and kills the API instead of taking the
/// stream of a client from it.
fn stand_in_the_door(env: &Env, id: &str) -> JoinHandle<()> {
    // By an open directory: the name of a socket is bounded.
    let folder = fs::File::open(env.run_dir().join("containers").join(id)).unwrap();
    let path = |name: &str| PathBuf::from(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()));
    let (door, real) = (path("monitor.sock"), path("real"));
    fs::rename(&door, &real).unwrap();
    let listener = packets();
    net::bind(&listener, &SocketAddrUnix::new(&door).unwrap()).unwrap();
    net::listen(&listener, 8).unwrap();
    let api = env.role("serve")[0].pid;
    std::thread::spawn(move || {
        let _folder = folder;
        'connections: loop {
            let (engine, monitor) = (net::accept(&listener).unwrap(), packets());
            net::connect(&monitor, &SocketAddrUnix::new(&real).unwrap()).unwrap();
            loop {
                let request = receive(&engine);
                if request.is_empty() {
                    continue 'connections;
                }
                if request.starts_with(b"\"Stream\"") {
                    fs::rename(&real, &door).unwrap();
                    kill(Pid::from_raw(api), Signal::SIGKILL).unwrap();
                    return;
                }
                net::send(&monitor, &request, SendFlags::NOSIGNAL).unwrap();
                net::send(&engine, &receive(&monitor), SendFlags::NOSIGNAL).unwrap();
            }
        }
    })
}

fn env() -> (Env, super::process::Process) {
    let env = Env::bare();
    let holder = stand_in(&env, "1000");
    env.docker(["load", "-q", "-i", fixtures::busybox().to_str().unwrap()]).ok();
    (env, holder)
}

/// dockerd forgets its sessions when it dies, and the client finds none. Here the session is known, and known not to have
/// run: what its client must not see is an end with code 0.
#[test]
fn an_exec_session_did_not_succeed() {
    let (env, _holder) = env();
    let id = env.run_detached(&["--network", "none"], &["sleep", "1000"]);
    let door = stand_in_the_door(&env, &id);
    let output = env.docker(["exec", &id, "touch", "/ran"]);
    door.join().unwrap();
    assert_eq!(output.code, 126, "{output:?}");
    env.docker(["exec", &id, "test", "!", "-e", "/ran"]).ok();
}

fn attach(env: &Env, id: &str) -> BufReader<UnixStream> {
    let mut stream = raw::connect(&env.socket());
    let request = format!("POST /containers/{id}/attach?stream=1&stdout=1 HTTP/1.1");
    write!(stream, "{request}\r\nHost: d\r\nContent-Length: 0\r\n\r\n").unwrap();
    let mut reader = BufReader::new(stream);
    assert_eq!(raw::read_head(&mut reader).unwrap().status, 200);
    reader
}

fn rest(mut reader: BufReader<UnixStream>) -> Vec<u8> {
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    rest
}

/// As with dockerd, the client has lost its stream, and nothing else: it may start the container and is told of its end,
/// and the log has what was printed.
#[test]
fn an_attached_client_has_lost_its_stream_only() {
    let (env, _holder) = env();
    let script = ["sh", "-c", "echo here; exit 3"];
    let (id, _) = env.create(json!({"Image": "busybox", "Cmd": script, "HostConfig": {"NetworkMode": "none"}}));
    // Somebody else is attached: the monitor is there before the client comes.
    let other = attach(&env, &id);
    let door = stand_in_the_door(&env, &id);
    let lost = attach(&env, &id);
    door.join().unwrap();
    assert_eq!(rest(lost), b"");
    env.post(&format!("/containers/{id}/start"), &json!(null)).expect(204);
    assert_eq!(env.post(&format!("/containers/{id}/wait"), &json!(null)).expect(200).json()["StatusCode"], 3);
    assert!(rest(other).ends_with(b"here\n"));
    assert_eq!(env.docker(["logs", &id]).ok(), "here\n");
}
