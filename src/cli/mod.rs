//! The command line a person uses: the native verbs, on the same engine calls as the API.

pub mod args;
pub mod check;
pub mod credentials;
mod error;
pub mod pull;
pub mod reset;
pub mod run;
pub mod save;
mod screen;
pub mod stand_in;
pub mod store;
pub mod terminal;
pub mod up;
pub mod verbs;

use std::process::ExitCode;

use args::Verb;
pub use error::Error;

use crate::engine::Engine;
use crate::state::paths::Home;

/// Does what a verb says, and tells a failure on stderr. `serve` is not its matter.
pub fn run(verb: Verb, home: &Home) -> ExitCode {
    let engine = Engine::new(home.clone());
    let done = match verb {
        Verb::Serve(_) => Ok(()),
        Verb::Up => up::up(home),
        Verb::Down(options) => up::down(home, options.stop),
        Verb::Reset(options) => reset::reset(home, options.force),
        Verb::Check(options) if options.store => store::check(&engine),
        Verb::Check(_) => return check_host(),
        Verb::StandIn => stand_in::hold(home),
        Verb::Activated => stand_in::become_serve(),
        Verb::Run(options) => match run::run(&engine, *options) {
            Ok(code) => return ExitCode::from(code),
            Err(error) => Err(error),
        },
        Verb::Ps(options) => verbs::ps(&engine, &options),
        Verb::Logs(options) => verbs::logs(&engine, &options),
        Verb::Stop(options) => verbs::stop(&engine, &options),
        Verb::Rm(options) => verbs::rm(&engine, &options),
        Verb::Load(options) => verbs::load(&engine, &options),
        Verb::Save(options) => save::save(&engine, &options),
        Verb::Pull(options) => pull::pull(&engine, &options),
        Verb::Push(options) => pull::push(&engine, &options),
        Verb::Images(options) => verbs::images(&engine, &options),
        Verb::Unshare(options) => verbs::unshare(home, &options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pierless: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Fails if no container can run here.
fn check_host() -> ExitCode {
    let items = check::items();
    print!("{}", check::report(&items));
    match items.iter().any(|item| item.verdict == check::Verdict::Broken) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}
