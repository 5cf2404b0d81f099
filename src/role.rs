//! Picks the role from the command line. No thread and no runtime exists before the user's namespaces are entered.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::api::gate::Gate;
use crate::cli::args::{CommandLine, Serve, Verb};
use crate::engine::Engine;
use crate::state::paths::Home;
use crate::{cli, holder, monitor, network, runtime, server, sys};

/// Does what the command line says.
pub fn main() -> ExitCode {
    // In a container made with `--init` this executable is its first process, under another name.
    let name = std::env::args_os().next().unwrap_or_default();
    if std::path::Path::new(&name).file_name().is_some_and(|name| name == "docker-init") {
        return runtime::init::main(std::env::args().skip(1));
    }
    sys::process::no_size_signal();
    // The internal roles are small: they never see the command line's parser.
    match std::env::args_os().nth(1).as_deref().and_then(|word| word.to_str()) {
        Some("holder") => return holder::main(std::env::args().skip(2)),
        Some("way-out") => return network::way_out::keep(),
        Some("monitor") => return monitor::run::role(std::env::args().skip(2)),
        _ => {}
    }
    if holder::program::is_copy() {
        eprintln!("pierless: this copy of the program serves containers from outside; it does nothing in one");
        return ExitCode::FAILURE;
    }
    let line = CommandLine::parse();
    let home = Home::from_env(holder::host_uid());
    if line.verb.makes_files() {
        sys::process::usual_umask();
    }
    let _entered = match line.verb.enters_namespaces().then(|| holder::enter(&home)).transpose() {
        Ok(entered) => entered,
        Err(error) => {
            eprintln!("pierless: {error}");
            return ExitCode::FAILURE;
        }
    };
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
    let inside = home.clone();
    let gate = Gate::new(Box::new(move || match holder::enter(&inside) {
        Ok(entered) => Ok(Box::new(entered)),
        Err(err) => Err((err.kind(), err.to_string())),
    }));
    match server::run(Engine::new(home), gate, &options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            tracing::error!("{err}");
            ExitCode::FAILURE
        }
    }
}
