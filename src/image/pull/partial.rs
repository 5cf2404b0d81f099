//! A blob on its way from a registry: one file in `partial/`, for all who want it, whichever process they are.
//!
//! Whoever holds the lock on the file downloads; the others wait for the lock and find the whole blob, or go on where the
//! first one was killed or left. The file stays until an image that has the blob is published, so that a pull that failed
//! is gone on with by the next.

use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{AtFlags, CWD, linkat};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::image::meta::Descriptor;
use crate::image::spool::Spool;
use crate::image::{Error, Result, Store};
use crate::model::ids::short;
use crate::model::reference::sha256_hex;
use crate::registry::client::delay;
use crate::registry::{self, Repository};
use crate::state::lock::Lock;
use crate::sys::inotify::{Inotify, Mask};
use crate::sys::poll::{is_readable, readable_within};

use super::step::LayerStep;

/// Tries without a byte of progress.
const TRIES: u32 = 5;
/// How often progress is told.
const TELL: Duration = Duration::from_millis(100);
/// How often a waiter looks whether the rest of its image has failed.
const LOOK: Duration = Duration::from_secs(1);
/// How long what nobody went on with is kept.
const KEEP: Duration = Duration::from_secs(7 * 24 * 3600);
const BUFFER: usize = 256 << 10;

/// Where blobs come from, and who is told of it. Shared by the layers of an image.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The registry.
    pub from: &'a Repository,
    /// Whether all that is under way is to stop.
    pub stop: &'a AtomicBool,
    /// Told of each step.
    pub tell: &'a dyn Fn(LayerStep),
}

impl Source<'_> {
    fn is_over(&self) -> bool {
        self.from.http().leaves().is_some_and(is_readable) || self.stop.load(Ordering::Relaxed)
    }
}

/// A blob that this thread alone may write to.
pub struct Partial<'a> {
    path: PathBuf,
    blob: Descriptor,
    hex: String,
    source: Source<'a>,
    lock: Lock,
}

/// What came is not what the manifest names.
pub fn unverified(digest: &str) -> Error {
    Error::Invalid(format!("filesystem layer verification failed for digest {digest}"))
}

/// Why what is here is not the blob.
pub enum Bad {
    /// Something else failed.
    Failed(Error),
    /// What was there before is gone: it was damaged, or nobody needs it any more. A new try may succeed.
    Begin,
    /// Another blob came: it is gone, too, and what spoilt it may have been on the way.
    Spoilt,
}

impl<E: Into<Error>> From<E> for Bad {
    fn from(err: E) -> Self {
        Self::Failed(err.into())
    }
}

impl<'a> Partial<'a> {
    /// Waits until nobody else downloads this blob, and tells meanwhile how far that is.
    ///
    /// # Errors
    /// Cancelled; a digest that is none; those of the file system.
    pub fn take(store: &Store, blob: &Descriptor, source: Source<'a>) -> Result<Self> {
        let hex = sha256_hex(&blob.digest)
            .ok_or_else(|| Error::Invalid(format!("unsupported digest {:?}", blob.digest)))?
            .to_owned();
        let dir = store.partial_dir();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(Error::at(&dir))?;
        let path = dir.join(&hex);
        let lock = match Lock::try_exclusive(&path)? {
            Some(lock) => lock,
            None => wait(&path, blob.size, source)?,
        };
        Ok(Self { path, blob: blob.clone(), hex, source, lock })
    }

    /// A spool that begins with what is there.
    ///
    /// # Errors
    /// Another manifest lied about its length; those of the file system.
    pub fn spool(&self) -> Result<Spool, Bad> {
        let meta = self.lock.file().metadata().map_err(Error::at(&self.path))?;
        if meta.nlink() == 0 {
            return Err(Bad::Begin);
        }
        // What has a further name is somebody's whole blob by now, and never written to.
        if meta.len() > self.blob.size || (meta.nlink() > 1 && meta.len() != self.blob.size) {
            return self.abandon();
        }
        Ok(Spool::resume(&self.held())?)
    }

    /// The file that the lock is on. Who publishes a blob forgets it without asking who waits for it, or has just got it:
    /// by now its name in `partial/` may be another file's, which is somebody else's.
    fn held(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.lock.file().as_raw_fd()))
    }

    /// Gives the file a further name.
    fn link(&self, place: &Path) -> Result<(), Bad> {
        match linkat(CWD, self.held(), CWD, place, AtFlags::SYMLINK_FOLLOW) {
            Err(Errno::NOENT) => Err(Bad::Begin),
            other => Ok(other.map_err(|err| Error::at(place)(err.into()))?),
        }
    }

    /// Takes the file's name away: the next try begins with another one.
    fn abandon<T>(&self) -> Result<T, Bad> {
        match fs::remove_file(&self.path) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => Err(Error::at(&self.path)(err).into()),
            _ => Err(Bad::Begin),
        }
    }

    /// Brings the rest of the blob, and gives it a further name `place` if it is what it should be.
    ///
    /// # Errors
    /// The registry's; another blob came; those of the file system. What came stays for the next try.
    pub fn complete(&self, mut spool: Spool, place: &Path) -> Result<(), Bad> {
        let Source { from, tell, .. } = self.source;
        let before = spool.written();
        let mut tries = 0;
        while spool.written() < self.blob.size {
            let had = spool.written();
            match self.go_on(&mut spool) {
                Ok(()) => {}
                Err(Error::Registry(err)) if err.is_passing() => {
                    tries = if spool.written() > had { 1 } else { tries + 1 };
                    if tries >= TRIES {
                        return Err(Error::from(err).into());
                    }
                    tracing::debug!("{}: {err}", self.blob.digest);
                    let seconds = delay(&err, tries).as_secs().max(1);
                    for left in (1..=seconds).rev() {
                        tell(LayerStep::Retrying(left));
                        from.http().pause(Duration::from_secs(1))?;
                    }
                }
                Err(err) => return Err(err.into()),
            }
        }
        tell(LayerStep::Verifying);
        // Linked before it is said to be complete: readers end then, and their user may go on.
        self.link(place)?;
        if spool.hash() != self.hex {
            drop(spool);
            let _ = fs::remove_file(place);
            return match self.abandon() {
                Err(Bad::Begin) if before == 0 => Err(Bad::Spoilt),
                other => other,
            };
        }
        spool.finish();
        tell(LayerStep::Downloaded);
        Ok(())
    }

    /// Reads one answer to its end, or to where it breaks off.
    fn go_on(&self, spool: &mut Spool) -> Result<()> {
        let Source { from, stop, tell } = self.source;
        let total = self.blob.size;
        let mut answer = from.blob(&self.blob.digest, spool.written())?;
        let mut skip = spool.written().saturating_sub(answer.from);
        let mut buffer = vec![0; BUFFER];
        let mut told = Instant::now();
        tell(LayerStep::Downloading { current: spool.written(), total });
        loop {
            let what = || format!("GET blob {}", short(&self.hex));
            let count = answer.body.read(&mut buffer).map_err(|source| match from.http().is_cancelled() {
                true => registry::Error::Cancelled,
                false => registry::Error::Connection { what: what(), source },
            })?;
            if count == 0 {
                if spool.written() < total {
                    let source = io::Error::new(io::ErrorKind::UnexpectedEof, "it ended before its end");
                    return Err(registry::Error::Connection { what: what(), source }.into());
                }
                return Ok(());
            }
            if stop.load(Ordering::Relaxed) {
                return Err(registry::Error::Cancelled.into());
            }
            let known = usize::try_from(skip).unwrap_or(usize::MAX).min(count);
            skip -= known as u64;
            if spool.written() + (count - known) as u64 > total {
                let text = format!("blob {} has more than its {total} bytes", self.blob.digest);
                return Err(Error::Invalid(text));
            }
            spool.write(&buffer[known..count])?;
            if told.elapsed() >= TELL {
                told = Instant::now();
                tell(LayerStep::Downloading { current: spool.written(), total });
            }
        }
    }
}

/// Waits for the lock on a file that another one writes, and tells how far that is whenever it grows.
fn wait(path: &Path, total: u64, source: Source<'_>) -> Result<Lock> {
    let at = || Error::at(path);
    let grows = Inotify::new().map_err(at())?;
    grows.watch(path, Mask::MODIFY).map_err(at())?;
    // The kernel's wait has no end of its own: a thread waits, and frees the lock if nobody wants it any more.
    let (sender, receiver) = mpsc::channel();
    let (ends, end) = pipe_with(PipeFlags::CLOEXEC).map_err(|err| at()(err.into()))?;
    let wanted = path.to_owned();
    std::thread::spawn(move || {
        let _ = sender.send(Lock::exclusive(&wanted));
        drop(end);
    });
    loop {
        let leaves = source.from.http().leaves();
        readable_within([ends.as_fd(), grows.as_fd()].into_iter().chain(leaves), LOOK).map_err(at())?;
        match receiver.try_recv() {
            Ok(lock) => return Ok(lock?),
            Err(mpsc::TryRecvError::Disconnected) => return Err(at()(io::ErrorKind::Interrupted.into())),
            Err(mpsc::TryRecvError::Empty) if source.is_over() => return Err(registry::Error::Cancelled.into()),
            Err(mpsc::TryRecvError::Empty) => {}
        }
        grows.drain().map_err(at())?;
        let current = fs::metadata(path).map_or(0, |meta| meta.len()).min(total);
        (source.tell)(LayerStep::Downloading { current, total });
        // Not at each write.
        readable_within(std::iter::once(ends.as_fd()).chain(leaves), TELL).map_err(at())?;
    }
}

/// Forgets a blob that is published.
pub fn forget(store: &Store, digest: &str) {
    if let Some(hex) = sha256_hex(digest) {
        let _ = fs::remove_file(store.partial_dir().join(hex));
    }
}

/// Removes what nobody went on with for a week.
///
/// # Errors
/// Those of the file system.
pub fn sweep(store: &Store) -> Result<()> {
    for path in Store::list(&store.partial_dir())? {
        let modified = fs::metadata(&path).and_then(|meta| meta.modified());
        let old = modified.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > KEEP));
        if old && let Ok(Some(_lock)) = Lock::try_exclusive(&path) {
            let _ = fs::remove_file(&path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::model::ids::hex;
    use crate::model::reference::Reference;
    use crate::registry::http::Http;
    use crate::registry::{Config, Credentials};
    use crate::state::paths::Home;

    #[test]
    fn what_is_forgotten_while_it_is_held_is_never_taken_for_another_file() {
        let dir = tempfile::tempdir().expect("directory");
        let store = Store::open(&Home { data: dir.path().join("data"), run: dir.path().join("run") }).expect("store");
        let http = Http::start(Config::default(), None).expect("client");
        let name = Reference::parse("example.com/x").expect("name");
        let from = Repository::new(http, &name, Credentials::default()).expect("repository");
        let source = Source { from: &from, stop: &AtomicBool::new(false), tell: &|_| {} };
        let digest = format!("sha256:{}", hex(&Sha256::digest(b"blob")));
        let blob = Descriptor { digest: digest.clone(), size: 4, ..Descriptor::default() };
        let path = |partial: &Partial| partial.path.clone();
        let place = |name: &str| dir.path().join(name);
        for published in [true, false] {
            let held = Partial::take(&store, &blob, source).unwrap_or_else(|_| panic!("it is free"));
            fs::write(path(&held), "blob").expect("content");
            let spool = held.spool().unwrap_or_else(|_| panic!("whole"));
            if published {
                fs::hard_link(path(&held), place("published")).expect("link");
            }
            forget(&store, &digest);
            // The next one begins with an empty file of the same name.
            let other = Partial::take(&store, &blob, source).unwrap_or_else(|_| panic!("it is free"));
            let done = held.complete(spool, &place("mine"));
            match published {
                true => assert_eq!((done.is_ok(), fs::read(place("mine")).expect("mine")), (true, b"blob".to_vec())),
                false => assert!(matches!(done, Err(Bad::Begin)) && matches!(held.spool(), Err(Bad::Begin))),
            }
            assert_eq!(fs::metadata(path(&other)).expect("the other's").len(), 0);
            let _ = fs::remove_file(place("mine"));
        }
    }
}
