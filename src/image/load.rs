//! Loads an archive of images from a stream.
//!
//! The archive's own table of contents may come last, so every file goes to disk as it arrives, and whatever looks
//! like a layer is unpacked by another thread while it is still arriving. Only then is it known which layer belongs
//! to which image; everything is checked against the images' configurations before anything is moved to its place.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::model::reference::{Reference, sha256_hex};

use super::archive::Files;
use super::chain::chain_ids;
use super::compress::{self, Format, HEAD};
use super::config::ImageConfig;
use super::entries::{Entries, Entry, Kind};
use super::layers::{Extracted, extract, extract_file, nameable};
use super::manifest::Document;
use super::meta::{Descriptor, ImageMeta, LayerRef, Manifest};
use super::outcome::{Loaded, Progress};
use super::plans::{Plan, plans};
use super::platform::{Platform, none_of};
use super::publish::{Ready, publish};
use super::spool::{Spool, SpoolReader, Spooled, Twin};
use super::staging::Staging;
use super::unpack::{Privilege, clean};
use super::{Error, Result, Store};

const BUFFER: usize = 1 << 20;
/// Bytes of a layer between two reports of progress.
const REPORT_EVERY: u64 = 8 << 20;
const MAX_THREADS: usize = 8;

struct Job {
    path: Vec<u8>,
    reader: SpoolReader,
    dir: String,
}

type Outcomes = BTreeMap<Vec<u8>, Result<Extracted>>;

/// Loads all images of an archive, or none; of an index those for these platforms, without any this machine's.
///
/// # Errors
/// [`Error::Archive`], [`Error::Unpack`] and [`Error::Read`] if the archive is at fault, [`Error::NoPlatform`], else
/// those of the file system. Nothing is left behind.
pub fn load(
    store: &Store,
    body: impl Read + Send,
    platforms: &[Platform],
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Loaded>> {
    let staging = Staging::new(store)?;
    let (files, mut outcomes) = receive(store, &staging, body, progress)?;
    let mut ready = Vec::new();
    for plan in plans(&files, platforms)? {
        for other in &plan.others {
            let name = plan.names.first().map(|name| format!(" of {}", name.familiar())).unwrap_or_default();
            progress(Progress::Note(format!("the image{name} for {other} is left out: it is loaded by its platform")));
        }
        let image = prepare(store, &staging, &files, plan, &mut outcomes, &ready)?;
        is_wanted(&image, platforms)?;
        ready.push(image);
    }
    for (chain, layer) in ready.iter().flat_map(|image| &image.new_layers) {
        for note in &layer.unpacked.notes {
            tracing::warn!(%chain, "{note}");
            progress(Progress::Note(note.clone()));
        }
    }
    publish(store, &staging, ready, progress)
}

/// Puts every file of the archive on disk and unpacks what looks like a layer.
fn receive(
    store: &Store,
    staging: &Staging,
    body: impl Read + Send,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Files, Outcomes)> {
    let known = Known::find(store)?;
    let privilege = Privilege::of_this_process();
    let (jobs, queue) = mpsc::channel::<Job>();
    let (written, bytes) = mpsc::channel();
    let queue = Mutex::new(queue);
    let threads = thread::available_parallelism().map_or(2, usize::from).clamp(2, MAX_THREADS);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| work(&queue, staging, &privilege))).collect();
        scope.spawn(move || staging.disk().follow(&bytes));
        let spooled = spool_all(store, staging, body, &known, (jobs, written), progress);
        // The workers end once the queue is at its end; a broken spool ends its reader.
        let mut outcomes = Outcomes::new();
        for worker in workers {
            outcomes.extend(worker.join().unwrap_or_default());
        }
        Ok((spooled?, outcomes))
    })
}

fn work(queue: &Mutex<mpsc::Receiver<Job>>, staging: &Staging, privilege: &Privilege) -> Outcomes {
    let mut outcomes = Outcomes::new();
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return outcomes };
        let outcome = extract(job.reader, &staging.join(&job.dir), privilege);
        outcomes.insert(job.path, outcome);
    }
}

fn spool_all(
    store: &Store,
    staging: &Staging,
    body: impl Read + Send,
    known: &Known,
    (jobs, written): (mpsc::Sender<Job>, mpsc::Sender<u64>),
    progress: &mut dyn FnMut(Progress),
) -> Result<Files> {
    let (_, body) = compress::plain(body).map_err(Error::Read)?;
    let mut entries = Entries::new(body);
    let mut files = Files::default();
    let mut buffer = vec![0; BUFFER];
    let mut serial = 0u64;
    while let Some(entry) = entries.next_entry().map_err(Error::Read)? {
        let Some(path) = clean(&entry.path) else {
            let shown = String::from_utf8_lossy(&entry.path).into_owned();
            return Err(Error::Archive(format!("invalid archive: {shown:?} is outside of it")));
        };
        match entry.kind {
            Kind::File => {
                serial += 1;
                let place = staging.join(format!("blob-{serial}"));
                let begin = |spool: &Spool| {
                    let job = Job { path: path.clone(), reader: spool.reader(), dir: format!("early-{serial}") };
                    // Without workers the layer is unpacked when it is needed.
                    let _ = jobs.send(job);
                };
                let mut arriving =
                    Arriving { entry: &entry, data: &mut entries, buffer: &mut buffer, written: &written, progress };
                let file = arriving.spool(store, &place, known, &begin)?;
                files.add(path, file);
            }
            Kind::Symlink => files.add_link(path, &entry.link, true),
            Kind::HardLink => files.add_link(path, &entry.link, false),
            _ => {}
        }
    }
    Ok(files)
}

/// A file of the archive on its way to disk.
struct Arriving<'a, R> {
    entry: &'a Entry,
    data: &'a mut R,
    buffer: &'a mut [u8],
    /// To be told of bytes that go to disk.
    written: &'a mpsc::Sender<u64>,
    progress: &'a mut dyn FnMut(Progress),
}

impl<R: Read> Arriving<'_, R> {
    /// Puts it at `place`. A layer that the store seems to have already is only compared with that one; of another,
    /// `begin` is told.
    fn spool(&mut self, store: &Store, place: &Path, known: &Known, begin: &dyn Fn(&Spool)) -> Result<Spooled> {
        let head = compress::head(self.data).map_err(Error::Read)?;
        if !compress::is_layer(&head) {
            let mut spool = Spool::create(place)?;
            spool.write(&head)?;
            self.rest(&head, false, |bytes| spool.write(bytes))?;
            return Ok(spool.finish());
        }
        let twin = known.of_size(self.entry.size).find_map(|hex| {
            let mut twin = Twin::open(&store.blob(hex), hex)?;
            twin.goes_on_with(&head).then_some((twin, hex))
        });
        let Some((twin, hex)) = twin else {
            let mut spool = Spool::create(place)?;
            begin(&spool);
            spool.write(&head)?;
            let written = self.written;
            self.rest(&head, true, |bytes| {
                let _ = written.send(bytes.len() as u64);
                spool.write(bytes)
            })?;
            return Ok(spool.finish());
        };
        let (mut twin, mut spool) = (Some(twin), None::<Spool>);
        self.rest(&head, true, |bytes| {
            if twin.as_mut().is_some_and(|twin| twin.goes_on_with(bytes)) {
                return Ok(());
            }
            if let Some(twin) = twin.take() {
                spool = Some(twin.into_spool(place)?);
            }
            spool.as_mut().map_or(Ok(()), |spool| spool.write(bytes))
        })?;
        match (twin, spool) {
            (Some(twin), _) => twin.finish(&store.blob(hex), place),
            (None, Some(spool)) => Ok(spool.finish()),
            (None, None) => Err(Error::Archive("invalid archive: a layer vanished".to_owned())),
        }
    }

    fn rest(&mut self, head: &[u8], report: bool, mut write: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let (mut done, mut reported) = (head.len() as u64, 0u64);
        let shown = shown_name(&self.entry.path);
        let total = self.entry.size;
        while head.len() == HEAD {
            let count = self.data.read(self.buffer).map_err(Error::Read)?;
            if count == 0 {
                break;
            }
            write(&self.buffer[..count])?;
            done += count as u64;
            if report && done - reported >= REPORT_EVERY {
                reported = done;
                (self.progress)(Progress::Layer { name: shown.clone(), current: done, total });
            }
        }
        if report {
            (self.progress)(Progress::Layer { name: shown, current: done, total });
        }
        Ok(())
    }
}

/// `blobs/sha256/0123456789abcdef…` and `0123456789abcdef…/layer.tar` both as `0123456789ab`.
fn shown_name(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    let longest = text.split('/').max_by_key(|part| part.len()).unwrap_or_default();
    longest.chars().take(12).collect()
}

/// The archives whose layers are unpacked here.
struct Known(Vec<(u64, String)>);

impl Known {
    fn find(store: &Store) -> Result<Self> {
        let chain = |path: PathBuf| path.file_name()?.to_str().map(str::to_owned);
        let chains = Store::list(&store.layers_dir())?.into_iter().filter_map(chain);
        let blobs = chains.filter_map(|chain| store.layer(&chain)).map(|layer| layer.blob);
        Ok(Self(blobs.filter_map(|blob| Some((blob.size, sha256_hex(&blob.digest)?.to_owned()))).collect()))
    }

    /// Hashes, in hexadecimal, of those of this size in bytes.
    fn of_size(&self, size: u64) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(have, _)| *have == size).map(|(_, hex)| hex.as_str())
    }
}

/// Checks an image of the archive against its configuration and gets its layers unpacked.
fn prepare(
    store: &Store,
    staging: &Staging,
    files: &Files,
    plan: Plan,
    outcomes: &mut Outcomes,
    earlier: &[Ready],
) -> Result<Ready> {
    let bytes = files.read(&plan.config)?;
    let config = ImageConfig::parse(&bytes)?;
    let diff_ids = &config.rootfs.diff_ids;
    if diff_ids.len() != plan.layers.len() {
        return Err(Error::Archive(format!(
            "invalid archive: {} layers, but the image's configuration has {}",
            plan.layers.len(),
            diff_ids.len()
        )));
    }
    let config_file = files.need(&plan.config)?;
    let mut ready = Ready { names: plan.names, beside: plan.beside, ..Ready::default() };
    let mut layers = Vec::new();
    let mut new_layers = BTreeMap::new();
    let mut below = String::new();
    for ((chain, diff_id), path) in chain_ids(diff_ids).into_iter().zip(diff_ids).zip(&plan.layers) {
        let file = files.need(path)?;
        let kept = match plan.documents.is_empty() {
            true => nameable(file, &staging.join(format!("plain-{}-{chain}", earlier.len())))?,
            false => file.clone(),
        };
        if kept.hex != file.hex {
            check_digest(&format!("sha256:{}", kept.hex), diff_id)?;
        }
        let media_type = Format::of_file(&kept.path)?.layer_media_type().to_owned();
        let blob = Descriptor { media_type, digest: format!("sha256:{}", kept.hex), size: kept.size };
        ready.blobs.push((kept.path, kept.hex));
        let mut layer = LayerRef { chain, diff_id: diff_id.clone(), blob, size: 0 };
        let chain = &layer.chain;
        let known = store.kept_layer(chain)?.filter(|known| known.diff_id == *diff_id).map(|known| known.size);
        let brought = || earlier.iter().find_map(|image| Some(image.new_layers.get(chain)?.unpacked.size));
        layer.size = match known.or_else(brought) {
            Some(size) => size,
            None => {
                let extracted = match outcomes.remove(path) {
                    Some(outcome) => outcome?,
                    None => extract_file(&file.path, &staging.join(format!("late-{chain}")))?,
                };
                check_diff_id(&extracted, file, diff_id)?;
                extracted.seal(&layer, &below)?;
                let size = extracted.unpacked.size;
                new_layers.insert(chain.clone(), extracted);
                size
            }
        };
        below.clone_from(&layer.chain);
        layers.push(layer);
    }
    ready.meta = ImageMeta::new(format!("sha256:{}", config_file.hex), &config, layers);
    ready.blobs.push((config_file.path.clone(), config_file.hex.clone()));
    keep_documents(files, plan.documents, &mut ready)?;
    ready.new_layers = new_layers;
    Ok(ready)
}

/// Whether an image is for one of these platforms: an index has been asked already, a manifest alone does not say.
fn is_wanted(image: &Ready, platforms: &[Platform]) -> Result<()> {
    let meta = &image.meta;
    let have = Platform { os: meta.os.clone(), architecture: meta.architecture.clone(), variant: meta.variant.clone() };
    let by_index = image.target.as_ref() != meta.manifests.first().map(|manifest| &manifest.blob);
    if platforms.is_empty() || by_index || platforms.iter().any(|want| have.fits(want).is_some()) {
        return Ok(());
    }
    let name = image.names.first().map_or_else(|| meta.id.clone(), Reference::familiar);
    Err(none_of(name, platforms))
}

/// Keeps the manifest that an image arrived with and the indexes above it, if all that it names arrived, too: only then
/// is it of use to anybody. Then a registry's name for it is known, as after a pull.
fn keep_documents(files: &Files, documents: Vec<(Vec<u8>, Descriptor)>, ready: &mut Ready) -> Result<()> {
    let Some((path, _)) = documents.last() else { return Ok(()) };
    let document: Document = files.json(path)?;
    let names = document.blobs();
    let here =
        |one: &Descriptor| sha256_hex(&one.digest).is_some_and(|hex| ready.blobs.iter().any(|(_, have)| have == hex));
    if !names.iter().all(here) {
        return Ok(());
    }
    let mut blobs = Vec::new();
    for (path, blob) in documents {
        let file = files.need(&path)?;
        let media_type = files.json::<Document>(&path)?.kind(&blob.media_type);
        ready.blobs.push((file.path.clone(), file.hex.clone()));
        blobs.push(Descriptor { media_type, size: file.size, ..blob });
    }
    if let (Some(target), Some(manifest)) = (blobs.first(), blobs.last()) {
        let by_digest = |name: &Reference| name.with_digest(&target.digest);
        let mut digests =
            ready.names.iter().filter(|name| name.tag().is_some()).map(by_digest).collect::<Result<Vec<_>, _>>()?;
        digests.sort();
        digests.dedup();
        ready.names.extend(digests);
        ready.meta.manifests = vec![Manifest { blob: manifest.clone(), names }];
        ready.target = Some(target.clone());
    }
    Ok(())
}

fn check_diff_id(extracted: &Extracted, file: &Spooled, want: &str) -> Result<()> {
    let plain = || format!("sha256:{}", file.hex);
    check_digest(&extracted.diff_id.clone().unwrap_or_else(plain), want)
}

fn check_digest(have: &str, want: &str) -> Result<()> {
    if have == want {
        return Ok(());
    }
    Err(Error::Archive(format!(
        "invalid archive: a layer has the digest {have}, its image's configuration says {want}"
    )))
}

#[cfg(test)]
mod repair_tests;
#[cfg(test)]
mod tests;
