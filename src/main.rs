//! Picks the role from the command line. No thread and no runtime exists before the user's namespaces are entered.

use std::process::ExitCode;

use clap::Parser;
use pierless::cli;
use pierless::cli::args::{CommandLine, Verb};
use pierless::holder;
use pierless::state::paths::Home;

fn main() -> ExitCode {
    // The internal roles are small: they never see the command line's parser.
    match std::env::args_os().nth(1).as_deref().and_then(|word| word.to_str()) {
        Some("holder") => return holder::main(),
        Some("monitor") => return ExitCode::FAILURE,
        _ => {}
    }
    let line = CommandLine::parse();
    let home = Home::from_env(nix::unistd::getuid().as_raw());
    let _entered = match line.verb.enters_namespaces().then(|| holder::enter(&home)).transpose() {
        Ok(entered) => entered,
        Err(error) => {
            eprintln!("pierless: {error}");
            return ExitCode::FAILURE;
        }
    };
    match line.verb {
        Verb::Serve(_) => ExitCode::FAILURE,
        verb => cli::run(verb, &home),
    }
}
