//! Real registries of a test's own, and a proxy before one that misbehaves as it is told.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use super::fixtures;
use super::harness::Env;
use super::process::{Process, eventually, run};

/// Debian's docker-registry on a port of its own.
pub struct Registry {
    pub port: u16,
    pub certificate: Option<PathBuf>,
    _process: Process,
    dir: tempfile::TempDir,
}

/// A certificate that signs itself, and its key.
fn self_signed(certificate: &Path, key: &Path, more: &[&str]) {
    let made = run(Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=registry"])
        .args(more)
        .arg("-keyout")
        .arg(key)
        .arg("-out")
        .arg(certificate));
    assert_eq!(made.code, 0, "{made:?}");
}

/// Of a registry's users.
pub const USER: &str = "somebody";
pub const PASSWORD: &str = "se:cret";
/// A token to get others with.
pub const IDENTITY: &str = "identity";

#[derive(Default, Clone, Copy)]
pub struct Options {
    /// A certificate that signs itself, as people make them.
    pub tls: bool,
    /// Only [`USER`] may.
    pub basic: bool,
    /// Only who has [`Registry::client`]'s certificate may.
    pub client: bool,
}

impl Registry {
    pub fn start(options: Options) -> Registry {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let mut text = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\n",
            at("data").display()
        );
        // The kernel chooses, so that no other test can have the port.
        text.push_str("http:\n  addr: 127.0.0.1:0\n  secret: x\n");
        let certificate = options.tls.then(|| at("tls.crt"));
        if let Some(certificate) = &certificate {
            let key = at("tls.key");
            self_signed(certificate, &key, &["-addext", "subjectAltName=DNS:registry.test,IP:127.0.0.1"]);
            text.push_str(&format!("  tls:\n    certificate: {}\n    key: {}\n", certificate.display(), key.display()));
            if options.client {
                self_signed(&at("client.crt"), &at("client.key"), &[]);
                text.push_str(&format!("    clientcas: [{}]\n", at("client.crt").display()));
            }
        }
        if options.basic {
            // bcrypt of PASSWORD, by htpasswd -nbB.
            let line = Command::new("python3")
                .args([
                    "-c",
                    "import crypt,sys; print(crypt.crypt(sys.argv[1], crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)))",
                ])
                .arg(PASSWORD)
                .output()
                .unwrap();
            let hash = String::from_utf8(line.stdout).unwrap();
            fs::write(at("htpasswd"), format!("{USER}:{}\n", hash.trim().replace("$2b$", "$2y$"))).unwrap();
            text.push_str(&format!("auth:\n  htpasswd: {{realm: here, path: {}}}\n", at("htpasswd").display()));
        }
        fs::write(at("config.yml"), text).unwrap();
        let mut process = Process::start(Command::new("docker-registry").arg("serve").arg(at("config.yml")));
        let mut port = None;
        eventually("the registry listens", || {
            let said = process.err.now();
            assert!(process.is_running(), "{said}");
            let after = said.split_once("listening on 127.0.0.1:").map(|(_, rest)| rest);
            port = after.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
            port.is_some()
        });
        let port: u16 = port.unwrap();
        Registry { port, certificate, _process: process, dir }
    }

    /// The certificate of who may, and its key.
    pub fn client(&self) -> (PathBuf, PathBuf) {
        (self.dir.path().join("client.crt"), self.dir.path().join("client.key"))
    }

    /// `127.0.0.1:PORT/REPOSITORY`
    pub fn name(&self, repository: &str) -> String {
        format!("127.0.0.1:{}/{repository}", self.port)
    }

    /// Pushes an archive there by skopeo; what the registry calls it.
    pub fn push(&self, archive: &Path, repository: &str, options: &[&str]) -> String {
        let to = format!("docker://{}", self.name(repository));
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["--insecure-policy", "copy", "-q", "--dest-tls-verify=false"]).args(options);
        skopeo.arg(format!("docker-archive:{}", archive.display())).arg(&to);
        // What skopeo remembers of other pushes would make it take their blobs, packed in whichever way.
        let memory = tempfile::tempdir().unwrap();
        skopeo.env("TMPDIR", std::env::temp_dir()).env("XDG_DATA_HOME", memory.path());
        run(&mut skopeo).ok();
        self.digest(repository)
    }

    /// Puts a manifest or an index there as it is.
    pub fn put(&self, repository: &str, tag: &str, kind: &str, body: &str) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let length = body.len();
        write!(
            stream,
            "PUT /v2/{repository}/manifests/{tag} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }

    /// Puts a blob there; its digest.
    pub fn put_blob(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = format!("sha256:{}", fixtures::sha256(bytes));
        let ask = |head: &str, body: &[u8]| {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
            let length = body.len();
            write!(stream, "{head} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
                .unwrap();
            stream.write_all(body).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
            answer
        };
        let begun = ask(&format!("POST /v2/{repository}/blobs/uploads/"), b"");
        let place = begun.lines().find_map(|line| line.strip_prefix("Location: http://x")).unwrap().trim();
        ask(&format!("PUT {place}&digest={digest}"), bytes);
        digest
    }

    /// A manifest or an index, to the byte.
    pub fn raw(&self, repository: &str) -> String {
        let name = format!("docker://{}", self.name(repository));
        run(Command::new("skopeo").args(["inspect", "--raw", "--tls-verify=false", &name])).ok()
    }

    /// What skopeo says that the registry means by a name.
    pub fn digest(&self, repository: &str) -> String {
        let name = format!("docker://{}", self.name(repository));
        let output =
            run(Command::new("skopeo").args(["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &name]));
        output.ok().trim().to_owned()
    }
}

/// busybox in a registry of its own, as `busybox:latest`.
pub fn with_busybox() -> Registry {
    let registry = Registry::start(Options::default());
    registry.push(fixtures::busybox(), "busybox:latest", &[]);
    registry
}

/// The same, and as `busybox:index` an index of two machines, amd64 with that one and arm64 with another; its text.
pub fn with_index() -> (Registry, String) {
    let registry = with_busybox();
    let layers = [fixtures::busybox_layer(), fixtures::Tar::default().file("other", 0o644, "x").bytes()];
    let archive = fixtures::docker_archive(&["other:1"], fixtures::busybox_config(), &layers);
    let path = tempfile::NamedTempFile::new().unwrap();
    fs::write(path.path(), archive).unwrap();
    let other = registry.push(path.path(), "busybox:other", &[]);
    let member = |digest: &str, architecture: &str| {
        let raw = registry.raw(&format!("busybox@{digest}"));
        json!({"mediaType": "application/vnd.docker.distribution.manifest.v2+json", "digest": digest,
            "size": raw.len(), "platform": {"os": "linux", "architecture": architecture}})
    };
    let members = [member(&registry.digest("busybox:latest"), "amd64"), member(&other, "arm64")];
    let kind = "application/vnd.docker.distribution.manifest.list.v2+json";
    let index = json!({"schemaVersion": 2, "mediaType": kind, "manifests": members}).to_string();
    registry.put("busybox", "index", kind, &index);
    (registry, index)
}

/// What the proxy does with answers that bring blobs.
#[derive(Default, Clone)]
pub struct Faults {
    /// So many answers end at their half.
    pub cut: usize,
    /// So many have a wrong byte.
    pub spoil: usize,
    /// So many requests of any kind are answered by this status.
    pub refuse: usize,
    pub status: u16,
    /// Requests need a token of the proxy's own service, which knows [`USER`]; one is good for so many.
    pub token_uses: Option<usize>,
    /// Blobs are at the same path of this port.
    pub elsewhere: Option<u16>,
    /// Bytes of a chunk, and the pause after each; of what is pushed, too.
    pub slow: Option<(usize, Duration)>,
    /// So many blobs on their way to the registry are broken off at their half.
    pub cut_upload: usize,
    /// What of the first of these is kept, as a registry does with which a client can go on.
    pub kept: Option<Vec<u8>>,
    /// It says that it has so many bytes of it, instead of what it has.
    pub claims: Option<usize>,
    /// Tags are told in pages of so many.
    pub page: Option<usize>,
    /// What a search finds, as the registry tells it.
    pub found: Option<String>,
    /// A token is good for so long.
    pub token_lives: Option<Duration>,
}

/// A proxy before a registry.
pub struct Proxy {
    pub port: u16,
    pub faults: Arc<Mutex<Faults>>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub fn before(registry: &Registry) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (faults, seen) = (Arc::new(Mutex::new(Faults::default())), Arc::new(Mutex::new(Vec::new())));
        let proxy = Proxy { port, faults: Arc::clone(&faults), seen: Arc::clone(&seen) };
        let upstream = registry.port;
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (faults, seen) = (Arc::clone(&faults), Arc::clone(&seen));
                std::thread::spawn(move || serve(client, upstream, &faults, &seen));
            }
        });
        proxy
    }

    pub fn name(&self, repository: &str) -> String {
        format!("127.0.0.1:{}/{repository}", self.port)
    }

    pub fn set(&self, faults: Faults) {
        *self.faults.lock().unwrap() = faults;
        self.seen.lock().unwrap().clear();
    }

    /// `METHOD PATH RANGE AUTHORIZATION` of the requests whose paths have this in them.
    pub fn seen(&self, part: &str) -> Vec<String> {
        self.seen.lock().unwrap().iter().filter(|line| line.contains(part)).cloned().collect()
    }
}

/// One request of a connection, which is closed after its answer. Failures are the client's to notice.
fn serve(mut client: TcpStream, upstream: u16, faults: &Mutex<Faults>, seen: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(client.try_clone().ok()?);
    let (mut head, mut line) = (String::new(), String::new());
    let (mut range, mut proof, mut length) = (String::new(), String::new(), 0);
    loop {
        line.clear();
        reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
        if line == "\r\n" {
            break;
        }
        if line.to_ascii_lowercase().starts_with("range:") {
            range = line.trim().to_owned();
        }
        if line.to_ascii_lowercase().starts_with("content-range:") {
            range = line.trim().to_owned();
            continue;
        }
        if let Some(bytes) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = bytes.trim().parse().ok()?;
            continue;
        }
        if line.to_ascii_lowercase().starts_with("authorization:") {
            proof = line.trim()["authorization:".len()..].trim().to_owned();
            continue;
        }
        if !line.to_ascii_lowercase().starts_with("connection:") {
            head.push_str(&line);
        }
    }
    let first: Vec<&str> = head.lines().next()?.split(' ').collect();
    let (method, path) = (first[0].to_owned(), first[1].to_owned());
    let tokens = seen.lock().unwrap().iter().filter(|line| line.contains("/token")).count();
    let made = proof.split_once('-').and_then(|(_, at)| at.parse::<u128>().ok()).unwrap_or(0);
    let age = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis().saturating_sub(made);
    let mut sent = match take_body(&mut reader, length, &method, faults) {
        Ok(sent) => sent,
        Err(half) => {
            seen.lock().unwrap().push(format!("{method} {path} {range} {proof}"));
            let mut faults = faults.lock().unwrap();
            if let Some(kept) = faults.kept.as_mut().filter(|kept| kept.is_empty()) {
                *kept = half;
            }
            return None;
        }
    };
    let uses = seen.lock().unwrap().iter().filter(|line| line.ends_with(&proof)).count();
    seen.lock().unwrap().push(format!("{method} {path} {range} {proof}"));
    let port = client.local_addr().ok()?.port();
    let (token_uses, lives) = {
        let faults = faults.lock().unwrap();
        (faults.token_uses, faults.token_lives)
    };
    if path.starts_with("/token") {
        // By name and password, or by a token that a login was given once.
        let form = String::from_utf8_lossy(&sent);
        let known = proof == format!("Basic {}", base64(&format!("{USER}:{PASSWORD}")))
            || (method == "POST" && form.contains(&format!("refresh_token={IDENTITY}")));
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
        let body = if known { format!("{{\"token\":\"t{tokens}-{now}\"}}") } else { "{}".to_owned() };
        let status = if known { 200 } else { 401 };
        let length = body.len();
        return write!(client, "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
            .ok();
    }
    let worn = token_uses.is_some_and(|most| !proof.starts_with("Bearer t") || uses >= most);
    if worn || lives.is_some_and(|lives| age > lives.as_millis()) {
        let challenge = format!("Bearer realm=\"http://127.0.0.1:{port}/token\",service=\"s\",scope=\"x\"");
        return write!(
            client,
            "HTTP/1.1 401 X\r\nWWW-Authenticate: {challenge}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        .ok();
    }
    if let Some(count) = faults.lock().unwrap().page.filter(|_| path.contains("/tags/list")) {
        return tell_page(&mut client, upstream, &path, count);
    }
    if let Some(body) = faults.lock().unwrap().found.clone().filter(|_| path.starts_with("/v1/search")) {
        let length = body.len();
        return write!(client, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").ok();
    }
    if let Some(other) = faults.lock().unwrap().elsewhere.filter(|_| path.contains("/blobs/")) {
        return write!(client, "HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:{other}{path}?signed=1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").ok();
    }
    {
        let mut faults = faults.lock().unwrap();
        if faults.refuse > 0 {
            faults.refuse -= 1;
            let status = faults.status;
            let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"in the registry's own words"}]}"#;
            let length = body.len();
            return write!(client, "HTTP/1.1 {status} No\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").ok();
        }
    }
    if path.contains("/blobs/uploads/") {
        let faults = faults.lock().unwrap();
        if let Some(kept) = faults.kept.as_ref().filter(|kept| !kept.is_empty()) {
            if method == "GET" {
                let last = faults.claims.unwrap_or(kept.len()) - 1;
                return write!(
                    client,
                    "HTTP/1.1 204 X\r\nLocation: {path}\r\nRange: 0-{last}\r\nConnection: close\r\n\r\n"
                )
                .ok();
            }
            if range.contains(&format!(" {}-", kept.len())) {
                sent.splice(..0, kept.iter().copied());
            }
        }
    }
    let mut server = TcpStream::connect(("127.0.0.1", upstream)).ok()?;
    let length = sent.len();
    write!(server, "{head}Content-Length: {length}\r\nConnection: close\r\n\r\n").ok()?;
    server.write_all(&sent).ok()?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).ok()?;
    let body = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let is_blob = method == "GET" && path.contains("/blobs/") && answer.len() - body > 100_000;
    let (mut until, mut pace) = (answer.len(), None);
    if is_blob {
        let mut faults = faults.lock().unwrap();
        pace = faults.slow;
        if faults.cut > 0 {
            faults.cut -= 1;
            until = body + (answer.len() - body) / 2;
        }
        if faults.spoil > 0 {
            faults.spoil -= 1;
            let at = body + (answer.len() - body) / 3;
            answer[at] ^= 1;
        }
    }
    let (size, pause) = pace.unwrap_or((usize::MAX, Duration::ZERO));
    for chunk in answer[..until].chunks(size) {
        client.write_all(chunk).ok()?;
        std::thread::sleep(pause);
    }
    Some(())
}

/// A page of a list of tags, with a link to the next one.
fn tell_page(client: &mut TcpStream, upstream: u16, path: &str, count: usize) -> Option<()> {
    let (list, query) = path.split_once('?').unwrap_or((path, ""));
    let mut server = TcpStream::connect(("127.0.0.1", upstream)).ok()?;
    write!(server, "GET {list} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    server.read_to_string(&mut answer).ok()?;
    let all: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
    let mut tags: Vec<&str> = all["tags"].as_array()?.iter().filter_map(|tag| tag.as_str()).collect();
    tags.sort_unstable();
    let last = query.split('&').find_map(|pair| pair.strip_prefix("last=")).unwrap_or_default();
    let rest: Vec<&str> = tags.into_iter().filter(|tag| *tag > last).collect();
    let page = &rest[..count.min(rest.len())];
    let link = match rest.len() > count {
        true => format!("Link: <{list}?last={}&n={count}>; rel=\"next\"\r\n", page.last()?),
        false => String::new(),
    };
    let body = json!({"name": all["name"], "tags": page}).to_string();
    let length = body.len();
    write!(client, "HTTP/1.1 200 OK\r\n{link}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}").ok()
}

/// What a client sends to the registry; as an error what came of what is to be broken off.
fn take_body(reader: &mut impl Read, length: usize, method: &str, faults: &Mutex<Faults>) -> Result<Vec<u8>, Vec<u8>> {
    let (mut until, mut pace) = (length, None);
    if method == "PATCH" && length > 100_000 {
        let mut faults = faults.lock().unwrap();
        pace = faults.slow;
        if faults.cut_upload > 0 {
            faults.cut_upload -= 1;
            until = length / 2;
        }
    }
    let (size, pause) = pace.unwrap_or((usize::MAX, Duration::ZERO));
    let mut body = Vec::new();
    while body.len() < until {
        let before = body.len();
        let read = reader.by_ref().take(size.min(until - before) as u64).read_to_end(&mut body);
        if read.is_err() || body.len() == before {
            return Err(body);
        }
        std::thread::sleep(pause);
    }
    if until == length { Ok(body) } else { Err(body) }
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// The images and layers of a store, without what may stay of failed pulls.
pub fn refs(env: &Env) -> usize {
    fs::read_dir(env.data().join("images/refs")).into_iter().flatten().count()
}
