//! The API process as such: who may speak, who has left, and how it ends.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::harness::Env;
use super::process::{Process, eventually};
use super::raw;

#[test]
fn its_own_socket_is_private() {
    let env = Env::new();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&env.socket()), 0o600);
    assert_eq!(mode(&env.run_dir()), 0o700);
}

#[test]
fn other_users_are_refused_even_where_the_file_is_open() {
    let env = Env::new();
    fs::set_permissions(env.socket(), fs::Permissions::from_mode(0o666)).unwrap();
    for dir in [env.run_dir(), env.runtime_dir(), env.base().to_owned()] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let ping = "import socket, sys\n\
        s = socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect(sys.argv[1])\n\
        try:\n\
        \x20   s.sendall(b'GET /_ping HTTP/1.1\\r\\nHost: d\\r\\n\\r\\n'); print(s.recv(12))\n\
        except OSError: print(b'')\n";
    let socket = env.socket();
    // A subordinate user of the owner's: the only other one that an unprivileged test can be.
    let as_user = |id: &str| {
        let mut command = env.command("unshare");
        command.args(["--user", "--map-root-user", "--map-auto", "setpriv", "--reuid", id, "--clear-groups"]);
        command.args(["/usr/bin/python3", "-c", ping]).arg(&socket);
        super::process::run(&mut command)
    };
    assert!(as_user("0").out.contains("200"));
    let other = as_user("77");
    assert!(other.out.contains("b''"), "{other:?}");
    let log = env.server.as_ref().unwrap().err.now();
    assert!(log.contains("refused a connection"), "{log}");
}

#[test]
fn a_client_that_half_closes_is_still_there_and_one_that_closes_is_not() {
    let env = Env::bare();
    let mut command = env.command(env.program());
    command.args(["serve", "--idle-timeout", "0.3"]);
    let mut process = Process::start(&mut command);
    eventually("it listens", || env.socket().exists());
    let mut stream = raw::connect(&env.socket());
    stream.write_all(b"GET /events HTTP/1.1\r\nHost: d\r\n\r\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut reader = BufReader::new(stream);
    assert_eq!(raw::read_head(&mut reader).unwrap().status, 200);
    std::thread::sleep(Duration::from_secs(1));
    assert!(process.is_running(), "a half-closed client was given up");
    // An event still reaches it.
    let line = "{\"Type\":\"container\",\"Action\":\"start\",\"Actor\":{\"ID\":\"x\",\"Attributes\":{}},\
        \"scope\":\"local\",\"time\":1,\"timeNano\":1}\n";
    fs::write(env.data().join("events/events.jsonl"), line).unwrap();
    let mut chunk = String::new();
    reader.read_line(&mut chunk).unwrap();
    chunk.clear();
    reader.read_line(&mut chunk).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&chunk).unwrap()["Action"], "start");
    drop(reader);
    eventually("it goes idle", || !process.is_running());
    assert_eq!(process.finish().code, 0);
    assert!(!env.socket().exists(), "its own socket was left behind");
}

#[test]
fn told_to_end_it_cuts_streams_and_ends_well() {
    let mut env = Env::new();
    let mut events = raw::connect(&env.socket());
    events.write_all(b"GET /events HTTP/1.1\r\nHost: d\r\n\r\n").unwrap();
    assert_eq!(raw::read_head(&mut BufReader::new(&events)).unwrap().status, 200);
    let mut server = env.server.take().unwrap();
    kill(Pid::from_raw(env.role("serve")[0].pid), Signal::SIGTERM).unwrap();
    eventually("it ends", || !server.is_running());
    assert_eq!(server.finish().code, 0);
    assert!(!env.socket().exists());
}

#[test]
fn facts_are_true() {
    let env = Env::new();
    let info = env.get("/v1.51/info").expect(200).json();
    let memory = fs::read_to_string("/proc/meminfo").unwrap();
    let kib: u64 = memory.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert_eq!(info["MemTotal"], kib * 1024);
    assert_eq!(info["DockerRootDir"], env.data().to_str().unwrap());
    assert_ne!(info["CgroupDriver"], "cgroupfs");
    assert!(info["SecurityOptions"].as_array().unwrap().contains(&Value::from("name=rootless")), "{info}");
    assert_eq!(info["IndexServerAddress"], "https://index.docker.io/v1/");
    assert_eq!(env.get("/info").json()["ID"], info["ID"]);
    let version = env.get("/version").expect(200).json();
    assert_eq!((&version["ApiVersion"], &version["MinAPIVersion"]), (&Value::from("1.51"), &Value::from("1.24")));
    let ping = env.get("/_ping").expect(200);
    for (name, value) in [("Api-Version", "1.51"), ("Ostype", "linux"), ("Swarm", "inactive"), ("Builder-Version", "1")]
    {
        assert_eq!(ping.header(name), Some(value));
    }
    assert!(env.docker(["info"]).ok().contains("Storage Driver"));
    let document = env.get("/openapi.json").expect(200).json();
    assert_eq!(document["openapi"], "3.1.0");
}

#[test]
fn what_belongs_to_a_cluster_says_so() {
    let env = Env::new();
    for path in ["/swarm", "/nodes", "/services", "/tasks", "/secrets", "/configs", "/v1.44/services/x"] {
        let message = env.get(path).expect(503).message();
        assert!(message.starts_with("This node is not a swarm manager."), "{message}");
    }
    assert_eq!(env.get("/plugins").expect(200).json(), Value::Array(vec![]));
    env.get("/plugins/a/b:c/json").expect(404).message();
    env.post("/build", &Value::Null).expect(501).message();
}
