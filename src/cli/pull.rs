//! `pierless pull`, with a line for each layer that people can watch.

use std::io::{self, IsTerminal, Write};

use super::args::Pull;
use super::{Error, credentials};
use crate::engine::images::{PullRequest, parse_platform};
use crate::engine::{self, Engine};
use crate::image;
use crate::image::pull::{LayerStep, Step};
use crate::model::reference::Reference;
use crate::model::size::human_size;

/// Columns of a bar.
const BAR: usize = 30;

/// `pierless pull`.
pub fn pull(engine: &Engine, options: &Pull) -> Result<(), Error> {
    let failed = |err: image::Error| Error::Engine(engine::Error::from(err));
    let name = Reference::parse(&options.image).map_err(|err| failed(err.into()))?;
    let credentials = credentials::of(name.domain());
    let name = if options.all_tags { name } else { name.with_default_tag() };
    let platform = options.platform.as_deref().map(parse_platform).transpose().map_err(failed)?;
    let request = PullRequest { name: name.to_string(), tag: String::new(), platform, credentials };
    let mut screen = Screen { quiet: options.quiet, terminal: io::stderr().is_terminal(), layers: Vec::new() };
    let pulled = engine.pull_image(request, None, &mut |step| screen.show(step)).map_err(failed)?;
    let text: String = pulled.into_iter().map(|one| one.id + "\n").collect();
    io::stdout().write_all(text.as_bytes()).map_err(Error::doing("print"))
}

/// What stands on the terminal: a line for each layer, drawn over again and again. Elsewhere, a line for each change.
struct Screen {
    quiet: bool,
    terminal: bool,
    layers: Vec<String>,
}

impl Screen {
    fn show(&mut self, step: Step) {
        if self.quiet {
            return;
        }
        match step {
            Step::Begin(name) => {
                self.layers.clear();
                eprintln!("Pulling {}", name.familiar());
            }
            Step::Layer { id, what } => self.layer(id, what),
            Step::Note(text) => {
                eprintln!("{text}");
                // What stood above it cannot be drawn over any more.
                self.layers.clear();
            }
            Step::Done { name, digest, new } => {
                let what = if new { "is here now" } else { "was here already" };
                eprintln!("{} {what}: {digest}", name.familiar());
            }
        }
    }

    fn layer(&mut self, id: String, what: LayerStep) {
        let moving = matches!(what, LayerStep::Downloading { .. } | LayerStep::Extracting(_));
        if !self.terminal {
            if !moving {
                eprintln!("{id}: {}", words(what));
            }
            return;
        }
        let at = match self.layers.iter().position(|known| *known == id) {
            Some(at) => at,
            None => {
                eprintln!();
                self.layers.push(id.clone());
                self.layers.len() - 1
            }
        };
        // Up to its line, over it, and back.
        let up = self.layers.len() - at;
        let mut out = io::stderr().lock();
        let _ = write!(out, "\x1b[{up}A\r\x1b[2K{id}  {}\x1b[{up}B\r", words(what));
        let _ = out.flush();
    }
}

fn words(what: LayerStep) -> String {
    match what {
        LayerStep::Planned | LayerStep::Waiting => "waiting".to_owned(),
        LayerStep::Downloading { current, total } => {
            let done = (current.saturating_mul(BAR as u64) / total.max(1)).min(BAR as u64) as usize;
            format!("{}{}  {} of {}", "█".repeat(done), "░".repeat(BAR - done), human_size(current), human_size(total))
        }
        LayerStep::Retrying(seconds) => format!("the connection failed; again in {seconds} s"),
        LayerStep::Verifying => "checking".to_owned(),
        LayerStep::Downloaded => "downloaded".to_owned(),
        LayerStep::Extracting(_) => "unpacking".to_owned(),
        LayerStep::Complete => "done".to_owned(),
        LayerStep::Exists => "here already".to_owned(),
    }
}
