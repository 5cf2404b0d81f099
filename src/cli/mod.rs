//! The command line a person uses: the native verbs, on the same engine calls as the API.

pub mod args;
pub mod check;
pub mod reset;
pub mod run;
pub mod stand_in;
pub mod terminal;
pub mod up;
pub mod verbs;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use args::Verb;

use crate::engine::{self, Engine};
use crate::holder;
use crate::state::paths::Home;

/// Why a verb failed. Its text is what the person sees.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be used.
    #[error("{path}: {source}")]
    Path {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system refused a step.
    #[error("cannot {what}: {source}")]
    Step {
        /// The step, as an infinitive.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The stand-in ended before it listened.
    #[error("the stand-in for systemd did not start; see {log}")]
    StandIn {
        /// Where its stderr went.
        log: PathBuf,
    },
    /// The API process failed again and again.
    #[error("the API failed too often in a short time: the socket is given up; `pierless up` tries again")]
    Burst,
    /// The host lacks what no container can do without.
    #[error("this host cannot run containers for you yet; `pierless check` says why")]
    Host,
    /// Neither HOME nor XDG_CONFIG_HOME is set.
    #[error("HOME is not set")]
    NoHome,
    /// systemctl said no; it has told why on stderr.
    #[error("systemctl --user {call} failed")]
    Systemctl {
        /// Its arguments.
        call: String,
    },
    /// What was asked of containers or images failed.
    #[error(transparent)]
    Engine(#[from] engine::Error),
    /// The namespaces could not be entered.
    #[error(transparent)]
    Holder(#[from] holder::Error),
    /// Nobody said yes.
    #[error("nothing was removed: answer `y`, or give --force")]
    Unconfirmed,
    /// The failure has been told already.
    #[error("not everything could be done")]
    Said,
}

impl Error {
    /// Wraps an error of the system about `path`.
    fn at(path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
        let path = path.to_owned();
        move |source| Error::Path { path, source }
    }

    /// Wraps an error of the system while doing `what`.
    fn doing(what: &'static str) -> impl Fn(io::Error) -> Error {
        move |source| Error::Step { what, source }
    }
}

/// Does what a verb says, and tells a failure on stderr. `serve` is not its matter.
pub fn run(verb: Verb, home: &Home) -> ExitCode {
    let engine = Engine::new(home.clone());
    let done = match verb {
        Verb::Serve(_) => Ok(()),
        Verb::Up => up::up(home),
        Verb::Down(options) => up::down(home, options.stop),
        Verb::Reset(options) => reset::reset(home, options.force),
        Verb::Check => return check_host(),
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
