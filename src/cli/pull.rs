//! `pierless pull` and `pierless push`, with a line for each layer that people can watch.

use std::io::{self, Write};

use super::args::Transfer;
use super::screen::{Screen, Shown};
use super::{Error, credentials};
use crate::engine::images::{TransferRequest, parse_platform};
use crate::engine::{self, Engine};
use crate::image;
use crate::image::pull::{LayerStep, Pulled, Step};
use crate::image::push;
use crate::model::reference::Reference;

/// `pierless pull`.
pub fn pull(engine: &Engine, options: &Transfer) -> Result<(), Error> {
    let platform = options.platform.as_deref();
    let pulled = fetch(engine, &options.image, options.all_tags, platform, options.quiet)?;
    let text: String = pulled.into_iter().map(|one| one.id + "\n").collect();
    io::stdout().write_all(text.as_bytes()).map_err(Error::doing("print"))
}

/// Pulls an image by the user's own credentials.
pub fn fetch(
    engine: &Engine,
    image: &str,
    all_tags: bool,
    platform: Option<&str>,
    quiet: bool,
) -> Result<Vec<Pulled>, Error> {
    let request = request(image, all_tags, platform)?;
    let mut screen = Screen::new(quiet);
    engine.pull_image(request, None, &mut |step| show_pull(&mut screen, step)).map_err(failed)
}

/// `pierless push`.
pub fn push(engine: &Engine, options: &Transfer) -> Result<(), Error> {
    let request = request(&options.image, options.all_tags, options.platform.as_deref())?;
    let mut screen = Screen::new(options.quiet);
    let mut digests = String::new();
    let mut show = |step: push::Step| {
        if let push::Step::Done { target, .. } = &step {
            digests.push_str(&format!("{}\n", target.digest));
        }
        show_push(&mut screen, step);
    };
    engine.push_image(request, None, &mut show).map_err(failed)?;
    io::stdout().write_all(digests.as_bytes()).map_err(Error::doing("print"))
}

/// By the user's own credentials.
fn request(image: &str, all_tags: bool, platform: Option<&str>) -> Result<TransferRequest, Error> {
    let name = Reference::parse(image).map_err(|err| failed(err.into()))?;
    let credentials = credentials::of(name.domain());
    let name = if all_tags { name } else { name.with_default_tag() };
    let platform = platform.map(parse_platform).transpose().map_err(failed)?;
    Ok(TransferRequest { name: name.to_string(), tag: String::new(), platform, credentials })
}

fn failed(err: image::Error) -> Error {
    Error::Engine(engine::Error::from(err))
}

fn show_pull(screen: &mut Screen, step: Step) {
    let words = |text: &str| Shown::Words(text.to_owned());
    match step {
        Step::Begin(name) => screen.say(&format!("Pulling {}", name.familiar())),
        Step::Note(text) => screen.say(&text),
        Step::Done { name, digest, new } => {
            let what = if new { "is here now" } else { "was here already" };
            screen.say(&format!("{} {what}: {digest}", name.familiar()));
        }
        Step::Layer { id, what } => {
            let shown = match what {
                LayerStep::Planned | LayerStep::Waiting => words("waiting"),
                LayerStep::Downloading { current, total } => Shown::Bar(current, total),
                LayerStep::Retrying(seconds) => words(&again(seconds)),
                LayerStep::Verifying => words("checking"),
                LayerStep::Downloaded => words("downloaded"),
                LayerStep::Extracting(_) => words("unpacking"),
                LayerStep::Complete => words("done"),
                LayerStep::Exists => words("here already"),
            };
            screen.layer(&id, &shown);
        }
    }
}

fn show_push(screen: &mut Screen, step: push::Step) {
    let words = |text: &str| Shown::Words(text.to_owned());
    match step {
        push::Step::Begin(name) => screen.say(&format!("Pushing to {}", name.familiar_name())),
        push::Step::Instead { index, .. } => {
            screen.say(&format!("not all of {} is here: only this image of it was pushed", index.digest));
        }
        push::Step::Done { name, target } => {
            screen.say(&format!("{} is there now: {}", name.familiar(), target.digest))
        }
        push::Step::Layer { id, what } => {
            let shown = match what {
                push::LayerStep::Planned | push::LayerStep::Waiting => words("waiting"),
                push::LayerStep::Pushing { current, total } => Shown::Bar(current, total),
                push::LayerStep::Retrying(seconds) => words(&again(seconds)),
                push::LayerStep::Pushed => words("done"),
                push::LayerStep::Mounted(from) => Shown::Words(format!("taken over from {from}")),
                push::LayerStep::Exists => words("there already"),
            };
            screen.layer(&id, &shown);
        }
    }
}

fn again(seconds: u64) -> String {
    format!("the connection failed; again in {seconds} s")
}
