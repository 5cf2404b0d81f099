//! One test's own pierless: its state directories, its socket, its API process, and the clients pointed at it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::fixtures;
use super::process::{Output, Process, eventually, run};
use super::pty::Terminal;
use super::raw::{self, Reply};

/// The program under test, as one file of the test user's.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let built = std::env::var_os("PIERLESS_BIN")
            .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_pierless")), PathBuf::from);
        let copy = std::env::temp_dir().join("pierless");
        fs::copy(&built, &copy).unwrap_or_else(|error| panic!("{}: {error}", built.display()));
        copy
    })
}

/// The folder with README.md and openapi/, wherever the tests run.
pub fn source_tree() -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into()))
}

/// A test's own pierless. Dropped, nothing of it is left.
pub struct Env {
    base: PathBuf,
    pub server: Option<Process>,
}

impl Env {
    /// Directories only; nothing runs.
    pub fn bare() -> Env {
        // Kept short: the name of a unix socket has at most 107 bytes.
        let base = tempfile::Builder::new().prefix("e").tempdir().unwrap().keep();
        for dir in ["h", "x", "bin"] {
            fs::create_dir(base.join(dir)).unwrap();
        }
        fs::create_dir(base.join("h/.docker")).unwrap();
        fs::set_permissions(base.join("x"), fs::Permissions::from_mode(0o700)).unwrap();
        // A name of its own for the program tells this test's processes from all others.
        fs::hard_link(program(), base.join("bin/pierless")).unwrap();
        Env { base, server: None }
    }

    /// With an API process that never goes idle.
    pub fn new() -> Env {
        let mut env = Env::bare();
        env.serve();
        env
    }

    /// With an API process and the image `busybox`.
    pub fn with_busybox() -> Env {
        let env = Env::new();
        env.load_busybox();
        env
    }

    pub fn load_busybox(&self) {
        self.docker(["load", "-q", "-i", fixtures::busybox().to_str().unwrap()]).ok();
    }

    pub fn base(&self) -> &Path {
        &self.base
    }
    pub fn program(&self) -> PathBuf {
        self.base.join("bin/pierless")
    }
    pub fn home(&self) -> PathBuf {
        self.base.join("h")
    }
    pub fn runtime_dir(&self) -> PathBuf {
        self.base.join("x")
    }
    pub fn data(&self) -> PathBuf {
        self.home().join(".local/share/pierless")
    }
    pub fn run_dir(&self) -> PathBuf {
        self.runtime_dir().join("pierless")
    }
    pub fn socket(&self) -> PathBuf {
        self.run_dir().join("docker.sock")
    }

    /// What takes the place of the host's own file, if it is made before the first container is started.
    pub fn resolv_conf(&self) -> PathBuf {
        self.base.join("resolv.conf")
    }

    /// A command in this test's environment: its own home and runtime directory, and nothing of the caller's.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .env_clear()
            .env("PATH", format!("{}:{path}:/usr/sbin:/sbin", fixtures::folder().join("bin").display()))
            .env("HOME", self.home())
            .env("XDG_RUNTIME_DIR", self.runtime_dir())
            .env("DOCKER_CONFIG", self.home().join(".docker"))
            .env("DOCKER_HOST", format!("unix://{}", self.socket().display()))
            .env("RUST_BACKTRACE", "1")
            .current_dir(self.home());
        if self.resolv_conf().exists() {
            command.env("PIERLESS_RESOLV_CONF", self.resolv_conf());
        }
        command
    }

    /// `pierless ARGUMENTS`.
    #[track_caller]
    pub fn pierless<'a>(&self, arguments: impl AsRef<[&'a str]>) -> Output {
        run(self.command(self.program()).args(arguments.as_ref()))
    }

    /// Starts an API process that never goes idle, and waits until it answers.
    #[track_caller]
    pub fn serve(&mut self) {
        let mut command = self.command(self.program());
        command.args(["serve", "--idle-timeout", "0"]).env("PIERLESS_LOG", "debug");
        let mut server = Process::start(&mut command);
        eventually("the API answers", || {
            assert!(server.is_running(), "the API ended: {}", server.err.now());
            std::os::unix::net::UnixStream::connect(self.socket()).is_ok()
        });
        self.server = Some(server);
    }

    /// `kill -9` of the API process.
    pub fn kill_server(&mut self) {
        self.server.take().unwrap().kill();
        // A child that it was just making may keep its socket until it has become a monitor.
        eventually("nobody serves", || std::os::unix::net::UnixStream::connect(self.socket()).is_err());
    }

    pub fn docker_command<'a>(&self, arguments: impl AsRef<[&'a str]>) -> Command {
        let mut command = self.command("docker");
        command.args(arguments.as_ref());
        command
    }

    /// The docker command line, to its end.
    #[track_caller]
    pub fn docker<'a>(&self, arguments: impl AsRef<[&'a str]>) -> Output {
        run(&mut self.docker_command(arguments))
    }

    /// The docker command line, going on.
    #[track_caller]
    pub fn docker_start<'a>(&self, arguments: impl AsRef<[&'a str]>) -> Process {
        Process::start(&mut self.docker_command(arguments))
    }

    /// The docker command line on a terminal of 24 rows and 80 columns.
    pub fn docker_terminal<'a>(&self, arguments: impl AsRef<[&'a str]>) -> Terminal {
        Terminal::start(&self.docker_command(arguments), 24, 80)
    }

    /// `docker inspect --format`.
    #[track_caller]
    pub fn inspect(&self, object: &str, format: &str) -> String {
        self.docker(["inspect", "--format", format, object]).ok().trim().to_owned()
    }

    /// `docker run -d busybox …`, which gives the id.
    #[track_caller]
    pub fn run_detached(&self, options: &[&str], command: &[&str]) -> String {
        let mut arguments = vec!["run", "-d"];
        arguments.extend(options);
        arguments.push("busybox");
        arguments.extend(command);
        self.docker(arguments).ok().trim().to_owned()
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Reply {
        raw::request(&self.socket(), "GET", path, "", b"")
    }

    #[track_caller]
    pub fn delete(&self, path: &str) -> Reply {
        raw::request(&self.socket(), "DELETE", path, "", b"")
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Reply {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        raw::request(&self.socket(), "POST", path, "application/json", body.as_bytes())
    }

    /// Creates a container of busybox by a raw request; gives the id and the warnings.
    #[track_caller]
    pub fn create(&self, body: Value) -> (String, Vec<String>) {
        let reply = self.post("/v1.51/containers/create", &body).expect(201).json();
        let warnings = reply["Warnings"].as_array().cloned().unwrap_or_default();
        let warnings = warnings.iter().map(|warning| warning.as_str().unwrap().to_owned()).collect();
        (reply["Id"].as_str().unwrap().to_owned(), warnings)
    }

    /// What the event log tells of the time up to now, to the nanosecond.
    #[track_caller]
    pub fn past_events(&self, filters: &Value) -> Vec<Value> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let filters = filters.to_string().replace('"', "%22");
        let until = format!("{}.{:09}", now.as_secs(), now.subsec_nanos());
        let reply = self.get(&format!("/v1.51/events?since=1&until={until}&filters={filters}")).expect(200);
        reply.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// This test's processes that run the program under test, by any role.
    pub fn processes(&self) -> Vec<Seen> {
        let program = self.program();
        every_process().into_iter().filter(|seen| seen.runs(&program)).collect()
    }

    /// Those of its processes with `role` as their first argument.
    pub fn role(&self, role: &str) -> Vec<Seen> {
        self.processes().into_iter().filter(|seen| seen.arguments.get(1).is_some_and(|word| word == role)).collect()
    }

    /// Process id of a container's first process, from its record.
    pub fn container_pids(&self) -> Vec<i32> {
        let Ok(entries) = fs::read_dir(self.data().join("containers")) else { return vec![] };
        entries
            .flatten()
            .filter_map(|entry| fs::read(entry.path().join("state.json")).ok())
            .filter_map(|text| serde_json::from_slice::<Value>(&text).ok())
            .filter(|state| state["status"] == "running" || state["status"] == "paused")
            .filter_map(|state| i32::try_from(state["pid"].as_i64()?).ok())
            .filter(|pid| *pid > 1)
            .collect()
    }

    /// The containers and images that exist, as files: to be compared before and after what must leave nothing.
    pub fn contents(&self) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        for dir in
            ["containers", "containers/names", "images/refs", "images/blobs/sha256", "images/layers", "images/meta"]
        {
            let entries = fs::read_dir(self.data().join(dir)).into_iter().flatten().flatten();
            // The store's own, made by whoever first needs them.
            let own = |path: &PathBuf| path.file_name().is_some_and(|name| name == "lock" || name == "names");
            found.extend(entries.map(|entry| entry.path()).filter(|path| !own(path)));
        }
        found
    }
}

impl Drop for Env {
    fn drop(&mut self) {
        if std::thread::panicking() {
            if let Some(server) = &self.server {
                eprintln!("--- the API's log\n{}---", server.err.now());
            }
            if std::env::var_os("PIERLESS_TEST_KEEP").is_some() {
                eprintln!("kept: {}", self.base.display());
                return;
            }
        }
        drop(self.server.take());
        let patience = Instant::now() + Duration::from_secs(10);
        loop {
            for pid in self.container_pids() {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(10));
            // Monitors end with their containers and write it down; what does not is killed.
            let left = self.processes();
            let monitors = left.iter().any(|seen| seen.arguments.get(1).is_some_and(|role| role == "monitor"));
            if left.is_empty() || !monitors || Instant::now() > patience {
                for seen in left {
                    let _ = kill(Pid::from_raw(seen.pid), Signal::SIGKILL);
                }
                // Its holder cannot end it any more.
                if let Some(pid) = self.way_out() {
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                }
                break;
            }
        }
        // By a process: containers of tests make trees that are deeper than a thread's stack.
        let removed = Command::new("rm").arg("-rf").arg(&self.base).stderr(Stdio::null()).status();
        if !removed.is_ok_and(|status| status.success()) {
            // Files of subordinate ids are only their user namespace's root's to remove.
            let _ = Command::new("unshare")
                .args(["--user", "--map-root-user", "--map-auto", "rm", "-rf"])
                .arg(&self.base)
                .status();
        }
    }
}

impl Env {
    /// The process that is the containers' way out of their network, if it lives.
    pub fn way_out(&self) -> Option<i32> {
        let text = fs::read_to_string(self.run_dir().join("networks/way-out")).ok()?;
        let pid: i32 = text.split(' ').next()?.parse().ok()?;
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let is_one = String::from_utf8_lossy(&line).contains("pasta");
        let zombie = fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "));
        (is_one && !zombie).then_some(pid)
    }
}

/// A process as /proc shows it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub pid: i32,
    pub parent: i32,
    pub arguments: Vec<String>,
}

impl Seen {
    pub fn of(pid: i32) -> Option<Seen> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat[stat.rfind(')')? + 2..].split(' ');
        if fields.next()? == "Z" {
            return None;
        }
        let parent = fields.next()?.parse().ok()?;
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let words = line.split(|byte| *byte == 0).filter(|word| !word.is_empty());
        Some(Seen { pid, parent, arguments: words.map(|word| String::from_utf8_lossy(word).into_owned()).collect() })
    }

    fn runs(&self, program: &Path) -> bool {
        // /proc/PID/exe of a process that has changed its credentials is not readable: its command line is.
        self.arguments.first().is_some_and(|word| Path::new(word) == program)
            || fs::read_link(format!("/proc/{}/exe", self.pid)).is_ok_and(|exe| exe == program)
    }

    /// The processes that it descends from, its parent first.
    pub fn ancestors(&self) -> Vec<i32> {
        let mut line = vec![];
        let mut pid = self.parent;
        while let Some(seen) = Seen::of(pid).filter(|_| pid > 0) {
            line.push(pid);
            pid = seen.parent;
        }
        line
    }
}

pub fn every_process() -> Vec<Seen> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| Seen::of(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// `docker run --rm OPTIONS busybox sh -c SCRIPT`.
#[track_caller]
pub fn sh(env: &Env, options: &[&str], script: &str) -> String {
    let mut arguments = vec!["run", "--rm"];
    arguments.extend(options);
    arguments.extend(["busybox", "sh", "-c", script]);
    env.docker(arguments).ok()
}
