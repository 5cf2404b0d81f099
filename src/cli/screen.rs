//! What stands on a terminal while layers move: a line for each, drawn over again and again. Elsewhere, a line for each
//! change.

use std::io::{self, IsTerminal, Write};

use crate::model::size::human_size;

/// Columns of a bar.
const BAR: usize = 30;

/// What is shown on standard error.
pub struct Screen {
    quiet: bool,
    terminal: bool,
    layers: Vec<String>,
}

/// What a layer's line says.
pub enum Shown {
    /// Words.
    Words(String),
    /// Bytes so far and in all.
    Bar(u64, u64),
}

impl Screen {
    /// Standard error. `quiet`: nothing is to be shown.
    pub fn new(quiet: bool) -> Self {
        Self { quiet, terminal: io::stderr().is_terminal(), layers: Vec::new() }
    }

    /// A line of text. What stands above it cannot be drawn over any more.
    pub fn say(&mut self, text: &str) {
        if !self.quiet {
            eprintln!("{text}");
            self.layers.clear();
        }
    }

    /// What happens to a layer.
    pub fn layer(&mut self, id: &str, what: &Shown) {
        if self.quiet {
            return;
        }
        if !self.terminal {
            if let Shown::Words(words) = what {
                eprintln!("{id}: {words}");
            }
            return;
        }
        let at = match self.layers.iter().position(|known| known == id) {
            Some(at) => at,
            None => {
                eprintln!();
                self.layers.push(id.to_owned());
                self.layers.len() - 1
            }
        };
        let text = match what {
            Shown::Words(words) => words.clone(),
            Shown::Bar(current, total) => bar(*current, *total),
        };
        // Up to its line, over it, and back.
        let up = self.layers.len() - at;
        let mut out = io::stderr().lock();
        let _ = write!(out, "\x1b[{up}A\r\x1b[2K{id}  {text}\x1b[{up}B\r");
        let _ = out.flush();
    }
}

fn bar(current: u64, total: u64) -> String {
    let done = (current.saturating_mul(BAR as u64) / total.max(1)).min(BAR as u64) as usize;
    format!("{}{}  {} of {}", "█".repeat(done), "░".repeat(BAR - done), human_size(current), human_size(total))
}
