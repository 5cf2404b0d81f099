//! Picks the role from the command line. No thread and no runtime exists before the user's namespaces are entered.

use std::process::ExitCode;

use clap::Parser;
use pierless::cli;
use pierless::cli::args::{CommandLine, Verb};
use pierless::state::paths::Home;

fn main() -> ExitCode {
    let line = CommandLine::parse();
    let home = Home::from_env(nix::unistd::getuid().as_raw());
    match line.verb {
        Verb::Serve(_) => ExitCode::FAILURE,
        verb => cli::run(verb, &home),
    }
}
