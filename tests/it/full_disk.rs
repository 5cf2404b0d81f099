//! No blocks, no inodes, a read-only data directory: what cannot be recorded is not begun, and what ends is recorded
//! truly; when there is room again, all goes on by itself.
//!
//! The data directory is a tmpfs of its own, in a mount namespace that the API is started in: its size can be anything.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::fixtures;
use super::harness::Env;
use super::process::{Process, eventually};

/// An API whose data directory is a small disk.
pub struct Disk {
    pub env: Env,
    shell: Process,
    said: usize,
}

/// A way to have no room.
#[derive(Clone, Copy, Debug)]
pub enum Want {
    Blocks,
    Inodes,
    Writing,
}

impl Disk {
    pub fn new() -> Disk {
        let env = Env::bare();
        std::fs::create_dir_all(env.run_dir()).unwrap();
        let mut command = env.command(env.program());
        let shell = Process::start(command.args(["unshare", "sh"]).env("PIERLESS_LOG", "debug"));
        let mut disk = Disk { env, shell, said: 0 };
        let data = disk.data();
        disk.sh(&format!(
            "mkdir -p {d} && mount -t tmpfs -o size=64m,nr_inodes=20000,mode=700 tmpfs {d}",
            d = data.display()
        ));
        disk.serve();
        disk.env.docker(["load", "-q", "-i", fixtures::busybox().to_str().unwrap()]).ok();
        disk
    }

    /// Starts an API process that never goes idle, and waits until it answers.
    #[track_caller]
    pub fn serve(&mut self) {
        let (data, program, socket) = (self.data(), self.env.program(), self.env.socket());
        let serve = format!("{} serve --idle-timeout 0 --socket {}", program.display(), socket.display());
        self.sh(&format!("PIERLESS_DATA={} {serve} </dev/null >/dev/null &", data.display()));
        eventually("the API answers", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    }

    pub fn data(&self) -> PathBuf {
        self.env.base().join("d")
    }

    /// Has the shell beside the API do something, and gives what that prints.
    #[track_caller]
    pub fn sh(&mut self, line: &str) -> String {
        self.said += 1;
        let (begin, end) = (format!("<{}>", self.said), format!("</{}>", self.said));
        self.shell.send(format!("echo '{begin}'\n{{\n{line}\n}} || echo failed\necho '{end}'\n").as_bytes());
        self.shell.out.wait_for(&end);
        let text = self.shell.out.now();
        let said = text.split(&format!("{begin}\n")).nth(1).unwrap().split(&end).next().unwrap().to_owned();
        assert!(!said.contains("failed"), "{line}: {said} {}", self.shell.err.now());
        said
    }

    /// What the disk has and what of it is free, in blocks of 4 KiB or in inodes.
    fn used(&mut self, total: char, free: char) -> u64 {
        let data = self.data();
        let said = self.sh(&format!("stat -f -c '%{total} %{free}' {}", data.display()));
        let mut numbers = said.split_whitespace().map(|number| number.parse::<u64>().unwrap());
        numbers.next().unwrap() - numbers.next().unwrap()
    }

    #[track_caller]
    pub fn fill(&mut self, want: Want) {
        self.leave(want, 0);
    }

    /// How much of it is used.
    fn used_of(&mut self, want: Want) -> u64 {
        match want {
            Want::Blocks => self.used('b', 'f'),
            Want::Inodes => self.used('c', 'd'),
            Want::Writing => 0,
        }
    }

    /// Leaves so many blocks, or inodes, free.
    #[track_caller]
    fn leave(&mut self, want: Want, free: u64) {
        let data = self.data();
        eventually("there is no room", || {
            let size = self.used_of(want) + free;
            let options = match want {
                Want::Blocks => format!("size={}", size * 4096),
                Want::Inodes => format!("nr_inodes={size}"),
                Want::Writing => "ro".to_owned(),
            };
            // Refused if more is used by now, or while somebody ends who has a file open.
            let mount = format!("mount -o remount,{options} {} 2>/dev/null && echo done || :", data.display());
            self.sh(&mount).contains("done")
        });
    }

    pub fn make_room(&mut self) {
        let data = self.data();
        self.sh(&format!("mount -o remount,rw,size=64m,nr_inodes=20000 {}", data.display()));
    }

    fn create(&self, name: &str, script: &str, temporary: bool) -> String {
        // Without a log: a disk with a file that is open to write cannot be made read-only.
        let host = json!({"NetworkMode": "none", "AutoRemove": temporary, "LogConfig": {"Type": "none"}});
        let body = json!({"Image": "busybox", "Cmd": ["sh", "-c", script], "HostConfig": host});
        let path = format!("/v1.51/containers/create?name={name}");
        self.env.post(&path, &body).expect(201).json()["Id"].as_str().unwrap().to_owned()
    }

    fn state(&self, name: &str) -> Value {
        self.env.get(&format!("/v1.51/containers/{name}/json")).expect(200).json()["State"].clone()
    }

    fn names(&self) -> Vec<String> {
        let list = self.env.get("/v1.51/containers/json?all=1").expect(200).json();
        let mut names: Vec<String> =
            list.as_array().unwrap().iter().map(|one| one["Names"][0].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the shell and the API\n{}---", self.shell.err.now());
        }
        if let Some(shell) = &mut self.shell.stdin {
            use std::io::Write;
            // The API with its containers: monitors end with these.
            let _ = shell.write_all(b"kill $!; exit\n");
        }
    }
}

/// Ends with this code when it is asked to stop.
fn stoppable(code: u8) -> String {
    format!("trap 'exit {code}' TERM; while :; do sleep 0.1; done")
}

#[track_caller]
fn ends_are_true(want: Want) {
    let mut disk = Disk::new();
    let null = &json!(null);
    let mut ids = vec![];
    for (name, code) in [("aa", 7), ("bb", 8), ("never", 0)] {
        ids.push(disk.create(name, &stoppable(code), false));
    }
    for name in ["aa", "bb"] {
        disk.env.post(&format!("/v1.51/containers/{name}/start"), null).expect(204);
    }
    disk.create("temporary", &stoppable(9), true);
    disk.env.post("/v1.51/containers/temporary/start", null).expect(204);
    for name in ["aa", "bb", "temporary"] {
        // In its loop it has set its trap.
        let top = || disk.env.get(&format!("/v1.51/containers/{name}/top")).expect(200).text();
        eventually("it can be stopped", || top().contains("sleep"));
    }
    disk.fill(want);

    // What cannot be recorded is not begun.
    let body = json!({"Image": "busybox", "Cmd": ["true"]});
    assert!(disk.env.post("/v1.51/containers/create?name=new", &body).status >= 500);
    assert!(disk.env.post("/v1.51/containers/never/start", null).status >= 500, "{want:?}");
    assert_eq!(disk.state("never")["Running"], false);
    let running = disk.env.get("/v1.51/containers/json").expect(200).json();
    assert_eq!(running.as_array().unwrap().len(), 3, "{running}");
    // Nobody takes away what runs.
    let (running, stopped) = if matches!(want, Want::Writing) { (500, 500) } else { (409, 204) };
    assert_eq!(disk.env.delete("/v1.51/containers/aa").status, running);
    assert_eq!(disk.env.delete("/v1.51/containers/never").status, stopped);
    disk.env.post("/v1.51/containers/prune", null);
    for name in ["aa", "bb", "temporary"] {
        assert_eq!(disk.state(name)["Running"], true, "{name}");
    }

    // What ends is recorded.
    let waiting = disk.env.docker_start(["wait", "temporary"]);
    eventually("the wait is there", || disk.env.role("monitor").len() == 3);
    disk.env.post("/v1.51/containers/aa/stop", null).expect(204);
    assert_eq!(disk.env.docker(["kill", "--signal", "TERM", "temporary"]).code, 0);
    assert_eq!(waiting.join().out, "9\n", "{want:?}");
    disk.env.post("/v1.51/containers/bb/kill?signal=TERM", null).expect(204);
    eventually("b has ended", || disk.state("bb")["Running"] == false);
    let ended = |disk: &Disk| {
        for (name, code) in [("aa", 7), ("bb", 8)] {
            let state = disk.state(name);
            assert_eq!((&state["ExitCode"], &state["Error"]), (&json!(code), &json!("")), "{want:?} {state}");
        }
    };
    ended(&disk);

    // With room again, all goes on.
    disk.make_room();
    ended(&disk);
    let mut names = disk.names();
    names.retain(|name| name != "/never");
    assert!(names == ["/aa", "/bb"] || (matches!(want, Want::Writing) && names.len() == 3), "{names:?}");
    for id in &ids[..2] {
        let died = || disk.env.past_events(&json!({"container": [id], "event": ["die"]}));
        if matches!(want, Want::Writing) {
            // By whoever looks first when its monitor, which could not, is gone.
            eventually("told when it could be", || {
                disk.state(id);
                !died().is_empty()
            });
        }
        let died = died();
        assert!(died.len() <= 1, "{want:?} {died:?}");
        assert!(died.iter().all(|event| event["Actor"]["Attributes"]["exitCode"] != "137"), "{died:?}");
    }
    disk.env.post("/v1.51/containers/aa/start", null).expect(204);
    disk.env.post("/v1.51/containers/aa/kill", null).expect(204);
    assert_eq!(disk.state("aa")["ExitCode"], 137);
    for name in disk.names() {
        assert_eq!(disk.env.delete(&format!("/v1.51/containers{name}")).status, 204, "{name}");
    }
    let data = disk.data();
    let left = disk.sh(&format!("ls -A {}/containers", data.display()));
    assert!(left.split_whitespace().all(|name| name == "lock" || name == "names"), "{left}");
}

#[test]
fn without_blocks_ends_are_true() {
    ends_are_true(Want::Blocks);
}

#[test]
fn without_inodes_ends_are_true() {
    ends_are_true(Want::Inodes);
}

#[test]
fn where_nothing_can_be_written_ends_are_true() {
    ends_are_true(Want::Writing);
}

/// Loads with too little room, all the way from none to nearly enough: an image is loaded and runs, or it is not there;
/// nothing is left of it, and with room it can be loaded.
#[track_caller]
fn loads_are_whole(want: Want) {
    let mut disk = Disk::new();
    let mut layer = fixtures::Tar::default();
    for n in 0..40 {
        layer = layer.file(&format!("file-{n}"), 0o644, vec![b'x'; 20_000]);
    }
    let layers = [fixtures::busybox_layer(), layer.bytes()];
    let archive = disk.env.base().join("archive");
    std::fs::write(&archive, fixtures::docker_archive(&["loaded:one"], fixtures::busybox_config(), &layers)).unwrap();
    let load = |disk: &Disk| disk.env.docker(["load", "-q", "-i", archive.to_str().unwrap()]);
    let remove = |disk: &Disk| disk.env.delete("/v1.51/images/loaded:one?force=1").expect(200);
    let works = |disk: &Disk| {
        let script = "cat /file-0 /file-39 | wc -c";
        let ran =
            disk.env.docker(["run", "--rm", "--network=none", "--log-driver=none", "loaded:one", "sh", "-c", script]);
        assert_eq!(ran.ok(), "40000\n", "{want:?}");
    };
    let before = disk.used_of(want);
    load(&disk).ok();
    let needed = disk.used_of(want) - before;
    works(&disk);
    remove(&disk);
    let kept = disk.used_of(want);
    let mut failures = 0;
    for share in 0..8 {
        disk.leave(want, needed * share / 8);
        let loaded = load(&disk);
        let there = disk.env.get("/v1.51/images/loaded:one/json").status;
        assert_eq!(there == 200, loaded.code == 0, "{want:?} {share}: {}", loaded.err);
        failures += u32::from(loaded.code != 0);
        disk.make_room();
        if loaded.code == 0 {
            works(&disk);
            remove(&disk);
        }
        // What was removed goes beside the answer.
        let mut left = || disk.sh(&format!("ls -A {}/images/tmp", disk.data().display()));
        eventually("nothing half made stays", || left().split_whitespace().all(|name| name == "lock"));
        load(&disk).ok();
        works(&disk);
        remove(&disk);
        // The last monitor's mount holds what was removed until that ends; and the event log grows.
        eventually("nothing stays", || disk.used_of(want) <= kept + 16);
    }
    assert!(failures >= 4, "{want:?}: there was room");
}

#[test]
fn without_blocks_loads_are_whole() {
    loads_are_whole(Want::Blocks);
}

#[test]
fn without_inodes_loads_are_whole() {
    loads_are_whole(Want::Inodes);
}

#[test]
fn where_nothing_can_be_written_loads_are_refused() {
    loads_are_whole(Want::Writing);
}
