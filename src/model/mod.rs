//! Pure types: what the other rooms talk about. Nothing here reads a file or makes a system call beyond the clock
//! and random bytes.

pub mod config;
pub mod error;
pub mod filters;
pub mod host_config;
pub mod ids;
pub mod links;
pub mod log;
pub mod mount;
pub mod mounting;
pub mod names;
pub mod networking;
pub mod ports;
pub mod reference;
pub mod restart;
pub mod scan;
pub mod settings;
pub mod signal;
pub mod size;
pub mod subnet;
pub mod time;

pub use error::ErrorKind;

/// Every text of up to `len` characters of an alphabet: what a parser must get through without a panic.
#[cfg(test)]
pub(crate) fn every_text(alphabet: &str, len: usize, with: &mut dyn FnMut(&str)) {
    let mut texts = vec![String::new()];
    for _ in 0..len {
        texts.iter().for_each(|text| with(text));
        let longer = texts.iter().flat_map(|text| alphabet.chars().map(move |c| format!("{text}{c}")));
        texts = longer.collect();
    }
    texts.iter().for_each(|text| with(text));
}
