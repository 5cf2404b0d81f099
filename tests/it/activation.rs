//! Socket activation and idle exit: no request is lost.

use std::io::{BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::harness::Env;
use super::process::{Process, eventually};
use super::raw;

/// `systemd-socket-activate` with `serve` behind it. It execs the program at the first connection, so it serves once.
fn activated(env: &Env, options: &[&str]) -> Process {
    std::fs::create_dir_all(env.run_dir()).unwrap();
    let socket = env.socket();
    let mut command = env.command("systemd-socket-activate");
    for name in ["HOME", "XDG_RUNTIME_DIR", "PATH"] {
        command.arg("-E").arg(name);
    }
    command.arg("-l").arg(&socket).arg(env.program()).arg("serve").args(options);
    let process = Process::start(&mut command);
    eventually("it listens", || socket.exists() && process.err.now().contains("Listening"));
    process
}

#[test]
fn serves_on_a_passed_socket_and_leaves_it() {
    let env = Env::bare();
    let mut process = activated(&env, &["--idle-timeout", "0.3"]);
    assert!(env.processes().is_empty());
    assert_eq!(env.get("/_ping").expect(200).text(), "OK");
    assert_eq!(env.get("/_ping").expect(200).text(), "OK");
    eventually("it goes idle", || !process.is_running());
    assert_eq!(process.finish().code, 0);
    assert!(env.socket().exists(), "a passed socket is not its own to unlink");
}

#[test]
fn an_idle_connection_does_not_hold_it_but_a_stream_does() {
    let env = Env::bare();
    let mut process = activated(&env, &["--idle-timeout", "0.5"]);
    let mut stream = raw::connect(&env.socket());
    stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n").unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    assert_eq!(raw::read_reply(&mut reader, false).unwrap().status, 200);
    let mut events = raw::connect(&env.socket());
    events.write_all(b"GET /events HTTP/1.1\r\nHost: d\r\n\r\n").unwrap();
    assert_eq!(raw::read_head(&mut BufReader::new(&events)).unwrap().status, 200);
    std::thread::sleep(Duration::from_secs(2));
    assert!(process.is_running(), "a stream was cut");
    drop(events);
    eventually("it goes idle in spite of the open connection", || !process.is_running());
    assert_eq!(process.finish().code, 0);
    drop(stream);
}

#[test]
fn its_own_socket_is_removed_and_a_stale_one_replaced() {
    let mut env = Env::new();
    let second = env.pierless(["serve"]);
    assert_ne!(second.code, 0, "two on one socket");
    assert!(second.err.contains("docker.sock"), "{}", second.err);
    assert_eq!(env.get("/_ping").status, 200);
    env.kill_server();
    assert!(env.socket().exists());
    env.serve();
    assert_eq!(env.get("/_ping").status, 200);
}

/// As systemd does it: holds the socket, starts the program at the first connection, waits for its end, and so on. It
/// prints the number of each run, or how it failed.
pub fn stand_in(env: &Env, idle_timeout: &str) -> Process {
    std::fs::create_dir_all(env.run_dir()).unwrap();
    let script = "import os, select, socket, sys, time\n\
        s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(4096); starts = 0\n\
        print('listening', flush=True)\n\
        while True:\n\
        \x20   select.select([s], [], [])\n\
        \x20   pid = os.fork()\n\
        \x20   if pid == 0:\n\
        \x20       os.dup2(s.fileno(), 3); os.set_inheritable(3, True)\n\
        \x20       os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')\n\
        \x20       os.execv(sys.argv[2], [sys.argv[2], 'serve', '--idle-timeout', sys.argv[3], '--log-level', 'error'])\n\
        \x20   code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]); starts += 1\n\
        \x20   print(starts if code == 0 else f'FAILED {code}', flush=True)\n";
    let mut command = env.command("/usr/bin/python3");
    let holder = Process::start(command.args(["-c", script]).arg(env.socket()).arg(env.program()).arg(idle_timeout));
    holder.out.wait_for("listening");
    holder
}

/// Clients must not be able to tell that the API comes and goes.
#[test]
fn no_request_of_thousands_fails_at_the_edge_of_idleness() {
    const REQUESTS: usize = 2400;
    const CLIENTS: usize = 2;
    let env = Env::bare();
    let holder = stand_in(&env, "0.004");
    let failures = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (env, failures) = (&env, &failures);
            scope.spawn(move || {
                let mut kept: Option<BufReader<UnixStream>> = None;
                for number in 0..REQUESTS / CLIENTS {
                    // Pauses around the timeout, so that requests fall before, in and after the decision to go.
                    let pause = Instant::now() + Duration::from_micros(((number * 7919 + client * 131) % 9000) as u64);
                    std::thread::sleep(pause.saturating_duration_since(Instant::now()));
                    let mut stream = raw::connect(&env.socket());
                    let close = if number % 2 == 0 { "Connection: close\r\n" } else { "" };
                    let sent = write!(stream, "GET /_ping HTTP/1.1\r\nHost: d\r\n{close}\r\n");
                    let mut reader = BufReader::new(stream);
                    let reply = sent.and_then(|()| raw::read_reply(&mut reader, false));
                    if !reply.as_ref().is_ok_and(|reply| reply.status == 200 && reply.body == b"OK") {
                        eprintln!("request {number}: {reply:?}");
                        failures.fetch_add(1, Ordering::Relaxed);
                    }
                    kept = (number % 2 == 1).then_some(reader).or(kept.filter(|_| number % 5 != 0));
                }
            });
        }
    });
    let log = holder.out.now();
    assert_eq!(failures.into_inner(), 0);
    assert!(!log.contains("FAILED"), "{log}");
    let starts = log.lines().count() - 1;
    assert!(starts > 50, "the API went idle only {starts} times: the test tests nothing");
}
