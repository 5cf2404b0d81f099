//! Why a verb of the command line fails.

use std::io;
use std::path::{Path, PathBuf};

use crate::{engine, holder};

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
    /// An archive would be written to a terminal.
    #[error("an archive is nothing for a terminal: name a file by --output, or redirect it")]
    Terminal,
    /// Nobody said yes.
    #[error("nothing was removed: answer `y`, or give --force")]
    Unconfirmed,
    /// The failure has been told already.
    #[error("not everything could be done")]
    Said,
}

impl Error {
    /// Wraps an error of the system about `path`.
    pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
        let path = path.to_owned();
        move |source| Error::Path { path, source }
    }

    /// Wraps an error of the system while doing `what`.
    pub(super) fn doing(what: &'static str) -> impl Fn(io::Error) -> Error {
        move |source| Error::Step { what, source }
    }
}
