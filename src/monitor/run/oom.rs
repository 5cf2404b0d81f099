//! Whether the kernel has ended processes of the container for want of memory: told before the container's end is.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use super::context::Context;
use super::watch::Role;
use crate::cgroup::group;
use crate::sys::epoll::Interest;

/// The kernel's counts of a container's group.
#[derive(Debug, Default)]
pub struct Oom {
    counts: Option<File>,
    seen: u64,
}

impl Oom {
    /// Begins with a new run. Where the container has no group, or that no memory controller, nothing is ever told.
    pub fn watch(&mut self, cx: &mut Context) {
        self.forget(cx);
        let group = group::payload(&cx.files.id);
        self.counts = group.and_then(|group| File::open(group.join("memory.events")).ok());
        if let Some(counts) = &self.counts {
            // What changes from here on is told.
            self.seen = killed(counts);
            let _ = cx.watch.add(counts.as_fd(), Role::Oom, Interest::PRI);
        }
    }

    /// Looks; whether processes were ended since the last look.
    pub fn look(&mut self) -> bool {
        let now = self.counts.as_ref().map_or(0, killed);
        let more = now > self.seen;
        self.seen = now;
        more
    }

    /// The run is over.
    pub fn forget(&mut self, cx: &mut Context) {
        if let Some(counts) = self.counts.take() {
            cx.watch.remove(counts.as_fd());
        }
        self.seen = 0;
    }
}

/// How many processes were ended, here and in groups below.
fn killed(counts: &File) -> u64 {
    let mut text = [0; 512];
    let len = counts.read_at(&mut text, 0).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[..len]);
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or_default()
}
