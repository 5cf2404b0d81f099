//! Makes images of archives of root file systems: of those that clients send, and of those that they only name.

use std::io::{self, Read};
use std::os::fd::OwnedFd;

use crate::engine::Engine;
use crate::image::Result;
use crate::image::import::{self, Import};
use crate::image::outcome::Loaded;
use crate::registry::fetch::fetch;

/// Bytes between two reports of progress.
const REPORT_EVERY: u64 = 1 << 20;

/// How far an archive is that comes from somewhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arriving {
    /// It is there, and comes now.
    From(String),
    /// So many bytes have come.
    Bytes {
        /// Bytes so far.
        current: u64,
        /// Bytes in all, if that was told.
        total: Option<u64>,
    },
}

impl Engine {
    /// Makes an image of an archive of a root file system.
    ///
    /// # Errors
    /// As [`import::import`].
    pub fn import_image(&self, body: impl Read + Send, import: Import) -> Result<Loaded> {
        let store = self.image_store()?;
        let loaded = import::import(&store, body, import)?;
        let meta = store.meta(&loaded.id).unwrap_or_default();
        for name in &loaded.names {
            self.image_event("tag", &loaded.id, &name.familiar(), &meta);
        }
        self.image_event("import", &loaded.id, &loaded.id, &meta);
        Ok(loaded)
    }

    /// The same of an archive at an address, of which its source tells. `gone`: a pipe that is closed when nobody waits
    /// for it any more; then it is broken off.
    ///
    /// # Errors
    /// The same; what is there cannot be had.
    pub fn import_from(
        &self,
        mut import: Import,
        gone: Option<OwnedFd>,
        tell: &mut (dyn FnMut(Arriving) + Send),
    ) -> Result<Loaded> {
        let fetched = fetch(&import.source, gone)?;
        // Without who may have it: the history of an image is for everybody.
        import.source.clone_from(&fetched.shown);
        tell(Arriving::From(fetched.address));
        self.import_image(Told { body: fetched.body, current: 0, told: 0, total: fetched.size, tell }, import)
    }
}

/// A body whose coming is told.
struct Told<'a, R> {
    body: R,
    current: u64,
    told: u64,
    total: Option<u64>,
    tell: &'a mut (dyn FnMut(Arriving) + Send),
}

impl<R: Read> Read for Told<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.body.read(buffer)?;
        self.current += count as u64;
        if self.current - self.told >= REPORT_EVERY || (count == 0 && self.current > self.told) {
            self.told = self.current;
            (self.tell)(Arriving::Bytes { current: self.current, total: self.total });
        }
        Ok(count)
    }
}
