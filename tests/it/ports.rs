//! Published ports, by real clients: where they lead, as whom a client is seen, who is in the way, and that they are free
//! again at once.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::harness::Env;
use super::process::{Process, eventually};

const PATIENCE: Duration = Duration::from_secs(60);

/// A server that tells each client as whom it is seen, and then what it says, until it ends. On `::` for both versions.
const ECHO: &str = "
import socket, threading
def serve(c, a):
    c.sendall(('%s %d\\n' % (a[0].removeprefix('::ffff:'), a[1])).encode())
    while data := c.recv(65536): c.sendall(data)
    c.close()
s = socket.create_server(('::', 80), family=socket.AF_INET6, dualstack_ipv6=True, backlog=4096)
print('ready', flush=True)
while True: threading.Thread(target=serve, args=s.accept(), daemon=True).start()
";

/// A program in a container's network, which says that it is ready.
fn serve(env: &Env, container: &str, script: &str) -> Process {
    let net = format!("--net=/proc/{}/ns/net", env.inspect(container, "{{.State.Pid}}"));
    let arguments = ["unshare", "nsenter", net.as_str(), "python3", "-c", script];
    let server = Process::start(env.command(env.program()).args(arguments));
    server.out.wait_for("ready");
    server
}

/// A port that nobody had a moment ago.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap().local_addr().unwrap().port()
}

/// The first address of a container's port on the host.
fn published(env: &Env, container: &str, port: &str) -> SocketAddr {
    let shown = env.docker(["port", container, port]).ok();
    shown.lines().next().unwrap().parse().unwrap()
}

fn connect(address: impl Into<SocketAddr>) -> TcpStream {
    let stream = TcpStream::connect(address.into()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn line(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        match stream.read(&mut byte).unwrap() {
            0 => panic!("ended after {line:?}"),
            _ if byte[0] == b'\n' => return String::from_utf8(line).unwrap(),
            _ => line.push(byte[0]),
        }
    }
}

fn monitor_of(env: &Env, id: &str) -> i32 {
    let is_of = |seen: &&super::harness::Seen| seen.arguments.get(2).is_some_and(|word| word == id);
    env.role("monitor").iter().find(is_of).unwrap().pid
}

/// The host's own address, by which it reaches others.
fn own_address() -> Ipv4Addr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.1:9").unwrap();
    match socket.local_addr().unwrap() {
        SocketAddr::V4(address) => *address.ip(),
        SocketAddr::V6(_) => unreachable!(),
    }
}

fn has_ipv6() -> bool {
    TcpListener::bind("[::1]:0").is_ok()
}

#[test]
fn a_client_reaches_the_container_and_is_seen_as_itself() {
    let env = Env::with_busybox();
    env.run_detached(&["--name", "echo", "-p", "80"], &["sleep", "1000"]);
    let _server = serve(&env, "echo", ECHO);
    let port = published(&env, "echo", "80").port();
    let mut stream = connect((Ipv4Addr::LOCALHOST, port));
    assert!(line(&mut stream).starts_with("127.0.0.1 "));
    stream.write_all(b"hello\n").unwrap();
    assert_eq!(line(&mut stream), "hello");
    // One end at a time: what it says after the other has ended comes through.
    stream.write_all(b"last words\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "last words\n");
    // By the host's own address, and by IPv6 to a container that has none.
    let own = own_address();
    let mut stream = connect((own, port));
    let seen = format!("{own} {}", stream.local_addr().unwrap().port());
    assert_eq!(line(&mut stream), seen, "its address and its port");
    let v6: SocketAddr = format!("[::1]:{port}").parse().unwrap();
    if has_ipv6() {
        assert!(line(&mut connect(v6)).starts_with("127.0.0.1 "));
    }
}

#[test]
fn what_is_told_of_ports() {
    let env = Env::with_busybox();
    let fixed = free_port();
    let (range, loopback) = (format!("{fixed}:80"), "127.0.0.1::81".to_owned());
    env.run_detached(
        &["--name", "web", "-p", &range, "-p", &loopback, "--expose", "82", "-p", "7/udp"],
        &["sleep", "1000"],
    );
    let ports =
        |name: &str| -> Value { serde_json::from_str(&env.inspect(name, "{{json .NetworkSettings.Ports}}")).unwrap() };
    let shown = ports("web");
    let mut both = vec![json!({"HostIp": "0.0.0.0", "HostPort": fixed.to_string()})];
    if has_ipv6() {
        both.push(json!({"HostIp": "::", "HostPort": fixed.to_string()}));
    }
    assert_eq!(shown["80/tcp"], json!(both));
    assert_eq!(shown["81/tcp"].as_array().unwrap().len(), 1);
    assert_eq!(shown["81/tcp"][0]["HostIp"], "127.0.0.1");
    assert_eq!(shown["82/tcp"], Value::Null);
    assert_eq!(shown["7/udp"].as_array().unwrap().len(), both.len());
    assert!(both.len() == 1 || shown["7/udp"][0]["HostPort"] == shown["7/udp"][1]["HostPort"]);
    assert_eq!(shown.as_object().unwrap().len(), 4);
    let random: u16 = shown["81/tcp"][0]["HostPort"].as_str().unwrap().parse().unwrap();
    assert!(random >= 1024);
    let asked: Value = serde_json::from_str(&env.inspect("web", "{{json .HostConfig.PortBindings}}")).unwrap();
    assert_eq!(asked["80/tcp"], json!([{"HostIp": "", "HostPort": fixed.to_string()}]));
    assert_eq!(asked["81/tcp"], json!([{"HostIp": "127.0.0.1", "HostPort": ""}]));
    let told = env.docker(["port", "web"]).ok();
    assert!(told.lines().any(|line| line == format!("80/tcp -> 0.0.0.0:{fixed}")), "{told}");
    assert_eq!(env.docker(["port", "web", "81"]).ok(), format!("127.0.0.1:{random}\n"));
    let listed = env.docker(["ps", "--format", "{{.Ports}}"]).ok();
    assert!(listed.contains(&format!("0.0.0.0:{fixed}->80/tcp")), "{listed}");
    assert!(listed.contains(&format!("127.0.0.1:{random}->81/tcp")) && listed.contains("82/tcp"), "{listed}");
    for (filter, found) in [
        (format!("publish={fixed}"), true),
        (format!("publish={}-{}/tcp", fixed - 1, fixed), true),
        (format!("publish={fixed}/udp"), false),
        ("publish=80".to_owned(), false),
        ("expose=80-82".to_owned(), true),
        ("expose=83".to_owned(), false),
    ] {
        let listed = env.docker(["ps", "-q", "--filter", &filter]).ok();
        assert_eq!(!listed.is_empty(), found, "{filter}");
    }
    // What does not run has no ports; -P publishes what is exposed and not published otherwise.
    env.docker(["stop", "-t", "0", "web"]).ok();
    assert_eq!(ports("web"), json!({}));
    assert_eq!(env.docker(["ps", "-a", "--format", "{{.Ports}}"]).ok().trim(), "");
    env.run_detached(&["--name", "all", "-P", "--expose", "90-91", "-p", &range], &["sleep", "1000"]);
    let shown = ports("all");
    assert_eq!(shown["80/tcp"], json!(both));
    for port in ["90/tcp", "91/tcp"] {
        assert_eq!(shown[port].as_array().unwrap().len(), both.len(), "{shown}");
    }
    // On a network that leads nowhere nothing is published.
    env.docker(["network", "create", "--internal", "inside"]).ok();
    env.run_detached(&["--name", "kept", "--network", "inside", "-p", &range], &["sleep", "1000"]);
    assert_eq!(ports("kept"), json!({}));
}

#[test]
fn who_is_in_the_way_is_told() {
    let env = Env::with_busybox();
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let other = taken.local_addr().unwrap().port();
    let refused_with = |code: i32, options: &[&str]| {
        let mut arguments = vec!["run", "--rm", "--name", "late"];
        arguments.extend(options);
        arguments.extend(["busybox", "true"]);
        env.docker(arguments).fails(code)
    };
    let refused = |options: &[&str]| refused_with(125, options);
    let prefix =
        "failed to set up container networking: driver failed programming external connectivity on endpoint late (";
    // Another program's.
    let message = refused(&["-p", &format!("{other}:80")]);
    let what = format!("failed to bind host port for 0.0.0.0:{other}:172.");
    assert!(message.contains(prefix) && message.contains(&what), "{message}");
    assert!(message.contains(":80/tcp: address already in use"), "{message}");
    // Another container's, also where it has another address of the same port.
    let ours = free_port();
    env.run_detached(&["--name", "first", "-p", &format!("127.0.0.1:{ours}:80")], &["sleep", "1000"]);
    for (address, option) in [("127.0.0.1", format!("127.0.0.1:{ours}:80")), ("0.0.0.0", format!("{ours}:80"))] {
        let message = refused(&["-p", &option]);
        let what = format!("Bind for {address}:{ours} failed: port is already allocated");
        assert!(message.contains(prefix) && message.contains(&what), "{message}");
    }
    // The container's own.
    let twice = free_port();
    let message = refused(&["-p", &format!("{twice}:80"), "-p", &format!("{twice}:81")]);
    assert!(message.contains(&format!("Bind for 0.0.0.0:{twice} failed: port is already allocated")), "{message}");
    // None of all that has left anything taken.
    let range = format!("127.0.0.1:{ours}-{}:80", ours + 20);
    env.run_detached(&["--name", "second", "-p", &range], &["sleep", "1000"]);
    let got = published(&env, "second", "80").port();
    assert!(got > ours && got <= ours + 20, "{got}");
    let message = refused(&["-p", &format!("127.0.0.1:{ours}-{ours}:80")]);
    assert!(message.contains("port is already allocated"), "{message}");
    // What is the administrator's, an address that the host does not have, and what cannot be at all.
    let first: u16 =
        std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap().trim().parse().unwrap();
    if first > 88 && !nix::unistd::geteuid().is_root() {
        // So the client reads these words.
        let message = refused_with(126, &["-p", "88:80"]);
        assert!(message.contains("permission denied"), "{message}");
        assert!(message.contains("sysctl net.ipv4.ip_unprivileged_port_start=88"), "{message}");
    }
    let message = refused(&["-p", "192.0.2.77:8099:80"]);
    assert!(
        message.contains("for 192.0.2.77:8099:172.") && message.contains("cannot assign requested address"),
        "{message}"
    );
    let message = refused(&["-p", "80/sctp"]);
    assert!(message.contains("port 80/sctp cannot be published: SCTP is not supported"), "{message}");
    drop(taken);
}

#[test]
fn ports_are_free_the_moment_that_a_container_has_ended() {
    let env = Env::with_busybox();
    let port = free_port();
    let option = format!("{port}:80");
    let udp = format!("{port}:80/udp");
    for n in 0..5 {
        env.docker(["run", "--rm", "-p", &option, "-p", &udp, "busybox", "true"]).ok();
        env.docker(["run", "--name", &format!("again{n}"), "-p", &option, "busybox", "true"]).ok();
    }
    let first = env.run_detached(&["--name", "first", "-p", &option, "-p", &udp], &["sleep", "1000"]);
    kill(Pid::from_raw(monitor_of(&env, &first)), Signal::SIGKILL).unwrap();
    // At once: the kernel has closed them. What is left of the container may be found later.
    let mut bound = None;
    eventually("the killed monitor's port is free", || {
        bound = TcpListener::bind(("0.0.0.0", port)).ok();
        bound.is_some()
    });
    drop(bound);
    env.run_detached(&["--name", "second", "-p", &option, "-p", &udp], &["sleep", "1000"]);
    assert_eq!(published(&env, "second", "80").port(), port);
    // A restart has them again, and one that fails has none.
    env.docker(["restart", "-t", "0", "second"]).ok();
    assert_eq!(published(&env, "second", "80").port(), port);
    env.docker(["rm", "-f", "second"]).ok();
    env.docker(["run", "--rm", "-p", &option, "busybox", "/no/such/program"]).fails(127);
    drop(TcpListener::bind(("0.0.0.0", port)).unwrap());
}

#[test]
fn what_the_program_does_to_a_connection_the_client_sees() {
    let env = Env::with_busybox();
    env.run_detached(&["--name", "box", "-p", "80", "-p", "81"], &["sleep", "1000"]);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, published(&env, "box", "80").port()));
    // Nobody listens: the client is reset at once.
    let mut stream = connect(address);
    let refused = stream.read(&mut [0; 8]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionReset);
    let _server = serve(
        &env,
        "box",
        "
import socket, struct, threading
def serve(c):
    what = c.recv(1)
    if what == b'e': c.sendall(b'x' * 100000); c.shutdown(socket.SHUT_WR); print('rest', len(c.recv(100, socket.MSG_WAITALL)), flush=True)
    if what == b'r': c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    if what == b'w':
        try: c.recv(1); print('orderly', flush=True)
        except ConnectionResetError: print('was reset', flush=True)
    c.close()
s = socket.create_server(('', 80))
print('ready', flush=True)
while True: threading.Thread(target=serve, args=[s.accept()[0]], daemon=True).start()
",
    );
    // It ends its half: the client's half goes on.
    let mut stream = connect(address);
    stream.write_all(b"e").unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    assert_eq!(all.len(), 100_000);
    stream.write_all(&[b'y'; 42]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    _server.out.wait_for("rest 42");
    // It resets.
    let mut stream = connect(address);
    stream.write_all(b"r").unwrap();
    assert_eq!(stream.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    // It is reset.
    let mut stream = connect(address);
    stream.write_all(b"w").unwrap();
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::Linger, &linger).unwrap();
    drop(stream);
    _server.out.wait_for("was reset");
}

/// A byte that is sent as urgent is one among the others, and no end.
#[test]
fn what_is_urgent_is_not_the_end() {
    let env = Env::with_busybox();
    env.run_detached(&["--name", "box", "-p", "80"], &["sleep", "1000"]);
    let _server = serve(&env, "box", ECHO);
    let mut stream = connect((Ipv4Addr::LOCALHOST, published(&env, "box", "80").port()));
    line(&mut stream);
    stream.write_all(b"ab").unwrap();
    rustix::net::send(&stream, b"!", rustix::net::SendFlags::OOB).unwrap();
    stream.write_all(b"cd").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    assert_eq!(String::from_utf8_lossy(&all), "ab!cd");
}

#[test]
fn what_a_program_says_last_is_heard() {
    let env = Env::with_busybox();
    let port = free_port();
    let option = format!("{port}:80");
    env.docker([
        "create",
        "--name",
        "once",
        "-p",
        &option,
        "busybox",
        "sh",
        "-c",
        "head -c 100000 /dev/zero | nc -l -p 80",
    ])
    .ok();
    for _ in 0..10 {
        env.docker(["start", "once"]).ok();
        let mut got = Vec::new();
        // The program listens a little later than it starts; until then it refuses.
        eventually("the program answers", || {
            let mut stream = connect((Ipv4Addr::LOCALHOST, port));
            got.clear();
            stream.read_to_end(&mut got).is_ok()
        });
        assert_eq!(got.len(), 100_000);
        env.docker(["wait", "once"]).ok();
    }
}

#[test]
fn any_free_port_is_nobody_elses() {
    const COUNT: usize = 12;
    let env = Env::with_busybox();
    for n in 0..COUNT {
        env.docker(["create", "--name", &format!("box{n}"), "-p", "80-83", "busybox", "sleep", "1000"]).ok();
    }
    std::thread::scope(|scope| {
        for n in 0..COUNT {
            let env = &env;
            scope.spawn(move || env.docker(["start", &format!("box{n}")]).ok());
        }
    });
    let mut seen = BTreeSet::new();
    for n in 0..COUNT {
        let told = env.docker(["port", &format!("box{n}")]).ok();
        let of_v4: Vec<u16> = told
            .lines()
            .filter_map(|line| line.split_once(" -> 0.0.0.0:").map(|(_, port)| port.parse().unwrap()))
            .collect();
        assert_eq!(of_v4.len(), 4);
        seen.extend(of_v4);
    }
    assert_eq!(seen.len(), COUNT * 4);
}

#[test]
fn containers_reach_published_ports_through_the_host_and_through_their_gateways() {
    let env = Env::with_busybox();
    let serves = &["httpd", "-f", "-p", "80", "-h", "/www"];
    env.run_detached(&["--name", "web", "-p", "80"], serves);
    env.docker(["network", "create", "aside"]).ok();
    env.run_detached(&["--name", "other", "--network", "aside"], &["sleep", "1000"]);
    env.run_detached(&["--name", "beside"], &["sleep", "1000"]);
    let port = published(&env, "web", "80").port();
    let gateway = |network: &str| env.inspect(network, "{{(index .IPAM.Config 0).Gateway}}");
    let (own, near, far) = (own_address().to_string(), gateway("bridge"), gateway("aside"));
    for (client, address) in
        [("web", &own), ("web", &near), ("beside", &own), ("beside", &near), ("other", &own), ("other", &far)]
    {
        let url = format!("http://{address}:{port}/");
        let mut got = String::new();
        eventually("the program serves", || {
            got = env.docker(["exec", client, "timeout", "5", "wget", "-q", "-O", "-", &url]).out;
            !got.is_empty()
        });
        assert_eq!(got, "hello from busybox\n", "{client} at {address}");
    }
}

#[test]
fn many_connections_and_slow_ones() {
    const COUNT: usize = 300;
    let env = Env::with_busybox();
    env.run_detached(&["--name", "echo", "-p", "127.0.0.1::80"], &["sleep", "1000"]);
    let _server = serve(&env, "echo", ECHO);
    let address = published(&env, "echo", "80");
    let mut streams: Vec<TcpStream> = (0..COUNT).map(|_| connect(address)).collect();
    for stream in &mut streams {
        line(stream);
    }
    // Each of them sends more than all that is between can hold, and reads nothing yet: none is in another's way.
    let chunk: Vec<u8> = (0..1_000_003_u32).flat_map(|n| (n % 251).to_le_bytes()).collect();
    let writers: Vec<_> = streams
        .iter()
        .map(|stream| {
            let (mut stream, chunk) = (stream.try_clone().unwrap(), chunk.clone());
            std::thread::spawn(move || {
                stream.write_all(&chunk).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
            })
        })
        .take(60)
        .collect();
    let last = streams.last_mut().unwrap();
    last.write_all(b"hello\n").unwrap();
    assert_eq!(line(last), "hello");
    for (mut stream, writer) in streams.into_iter().zip(writers) {
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        assert!(got == chunk, "{} bytes of {}", got.len(), chunk.len());
        writer.join().unwrap();
    }
}

#[test]
fn a_container_with_ipv6_sees_clients_of_both_versions() {
    let env = Env::with_busybox();
    if !has_ipv6() {
        return;
    }
    env.docker(["network", "create", "--ipv6", "--subnet", "fd00:77::/64", "both"]).ok();
    env.run_detached(&["--name", "echo", "--network", "both", "-p", "80"], &["sleep", "1000"]);
    let _server = serve(&env, "echo", ECHO);
    let port = published(&env, "echo", "80").port();
    let v6: SocketAddr = format!("[::1]:{port}").parse().unwrap();
    assert!(line(&mut connect(v6)).starts_with("::1 "));
    assert!(line(&mut connect((Ipv4Addr::LOCALHOST, port))).starts_with("127.0.0.1 "));
    let socket = UdpSocket::bind("[::]:0").unwrap();
    if let Ok(SocketAddr::V6(own)) = socket.connect("[2001:db8::1]:9").and_then(|()| socket.local_addr()) {
        let mut stream = connect(SocketAddr::from((*own.ip(), port)));
        let seen = format!("{} {}", own.ip(), stream.local_addr().unwrap().port());
        assert_eq!(line(&mut stream), seen);
    }
}

/// A server of datagrams that answers each with as whom its sender is seen. `send ADDRESS PORT` has it speak first.
const ECHO_UDP: &str = "
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
s.bind(('::', 20053))
print('ready', flush=True)
while True:
    data, a = s.recvfrom(65536)
    if data.startswith(b'send '):
        _, to, port = data.decode().split()
        s.sendto(b'from inside', ('::ffff:' + to, int(port)))
    else:
        s.sendto(('%s %d ' % (a[0].removeprefix('::ffff:'), a[1])).encode() + data, a)
";

/// A client's socket at this address, which has the program's answers from the address that it asks only.
fn datagrams(at: impl Into<SocketAddr>, to: impl Into<SocketAddr>) -> UdpSocket {
    let socket = UdpSocket::bind(at.into()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(to.into()).unwrap();
    socket
}

fn ask(socket: &UdpSocket, what: &str) -> String {
    socket.send(what.as_bytes()).unwrap();
    let mut buf = vec![0; 65536];
    let len = socket.recv(&mut buf).unwrap();
    String::from_utf8(buf[..len].to_vec()).unwrap()
}

#[test]
fn datagrams_find_their_way_back() {
    let env = Env::with_busybox();
    // One and the same port on both sides, and a client that has it, too.
    let port = UdpSocket::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
    env.run_detached(&["--name", "box", "-p", &format!("{port}:20053/udp")], &["sleep", "1000"]);
    let _server = serve(&env, "box", ECHO_UDP);
    let own = own_address();
    for (from, to) in [(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST), (own, own)] {
        let client = datagrams((from, 0), (to, port));
        let local = client.local_addr().unwrap();
        let seen = if from == own { format!("{own} {} ", local.port()) } else { "127.0.0.1 ".to_owned() };
        assert!(ask(&client, "a").starts_with(&seen));
        assert!(ask(&client, "b").ends_with(" b"));
        let large = "x".repeat(60_000);
        assert!(ask(&client, &large).ends_with(&large));
    }
    // To another address of the host than the one it would choose: answers come from that.
    let client = datagrams((Ipv4Addr::LOCALHOST, 0), (Ipv4Addr::new(127, 0, 0, 9), port));
    assert!(ask(&client, "c").ends_with(" c"));
    if has_ipv6() {
        let client = datagrams(
            "[::1]:0".parse::<SocketAddr>().unwrap(),
            "[::1]:0"
                .parse::<SocketAddr>()
                .map(|mut to| {
                    to.set_port(port);
                    to
                })
                .unwrap(),
        );
        assert!(ask(&client, "d").starts_with("127.0.0.1 "));
    }
    // Many clients, each with its own answers.
    let clients: Vec<UdpSocket> = (0..200).map(|_| datagrams((own, 0), (own, port))).collect();
    for (n, client) in clients.iter().enumerate() {
        client.send(n.to_string().as_bytes()).unwrap();
        if n % 20 == 19 {
            for (n, client) in clients.iter().enumerate().take(n + 1).skip(n - 19) {
                let mut buf = [0; 100];
                let len = client.recv(&mut buf).unwrap();
                let seen = format!("{own} {} {n}", client.local_addr().unwrap().port());
                assert_eq!(String::from_utf8_lossy(&buf[..len]), seen);
            }
        }
    }
    // The program speaks first, from the port that is published, to who is no client: it goes out.
    let outside = UdpSocket::bind("127.0.0.1:0").unwrap();
    outside.set_read_timeout(Some(PATIENCE)).unwrap();
    let hosts = env.docker(["exec", "box", "grep", "host.docker.internal", "/etc/hosts"]).ok();
    let host = hosts.split('\t').next().unwrap();
    let teller = datagrams((Ipv4Addr::LOCALHOST, 0), (Ipv4Addr::LOCALHOST, port));
    teller.send(format!("send {host} {}", outside.local_addr().unwrap().port()).as_bytes()).unwrap();
    let mut buf = [0; 100];
    let len = outside.recv(&mut buf).unwrap();
    assert_eq!(&buf[..len], b"from inside");
    // A client whose port is the program's.
    env.run_detached(&["--name", "same", "-p", "127.0.0.1::20053/udp"], &["sleep", "1000"]);
    let _second = serve(&env, "same", ECHO_UDP);
    let to = published(&env, "same", "20053/udp");
    assert!(ask(&datagrams((Ipv4Addr::LOCALHOST, 0), to), "e").ends_with(" e"));
    // Containers, at their gateway.
    env.docker(["network", "create", "aside"]).ok();
    env.run_detached(&["--name", "other", "--network", "aside"], &["sleep", "1000"]);
    let gateway = env.inspect("aside", "{{(index .IPAM.Config 0).Gateway}}");
    let script = format!(
        "import socket; c = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); c.connect(('{gateway}', {port})); \
         c.send(b'f'); print('ready', c.recv(100).decode(), flush=True)"
    );
    let other = serve(&env, "other", &script);
    let seen = env.inspect("other", "{{.NetworkSettings.Networks.aside.IPAddress}}");
    other.out.wait_for(&format!("ready {seen} "));
    other.out.wait_for(" f\n");
}

#[test]
fn ports_follow_the_container_from_network_to_network() {
    let env = Env::with_busybox();
    for (name, more) in [("inside", Some("--internal")), ("one", None), ("two", None)] {
        let mut arguments = vec!["network", "create"];
        arguments.extend(more);
        arguments.push(name);
        env.docker(arguments).ok();
    }
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    env.run_detached(&["--name", "echo", "--network", "inside", "-p", &format!("{port}:80")], &["sleep", "1000"]);
    let _server = serve(&env, "echo", ECHO);
    // With the first network that leads anywhere they are published; or the container does not get that.
    let message = env.docker(["network", "connect", "one", "echo"]).fails(1);
    assert!(message.contains("failed to bind host port for 0.0.0.0:"), "{message}");
    drop(taken);
    let own = own_address();
    let is_seen = || {
        let mut stream = connect((own, port));
        assert_eq!(line(&mut stream), format!("{own} {}", stream.local_addr().unwrap().port()));
    };
    env.docker(["network", "connect", "one", "echo"]).ok();
    assert_eq!(published(&env, "echo", "80").port(), port);
    is_seen();
    // From then on they lead to where the container is.
    for (connect, disconnect) in [("two", "one"), ("one", "two")] {
        env.docker(["network", "connect", connect, "echo"]).ok();
        is_seen();
        env.docker(["network", "disconnect", disconnect, "echo"]).ok();
        assert_eq!(published(&env, "echo", "80").port(), port);
        is_seen();
    }
    env.docker(["network", "disconnect", "one", "echo"]).ok();
    assert_eq!(env.inspect("echo", "{{json .NetworkSettings.Ports}}"), "{}");
    env.docker(["network", "connect", "two", "echo"]).ok();
    is_seen();
}
