//! The blobs of an image, a few at a time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::image::Result;
use crate::image::side_by_side::each;
use crate::model::ids::short;
use crate::model::reference::sha256_hex;
use crate::registry::client::delay;
use crate::registry::upload::Upload;
use crate::registry::{self, Repository};

use super::plan::Blob;
use super::step::{LayerStep, Step};

/// Blobs that are sent at the same time.
const AT_ONCE: usize = 5;
/// Tries without a byte of progress.
const TRIES: u32 = 5;

/// Makes the repository have all of these.
pub fn bring(to: &Repository, blobs: &[Blob], tell: &mut dyn FnMut(Step)) -> Result<()> {
    let id = |blob: &Blob| short(sha256_hex(&blob.out.digest).unwrap_or_default()).to_owned();
    let layers = || blobs.iter().filter(|blob| blob.is_layer);
    layers().for_each(|blob| tell(Step::Layer { id: id(blob), what: LayerStep::Planned }));
    layers().skip(AT_ONCE).for_each(|blob| tell(Step::Layer { id: id(blob), what: LayerStep::Waiting }));
    let work = |blob: &Blob, stop: &AtomicBool, steps: &dyn Fn(Step)| {
        let tell = |what| {
            if blob.is_layer {
                steps(Step::Layer { id: id(blob), what });
            }
        };
        bring_one(to, blob, stop, &tell)
    };
    each(AT_ONCE, blobs.iter().collect(), work, tell).map(drop)
}

fn bring_one(to: &Repository, blob: &Blob, stop: &AtomicBool, tell: &dyn Fn(LayerStep)) -> Result<()> {
    let (mut upload, mut tries, mut most) = (Upload::default(), 0, 0);
    loop {
        let had = most;
        let mut far = |current| {
            most = most.max(current);
            tell(LayerStep::Pushing { current, total: blob.out.size });
            !stop.load(Ordering::Relaxed)
        };
        let first = tries == 0;
        match try_once(to, blob, &mut upload, first, &mut far) {
            Ok(done) => {
                tell(done);
                return Ok(());
            }
            Err(_) if stop.load(Ordering::Relaxed) => return Err(registry::Error::Cancelled.into()),
            Err(err) if err.is_passing() => {
                tries = if most > had { 1 } else { tries + 1 };
                if tries >= TRIES {
                    return Err(err.into());
                }
                tracing::debug!("{}: {err}", blob.out.digest);
                for left in (1..=delay(&err, tries).as_secs().max(1)).rev() {
                    tell(LayerStep::Retrying(left));
                    to.http().pause(Duration::from_secs(1))?;
                }
            }
            Err(err) => return Err(err.into()),
        }
    }
}

fn try_once(
    to: &Repository,
    blob: &Blob,
    upload: &mut Upload,
    first: bool,
    far: &mut dyn FnMut(u64) -> bool,
) -> registry::Result<LayerStep> {
    // What was sent may be there even if its answer was lost.
    if to.has_blob(&blob.out.digest)? {
        return Ok(LayerStep::Exists);
    }
    if first && let Some(source) = &blob.source {
        match to.mount(&blob.out.digest, source, upload) {
            Ok(true) => return Ok(LayerStep::Mounted(source.clone())),
            Ok(false) => {}
            // It does not know of such things, or does not give it away.
            Err(registry::Error::Refused { status: 400..=499, .. }) => {}
            Err(err) => return Err(err),
        }
    }
    far(0);
    to.send(&blob.out, upload, far)?;
    Ok(LayerStep::Pushed)
}
