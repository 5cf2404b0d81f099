//! What a monitor writes into its lock file: who it is, and which process is its container's first one.
//!
//! That the lock is held says little by itself. A child that the monitor has just forked has a copy of it, and it is
//! freed only some time after its holder was killed; whoever mends, or waits for a monitor's end, has it for a moment. So
//! a monitor leaves its name: only a lock whose monitor lives means that somebody supervises. And where the state on disk
//! cannot be read, or was never written, the container's process is found by this: the run directory is another file
//! system, and as young as the boot.

use std::io::{self, Write};

use super::lock::Lock;
use super::paths::ContainerPaths;
use crate::sys::{process, regular};

/// Who has a container in hand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Claim {
    /// The monitor.
    pub monitor: Option<Process>,
    /// The container's first process.
    pub init: Option<Process>,
}

/// A process by its number and its start time, which no other one has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Its process id.
    pub pid: i32,
    /// When it was started, in clock ticks since boot.
    pub start: u64,
}

impl Process {
    /// Whether it has not begun to end.
    pub fn lives(self) -> bool {
        process::lives(self.pid, self.start)
    }
}

impl Claim {
    /// What the last monitor has written. What it could not write, or one of an older version did not, is missing.
    pub fn read(paths: &ContainerPaths) -> Self {
        Self::parse(&regular::read_to_string(&paths.monitor_lock()).unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let find = |role: &str| {
            // A line that is not whole is none: half a number is another one.
            let lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
            let mut lines = lines.filter_map(|line| line.split_once(' ').filter(|(word, _)| *word == role));
            let (pid, start) = lines.next_back()?.1.split_once(' ')?;
            Some(Process { pid: pid.parse().ok()?, start: start.parse().ok()? })
        };
        Self { monitor: find("monitor"), init: find("init") }
    }

    /// Whether who has the lock is known to be a monitor that lives.
    pub fn is_supervised(&self) -> bool {
        self.monitor.is_some_and(Process::lives)
    }
}

/// Writes that this process is the monitor, in the lock that it has just got.
///
/// # Errors
/// Those of the file system.
pub fn take(lock: &Lock) -> io::Result<()> {
    lock.file().set_len(0)?;
    let pid = std::process::id().cast_signed();
    write(lock, "monitor", Process { pid, start: process::start_time(pid)? })
}

/// Writes which process is the container's, before anything else says so.
///
/// # Errors
/// Those of the file system.
pub fn name_init(lock: &Lock, init: Process) -> io::Result<()> {
    write(lock, "init", init)
}

/// In one write(2): the file is open to append.
fn write(lock: &Lock, role: &str, process: Process) -> io::Result<()> {
    lock.file().write_all(format!("{role} {} {}\n", process.pid, process.start).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::paths::Home;

    #[test]
    fn a_claim_is_as_good_as_its_monitor() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let paths = Home { data: dir.path().join("data"), run: dir.path().join("run") }.container("c");
        std::fs::create_dir_all(&paths.run).expect("directory");
        assert_eq!(Claim::read(&paths), Claim::default());
        let lock = Lock::exclusive(&paths.monitor_lock()).expect("lock");
        for _ in 0..2 {
            take(&lock).expect("write");
            assert!(Claim::read(&paths).is_supervised());
            assert_eq!(Claim::read(&paths).init, None);
            let mut child = std::process::Command::new("sleep").arg("100").spawn().expect("sleep");
            let pid = child.id().cast_signed();
            let init = Process { pid, start: process::start_time(pid).expect("it runs") };
            name_init(&lock, init).expect("write");
            assert_eq!(Claim::read(&paths).init, Some(init));
            assert!(init.lives());
            assert!(!Process { start: init.start + 1, ..init }.lives());
            child.kill().expect("kill");
            // Not reaped: dead all the same.
            crate::sys::pidfd::wait_exit(
                crate::sys::pidfd::open(pid).expect("pidfd"),
                std::time::Duration::from_secs(60),
            )
            .expect("it ends");
            assert!(!init.lives());
            child.wait().expect("reap");
            assert!(!init.lives());
        }
        let own = Claim::read(&paths).monitor.expect("written");
        for (text, monitor) in [
            (String::new(), None),
            (format!("monitor {}", own.pid), None),
            (format!("monitor {} {}", own.pid, own.start), None),
            (format!("monitor {} {}\ninit 7", own.pid, own.start), Some(own)),
        ] {
            assert_eq!(Claim::parse(&text), Claim { monitor, init: None }, "{text:?}");
        }
    }
}
