//! `pierless check --store`: whether the images are what they should be, and what was mended.

use super::Error;
use crate::engine::{self, Engine};
use crate::image::check::{Finding, Outcome};
use crate::model::size::human_size;

/// The verb. Fails if something is lost.
pub fn check(engine: &Engine) -> Result<(), Error> {
    let mut lost = false;
    let checked = engine.check_images(&mut |Finding { what, found, outcome }| match outcome {
        Outcome::Mended(how) => println!("mended   {what}: {found}; {how}"),
        Outcome::Lost(hint) => {
            lost = true;
            println!("LOST     {what}: {found}; {hint}");
        }
    });
    let checked = checked.map_err(engine::Error::from)?;
    let size = human_size(checked.bytes);
    println!(
        "verified {} images, {} layers, {} names, {} blobs of {size}",
        checked.images, checked.layers, checked.names, checked.blobs
    );
    if lost { Err(Error::Said) } else { Ok(()) }
}
