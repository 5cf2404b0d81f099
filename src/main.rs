//! Picks the role from the command line. No thread and no runtime exists before the user's namespaces are entered.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use pierless::cli;
use pierless::cli::args::{CommandLine, Serve, Verb};
use pierless::engine::Engine;
use pierless::server;
use pierless::state::paths::Home;

fn main() -> ExitCode {
    let line = CommandLine::parse();
    let home = Home::from_env(nix::unistd::getuid().as_raw());
    match line.verb {
        Verb::Serve(args) => serve(args, home),
        verb => cli::run(verb, &home),
    }
}

fn serve(args: Serve, home: Home) -> ExitCode {
    if let Err(err) = server::log::init(&args.log_level) {
        eprintln!("pierless: {err}");
        return ExitCode::FAILURE;
    }
    let options = server::Options {
        socket: args.socket.unwrap_or_else(|| home.socket()),
        idle_timeout: (args.idle_timeout > 0.0).then(|| Duration::from_secs_f64(args.idle_timeout)),
    };
    match server::run(Engine::new(home), &options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            tracing::error!("{err}");
            ExitCode::FAILURE
        }
    }
}
