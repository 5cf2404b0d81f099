//! The ways to a registry and who vouches for it: proxies, certificates, programs that know passwords.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::{Arc, Mutex};

use super::fixtures;
use super::harness::Env;
use super::process;
use super::registries::{self, Faults, IDENTITY, Options, PASSWORD, Proxy, Registry, USER};

/// A proxy as companies have them: every name leads to this machine.
struct Tunnel {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Tunnel {
    fn start() -> Tunnel {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tunnel = Tunnel { port: listener.local_addr().unwrap().port(), seen: Arc::default() };
        let seen = Arc::clone(&tunnel.seen);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let seen = Arc::clone(&seen);
                std::thread::spawn(move || carry(client, &seen));
            }
        });
        tunnel
    }

    fn address(&self, proof: &str) -> String {
        format!("http://{proof}127.0.0.1:{}", self.port)
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

fn carry(mut client: TcpStream, seen: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(client.try_clone().ok()?);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
        if line == "\r\n" {
            break;
        }
        head.push(line);
    }
    let proof = head.iter().find(|line| line.to_ascii_lowercase().starts_with("proxy-authorization:"));
    let proof = proof.map_or("", |line| line.trim());
    let words: Vec<&str> = head[0].split(' ').collect();
    let (method, target) = (words[0].to_owned(), words[1].to_owned());
    seen.lock().unwrap().push(format!("{method} {target} {proof}"));
    let bare = target.strip_prefix("http://").unwrap_or(&target);
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    let port: u16 = host.rsplit_once(':')?.1.parse().ok()?;
    let mut server = TcpStream::connect(("127.0.0.1", port)).ok()?;
    if method == "CONNECT" {
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").ok()?;
    } else {
        write!(server, "{method} /{path} HTTP/1.1\r\n{}Connection: close\r\n\r\n", head[1..].concat()).ok()?;
    }
    let (mut up, mut down) = (server.try_clone().ok()?, client.try_clone().ok()?);
    std::thread::spawn(move || std::io::copy(&mut server, &mut down).map(|_| down.shutdown(std::net::Shutdown::Both)));
    let waiting = reader.buffer().to_vec();
    up.write_all(&waiting).ok()?;
    std::io::copy(&mut client, &mut up).ok()?;
    Some(())
}

fn configure(env: &Env, text: &str) {
    let folder = env.home().join(".config/pierless");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("config.toml"), text).unwrap();
}

#[test]
fn a_proxy_leads_to_registries() {
    let plain = registries::with_busybox();
    let encrypted = Registry::start(Options { tls: true, ..Options::default() });
    encrypted.push(fixtures::busybox(), "busybox:latest", &[]);
    let tunnel = Tunnel::start();
    let env = Env::new();
    let (one, two) = (format!("registry.test:{}", plain.port), format!("registry.test:{}", encrypted.port));
    let known = format!(
        "[registry.\"{one}\"]\ninsecure = true\n[registry.\"{two}\"]\nca = {:?}\n",
        encrypted.certificate.as_ref().unwrap()
    );
    let proxy = tunnel.address("me:s%40crt@");
    configure(&env, &format!("[proxy]\nhttp = \"{proxy}\"\nhttps = \"{proxy}\"\n{known}"));
    env.docker(["pull", &format!("{one}/busybox")]).ok();
    let seen = tunnel.take();
    let whole = format!("GET http://{one}/v2/busybox/");
    let proved = |line: &String| line.starts_with(&whole) && line.ends_with("Basic bWU6c0BjcnQ=");
    assert!(seen.iter().any(proved), "{seen:?}");
    env.docker(["pull", &format!("{two}/busybox")]).ok();
    let seen = tunnel.take();
    assert!(seen.iter().all(|line| line.starts_with(&format!("CONNECT {two} "))) && !seen.is_empty(), "{seen:?}");
    assert!(seen[0].ends_with("Basic bWU6c0BjcnQ="), "{seen:?}");
    // What is pushed goes the same way.
    let copy = format!("{two}/copy:1");
    env.docker(["tag", &format!("{two}/busybox"), &copy]).ok();
    env.docker(["push", &copy]).ok();
    assert!(!tunnel.take().is_empty());
    // An exception is asked straight: nobody knows its name.
    configure(&env, &format!("[proxy]\nhttps = \"{proxy}\"\nno = \".test\"\n{known}"));
    assert!(env.docker(["pull", &copy]).fails(1).contains("lookup"));
    assert_eq!(tunnel.take(), Vec::<String>::new());
    // The environment's words count where the file has none.
    configure(&env, &known);
    let pull =
        |name: &str, value: &str| process::run(env.command(env.program()).args(["pull", "-q", &copy]).env(name, value));
    pull("https_proxy", &tunnel.address("")).ok();
    let seen = tunnel.take();
    assert!(seen.iter().all(|line| line == &format!("CONNECT {two} ")) && !seen.is_empty(), "{seen:?}");
    assert_eq!(pull("no_proxy", "x").code, 1);
}

#[test]
fn who_vouches_for_a_registry_counts_on_this_machine_too() {
    let registry = Registry::start(Options { tls: true, ..Options::default() });
    registry.push(fixtures::busybox(), "busybox:latest", &[]);
    let other = Registry::start(Options { tls: true, ..Options::default() });
    let env = Env::new();
    let name = registry.name("busybox");
    let domain = format!("127.0.0.1:{}", registry.port);
    let ca = |of: &Registry| format!("ca = {:?}\n", of.certificate.as_ref().unwrap());
    for insecure in ["", "insecure = true\n"] {
        configure(&env, &format!("[registry.\"{domain}\"]\n{insecure}{}", ca(&other)));
        let message = env.docker(["pull", &name]).fails(1);
        assert!(message.contains("certificate"), "{message}");
        configure(&env, &format!("[registry.\"{domain}\"]\n{insecure}{}", ca(&registry)));
        env.docker(["pull", &name]).ok();
    }
    configure(&env, "");
    let folder = env.home().join(".config/docker/certs.d").join(&domain);
    fs::create_dir_all(&folder).unwrap();
    fs::copy(other.certificate.as_ref().unwrap(), folder.join("ca.crt")).unwrap();
    assert!(env.docker(["pull", &name]).fails(1).contains("certificate"));
    fs::copy(registry.certificate.as_ref().unwrap(), folder.join("ca.crt")).unwrap();
    env.docker(["pull", &name]).ok();
    // Plain HTTP is nobody's word.
    let plain = registries::with_busybox();
    configure(&env, &format!("[registry.\"127.0.0.1:{}\"]\n{}", plain.port, ca(&registry)));
    env.docker(["pull", &plain.name("busybox")]).fails(1);
}

#[test]
fn a_certificate_proves_who_asks() {
    let registry = Registry::start(Options { tls: true, client: true, ..Options::default() });
    let (certificate, key) = registry.client();
    let env = Env::with_busybox();
    let name = registry.name("mine:1");
    let domain = format!("127.0.0.1:{}", registry.port);
    env.docker(["tag", "busybox", &name]).ok();
    env.docker(["push", &name]).fails(1);
    configure(&env, &format!("[registry.\"{domain}\"]\nclient-cert = {certificate:?}\nclient-key = {key:?}\n"));
    env.docker(["push", &name]).ok();
    configure(&env, "");
    let folder = env.home().join(".config/docker/certs.d").join(&domain);
    fs::create_dir_all(&folder).unwrap();
    fs::copy(&certificate, folder.join("client.cert")).unwrap();
    env.docker(["rmi", &name]).ok();
    assert!(env.docker(["pull", &name]).fails(1).contains("client.key"));
    fs::copy(&key, folder.join("client.key")).unwrap();
    env.docker(["pull", &name]).ok();
}

/// A program that docker's clients ask for passwords, under this name.
fn helper(env: &Env, name: &str, user: &str, secret: &str) {
    let path = env.home().join(format!("bin/docker-credential-{name}"));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let answer = serde_json::json!({"ServerURL": "x", "Username": user, "Secret": secret});
    fs::write(&path, format!("#!/bin/sh\n[ \"$1\" = get ] && cat > \"$0.asked\" && echo '{answer}'\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn programs_know_passwords_and_identities() {
    let registry = registries::with_busybox();
    let proxy = Proxy::before(&registry);
    let env = Env::new();
    let name = proxy.name("busybox");
    let domain = format!("127.0.0.1:{}", proxy.port);
    fs::create_dir_all(env.home().join(".docker")).unwrap();
    let config = |text: serde_json::Value| fs::write(env.home().join(".docker/config.json"), text.to_string()).unwrap();
    let pull = || {
        proxy.set(Faults { token_uses: Some(100), ..Faults::default() });
        let mut command = env.command(env.program());
        let path = command.get_envs().find(|(name, _)| *name == "PATH").and_then(|(_, path)| path).unwrap();
        let path = format!("{}/bin:{}", env.home().display(), path.to_str().unwrap());
        process::run(Command::args(&mut command, ["pull", "-q", &name]).env("PATH", path))
    };
    assert_eq!(pull().code, 1);
    helper(&env, "one", USER, PASSWORD);
    config(serde_json::json!({"credHelpers": {&domain: "one"}}));
    pull().ok();
    assert_eq!(fs::read_to_string(env.home().join("bin/docker-credential-one.asked")).unwrap(), domain);
    helper(&env, "two", "<token>", IDENTITY);
    config(serde_json::json!({"credsStore": "two"}));
    pull().ok();
    assert!(proxy.seen("POST /token").len() == 1 && proxy.seen("GET /token").is_empty(), "{:?}", proxy.seen(""));
    helper(&env, "two", "<token>", "another");
    assert_eq!(pull().code, 1);
    config(serde_json::json!({"auths": {&domain: {"identitytoken": IDENTITY}}}));
    pull().ok();
}
