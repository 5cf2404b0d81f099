//! inotify(7): being told by the kernel that files changed.
//!
//! One instance of the kernel's serves a whole process. A user may have few of them (128, by default), which their
//! editor needs as well, while a thousand clients may wait at once: a thread reads the instance, and passes on what it
//! reads to whoever watches that file.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify;

/// What to be told of.
pub use rustix::fs::inotify::WatchFlags as Mask;

/// Stack of the thread that reads, in bytes.
const STACK: usize = 64 * 1024;

/// The process's one instance.
#[derive(Debug)]
struct Instance {
    fd: OwnedFd,
    /// Who watches what: the descriptors to write to, by the kernel's number of the watch.
    watchers: Mutex<HashMap<i32, Vec<Arc<OwnedFd>>>>,
}

/// A set of watches; readable when something that is watched has changed.
#[derive(Debug)]
pub struct Inotify {
    instance: &'static Instance,
    told: Arc<OwnedFd>,
}

impl Instance {
    /// The instance, made with its thread by whoever first needs it.
    fn get() -> io::Result<&'static Self> {
        static INSTANCE: OnceLock<Instance> = OnceLock::new();
        static MAKING: Mutex<()> = Mutex::new(());
        let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(instance) = INSTANCE.get() {
            return Ok(instance);
        }
        let fd = inotify::init(inotify::CreateFlags::CLOEXEC)?;
        let (ready, go) = std::sync::mpsc::channel::<&'static Self>();
        std::thread::Builder::new().name("inotify".to_owned()).stack_size(STACK).spawn(move || {
            if let Ok(instance) = go.recv() {
                instance.pass_on();
            }
        })?;
        let instance = INSTANCE.get_or_init(|| Self { fd, watchers: Mutex::default() });
        let _ = ready.send(instance);
        Ok(instance)
    }

    fn watchers(&self) -> MutexGuard<'_, HashMap<i32, Vec<Arc<OwnedFd>>>> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads for ever.
    fn pass_on(&self) {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.fd, &mut buffer);
        loop {
            let (number, flags) = match reader.next() {
                Ok(event) => (event.wd(), event.events()),
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => return,
            };
            let mut watchers = self.watchers();
            if flags.contains(inotify::ReadFlags::QUEUE_OVERFLOW) {
                watchers.values().flatten().for_each(tell);
            }
            watchers.get(&number).into_iter().flatten().for_each(tell);
            if flags.contains(inotify::ReadFlags::IGNORED) {
                // What was watched is no more; the number is not given out again.
                watchers.remove(&number);
            }
        }
    }
}

fn tell(told: &Arc<OwnedFd>) {
    // It fails only where there is something to be read already.
    let _ = rustix::io::write(told, &1u64.to_ne_bytes());
}

impl Inotify {
    /// An empty set.
    ///
    /// # Errors
    /// The user has too many instances (`fs.inotify.max_user_instances`); no descriptor is left.
    pub fn new() -> io::Result<Self> {
        let told = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { instance: Instance::get()?, told: Arc::new(told) })
    }

    /// Adds a file or a directory, or more to be told of it. One that others watch, too, may tell of what they want.
    ///
    /// # Errors
    /// It does not exist; too many watches.
    pub fn watch(&self, path: &Path, mask: Mask) -> io::Result<()> {
        // Held over both, or what is told in between would be nobody's.
        let mut watchers = self.instance.watchers();
        let number = inotify::add_watch(&self.instance.fd, path, mask | Mask::MASK_ADD)?;
        let of_this = watchers.entry(number).or_default();
        if !of_this.iter().any(|told| Arc::ptr_eq(told, &self.told)) {
            of_this.push(Arc::clone(&self.told));
        }
        Ok(())
    }

    /// Takes what there is to be told. That something changed is all that its users need: they look themselves.
    ///
    /// # Errors
    /// Those of read(2).
    pub fn drain(&self) -> io::Result<()> {
        match rustix::io::retry_on_intr(|| rustix::io::read(&*self.told, &mut [0u8; 8])) {
            Ok(_) | Err(rustix::io::Errno::WOULDBLOCK) => Ok(()),
            Err(err) => Err(err.into()),
        }
    }
}

impl Drop for Inotify {
    fn drop(&mut self) {
        self.instance.watchers().retain(|number, of_this| {
            of_this.retain(|told| !Arc::ptr_eq(told, &self.told));
            if of_this.is_empty() {
                let _ = inotify::remove_watch(&self.instance.fd, *number);
            }
            !of_this.is_empty()
        });
    }
}

impl AsFd for Inotify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.told.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags};

    fn told(watch: &Inotify, millis: i64) -> bool {
        let limit = rustix::time::Timespec { tv_sec: millis / 1000, tv_nsec: millis % 1000 * 1_000_000 };
        rustix::event::poll(&mut [PollFd::new(watch, PollFlags::IN)], Some(&limit)) == Ok(1)
    }

    #[test]
    fn a_thousand_watch_and_each_is_told_of_its_own() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let (here, there) = (dir.path().join("here"), dir.path().join("there"));
        for dir in [&here, &there] {
            std::fs::create_dir(dir).expect("directory");
        }
        // Far more than a user may have instances.
        let watch = |path: &Path| {
            let watch = Inotify::new().expect("one more");
            watch.watch(path, Mask::CREATE | Mask::MOVE_SELF | Mask::DELETE_SELF).expect("watch");
            watch
        };
        let all: Vec<Inotify> = (0..1000).map(|n| watch(if n % 2 == 0 { &here } else { &there })).collect();
        std::fs::write(here.join("x"), "").expect("file");
        for (n, one) in all.iter().enumerate() {
            assert_eq!(told(one, if n % 2 == 0 { 20_000 } else { 0 }), n % 2 == 0, "{n}");
            one.drain().expect("drain");
            assert!(!told(one, 0));
        }
        std::fs::remove_dir(&there).expect("remove");
        assert!(all.iter().skip(1).step_by(2).all(|one| told(one, 20_000)), "a removal is told to all");
        let own: Vec<_> = all.iter().map(|one| Arc::downgrade(&one.told)).collect();
        drop(all);
        assert!(own.iter().all(|told| told.upgrade().is_none()), "nothing of them is left");
    }
}
