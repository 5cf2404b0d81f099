//! The layers of an image, a few at a time: what is missing is downloaded, and unpacked while it comes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::image::compress::{Format, Hashing};
use crate::image::layers::{Extracted, extract};
use crate::image::meta::LayerRef;
use crate::image::side_by_side::each;
use crate::image::staging::Staging;
use crate::image::unpack::Privilege;
use crate::image::{Error, Result, Store};
use crate::model::ids::short;
use crate::model::reference::sha256_hex;
use crate::registry::{self, Repository};

use super::partial::{self, Bad, Partial, Source, unverified};
use super::step::{LayerStep, Step};

/// Layers that come at the same time.
const AT_ONCE: usize = 3;
/// Tries, each with another file.
const TRIES: usize = 3;

/// A layer to bring.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// What is to come of it.
    pub layer: LayerRef,
    /// Chain id of the layer below, or empty.
    pub below: String,
    /// Its directory is there already, only the blob is not.
    pub unpacked: bool,
}

/// A layer that is here.
pub struct Brought {
    /// Its chain id.
    pub chain: String,
    /// Where its blob is now.
    pub blob: PathBuf,
    /// The blob's hash in hexadecimal.
    pub hex: String,
    /// Unpacked, if it was not before.
    pub extracted: Option<Extracted>,
}

/// What is here of the layers, and what was missing: that is brought, a few at a time.
pub fn bring(
    store: &Store,
    staging: &Staging,
    from: &Repository,
    layers: &[Wanted],
    tell: &mut dyn FnMut(Step),
) -> Result<(Vec<Brought>, Vec<Brought>)> {
    let name = |wanted: &Wanted| short(sha256_hex(&wanted.layer.blob.digest).unwrap_or_default()).to_owned();
    let (mut queue, mut kept) = (Vec::new(), Vec::new());
    for wanted in layers {
        let layer = &wanted.layer;
        let known = store.kept_layer(&layer.chain)?.is_some_and(|known| known.diff_id == layer.diff_id);
        let hex = sha256_hex(&layer.blob.digest).unwrap_or_default().to_owned();
        // A further name of the blob: whoever removes another image meanwhile does not take it away.
        let blob = staging.join(format!("kept-{}", layer.chain));
        let whole = fs::metadata(store.blob(&hex)).is_ok_and(|meta| meta.len() == layer.blob.size);
        if known && whole && fs::hard_link(store.blob(&hex), &blob).is_ok() {
            tell(Step::Layer { id: name(wanted), what: LayerStep::Exists });
            kept.push(Brought { chain: layer.chain.clone(), blob, hex, extracted: None });
        } else {
            tell(Step::Layer { id: name(wanted), what: LayerStep::Planned });
            queue.push(Wanted { unpacked: known, ..wanted.clone() });
        }
    }
    for wanted in queue.iter().skip(AT_ONCE) {
        tell(Step::Layer { id: name(wanted), what: LayerStep::Waiting });
    }
    let work = |wanted: Wanted, stop: &AtomicBool, steps: &dyn Fn(Step)| {
        let id = name(&wanted);
        let tell = |what| steps(Step::Layer { id: id.clone(), what });
        bring_one(store, staging, &wanted, Source { from, stop, tell: &tell })
    };
    let brought = each(AT_ONCE, queue, work, tell)?;
    Ok((kept, brought))
}

/// Tries again where what was there before was damaged.
fn bring_one(store: &Store, staging: &Staging, wanted: &Wanted, source: Source<'_>) -> Result<Brought> {
    let mut spoilt = false;
    for at in 1..=TRIES {
        if source.stop.load(Ordering::Relaxed) {
            return Err(registry::Error::Cancelled.into());
        }
        match try_once(store, staging, wanted, source, at) {
            Ok(brought) => return Ok(brought),
            Err(Bad::Failed(err)) => return Err(err),
            Err(Bad::Begin) => {}
            // Once may be the way's fault.
            Err(Bad::Spoilt) if spoilt => break,
            Err(Bad::Spoilt) => spoilt = true,
        }
    }
    Err(unverified(&wanted.layer.blob.digest))
}

fn try_once(store: &Store, staging: &Staging, wanted: &Wanted, source: Source<'_>, at: usize) -> Result<Brought, Bad> {
    let layer = &wanted.layer;
    let hex = sha256_hex(&layer.blob.digest).unwrap_or_default().to_owned();
    let place = staging.join(format!("blob-{}-{at}", layer.chain));
    let dir = staging.join(format!("layer-{}-{at}", layer.chain));
    let partial = Partial::take(store, &layer.blob, source)?;
    let extracted = if is_published(store, &hex, &layer.blob.digest, &place) {
        partial::forget(store, &layer.blob.digest);
        drop(partial);
        (source.tell)(LayerStep::Downloaded);
        let file = fs::File::open(&place).map_err(Error::at(&place))?;
        (!wanted.unpacked).then(|| extract(file, &dir, &Privilege::of_this_process())).transpose()?
    } else {
        let spool = partial.spool()?;
        let reader = spool.reader();
        thread::scope(|scope| {
            let unpack = || extract(reader, &dir, &Privilege::of_this_process());
            let worker = (!wanted.unpacked).then(|| scope.spawn(unpack));
            let done = partial.complete(spool, &place);
            // Others who wait need not wait for the unpacking.
            drop(partial);
            if done.is_ok() && worker.as_ref().is_some_and(|worker| !worker.is_finished()) {
                (source.tell)(LayerStep::Extracting(layer.blob.size));
            }
            let extracted = worker.map(|worker| worker.join().unwrap_or_else(panicked));
            done.and_then(|()| Ok(extracted.transpose()?))
        })?
    };
    let extracted = extracted.map(|extracted| sealed(extracted, wanted)).transpose()?;
    (source.tell)(LayerStep::Complete);
    Ok(Brought { chain: layer.chain.clone(), blob: place, hex, extracted })
}

/// Whether another one has published the blob meanwhile: then it has a further name `place`.
fn is_published(store: &Store, hex: &str, digest: &str, place: &Path) -> bool {
    if fs::hard_link(store.blob(hex), place).is_err() {
        return false;
    }
    let sound = fs::File::open(place).and_then(|file| Hashing::new(file).finish()).is_ok_and(|have| have == digest);
    if !sound {
        let _ = fs::remove_file(place);
    }
    sound
}

fn panicked<T>(_: Box<dyn std::any::Any + Send>) -> Result<T> {
    Err(Error::Invalid("a layer's thread panicked".to_owned()))
}

/// Checks an unpacked layer against the configuration, and makes it ready.
fn sealed(extracted: Extracted, wanted: &Wanted) -> Result<Extracted> {
    let layer = &wanted.layer;
    let have = match extracted.format {
        Format::Plain => Some(&layer.blob.digest),
        _ => extracted.diff_id.as_ref(),
    };
    if have != Some(&layer.diff_id) {
        return Err(Error::Invalid(format!(
            "layer {} unpacked has the digest {}, its image's configuration says {}",
            layer.blob.digest,
            have.map_or("", String::as_str),
            layer.diff_id
        )));
    }
    extracted.seal(layer, &wanted.below)?;
    Ok(extracted)
}
