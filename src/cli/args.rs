//! What may stand on the command line, and nothing of what it does.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Docker's API without the dock: containers of one user, with no root and no daemon.
#[derive(Debug, Parser)]
#[command(name = "pierless", version, about, disable_help_subcommand = true)]
pub struct CommandLine {
    /// The verb.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs of the command line. The two internal roles, `monitor` and `holder`, never get here: `main` tells them
/// apart before anything is parsed, so that they stay small.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Serve the API on a socket: one passed by systemd, or one of its own
    Serve(Serve),
    /// Make the API reachable: units or a stand-in for systemd, well-known socket names, a docker context
    Up,
    /// Undo `up`; containers stay
    Down(Down),
    /// End everything and remove all containers, images and volumes
    Reset(Reset),
    /// Tell what this host has and lacks, and what mends it
    Check(Check),
    /// Create and start a container
    Run(Box<Run>),
    /// List containers
    Ps(Ps),
    /// Print a container's log
    Logs(Logs),
    /// Stop containers
    Stop(Stop),
    /// Remove containers
    Rm(Rm),
    /// Load images from an archive
    Load(Load),
    /// Save images as an archive
    Save(Save),
    /// Pull images from a registry
    Pull(Transfer),
    /// Push images to a registry
    Push(Transfer),
    /// List images
    Images(Images),
    /// Run a command as root of the user's namespaces
    Unshare(Unshare),
    /// Hold the socket where no systemd does
    #[command(hide = true)]
    StandIn,
    /// Become `serve` with the socket that is standard input
    #[command(hide = true)]
    Activated,
}

impl Verb {
    /// Whether it needs the user's namespaces. The others must stay outside: systemd and a login session know the user
    /// by the id it has there. `serve` enters by itself, at its first engine call, and `reset` when it is alone.
    pub fn enters_namespaces(&self) -> bool {
        match self {
            Verb::Check(options) => options.store,
            Verb::Serve(_) | Verb::Up | Verb::Down(_) | Verb::Reset(_) | Verb::StandIn | Verb::Activated => false,
            _ => true,
        }
    }

    /// Whether the files that it makes are containers' and images', whose modes must not depend on the caller's umask.
    pub fn makes_files(&self) -> bool {
        matches!(self, Verb::Serve(_)) || (self.enters_namespaces() && !matches!(self, Verb::Unshare(_)))
    }
}

/// Options of `serve`.
#[derive(Args, Debug)]
pub struct Serve {
    /// Where to listen, if no socket is passed [default: the user's runtime folder, pierless/docker.sock]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Exit after so many seconds without an exchange; 0: never
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = seconds)]
    pub idle_timeout: f64,
    /// What to log: error, warn, info, debug, trace, or a filter such as pierless=debug,hyper=warn
    #[arg(long, value_name = "LEVEL", env = "PIERLESS_LOG", default_value = "info")]
    pub log_level: String,
}

/// Seconds as a non-negative, finite number.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        // What fits a Duration, with room to add it to a clock.
        Ok(number) if (0.0..1e9).contains(&number) => Ok(number),
        _ => Err("not a number of seconds".to_owned()),
    }
}

/// Options of `down`.
#[derive(Args, Debug)]
pub struct Down {
    /// Stop all containers, too
    #[arg(long)]
    pub stop: bool,
}

/// Options of `reset`.
#[derive(Args, Debug)]
pub struct Reset {
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
}

/// Options of `check`.
#[derive(Args, Debug)]
pub struct Check {
    /// Verify the images instead: every blob, record and file of them; mend what can be mended
    #[arg(long)]
    pub store: bool,
}

/// Options of `run`.
#[derive(Args, Debug)]
pub struct Run {
    /// Leave it running and print its id
    #[arg(short, long)]
    pub detach: bool,
    /// Keep standard input open
    #[arg(short, long)]
    pub interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Remove it when it ends
    #[arg(long)]
    pub rm: bool,
    /// Its name
    #[arg(long)]
    pub name: Option<String>,
    /// An environment variable, NAME=VALUE, or NAME to pass one on
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// A folder of the host at a path of the container, HOST:PATH[:ro]
    #[arg(short, long, value_name = "HOST:PATH")]
    pub volume: Vec<String>,
    /// The working folder
    #[arg(short, long, value_name = "PATH")]
    pub workdir: Option<String>,
    /// The user, by name or id
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// The program, instead of the image's
    #[arg(long, value_name = "PROGRAM")]
    pub entrypoint: Option<String>,
    /// Its own name for itself
    #[arg(long)]
    pub hostname: Option<String>,
    /// none, host, bridge or container:ID
    #[arg(long, value_name = "MODE")]
    pub network: Option<String>,
    /// A label, NAME=VALUE
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub label: Vec<String>,
    /// Run a small init as process 1
    #[arg(long)]
    pub init: bool,
    /// Make the root file system read-only
    #[arg(long)]
    pub read_only: bool,
    /// When to pull the image
    #[arg(long, value_enum, value_name = "WHEN", default_value = "missing")]
    pub pull: PullWhen,
    /// The machine that the image is for, os[/architecture[/variant]]
    #[arg(long)]
    pub platform: Option<String>,
    /// Tell nothing while pulling
    #[arg(short, long)]
    pub quiet: bool,
    /// The image
    pub image: String,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

/// When an image is pulled that is to be run.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullWhen {
    /// Where it is not here
    Missing,
    /// Also where it is here
    Always,
    /// Not at all
    Never,
}

/// Options of `ps`.
#[derive(Args, Debug)]
pub struct Ps {
    /// Those that have ended, too
    #[arg(short, long)]
    pub all: bool,
    /// Ids only
    #[arg(short, long)]
    pub quiet: bool,
    /// Whole ids
    #[arg(long)]
    pub no_trunc: bool,
}

/// Options of `logs`.
#[derive(Args, Debug)]
pub struct Logs {
    /// Go on until the container ends
    #[arg(short, long)]
    pub follow: bool,
    /// Begin each line with its time
    #[arg(short, long)]
    pub timestamps: bool,
    /// The last so many lines
    #[arg(short = 'n', long, value_name = "LINES")]
    pub tail: Option<u64>,
    /// Name or id
    pub container: String,
}

/// Options of `stop`.
#[derive(Args, Debug)]
pub struct Stop {
    /// All that run
    #[arg(short, long)]
    pub all: bool,
    /// Seconds until it is killed; -1: never
    #[arg(short, long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub timeout: Option<i64>,
    /// Names or ids
    #[arg(required_unless_present = "all")]
    pub containers: Vec<String>,
}

/// Options of `rm`.
#[derive(Args, Debug)]
pub struct Rm {
    /// Running ones, too
    #[arg(short, long)]
    pub force: bool,
    /// Names or ids
    #[arg(required = true)]
    pub containers: Vec<String>,
}

/// Options of `load`.
#[derive(Args, Debug)]
pub struct Load {
    /// The archive [default: standard input]
    #[arg(short, long, value_name = "PATH")]
    pub input: Option<PathBuf>,
    /// Of images for several machines, those for these, os[/architecture[/variant]]
    #[arg(long)]
    pub platform: Vec<String>,
}

/// Options of `save`.
#[derive(Args, Debug)]
pub struct Save {
    /// Where to [default: standard output]
    #[arg(short, long, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// Of images for several machines, those for these, os[/architecture[/variant]]
    #[arg(long)]
    pub platform: Vec<String>,
    /// Names or ids
    #[arg(required = true)]
    pub images: Vec<String>,
}

/// Options of `pull` and `push`.
#[derive(Args, Debug)]
pub struct Transfer {
    /// The machine whose image is meant, os[/architecture[/variant]]
    #[arg(long)]
    pub platform: Option<String>,
    /// All tags of the repository
    #[arg(short, long)]
    pub all_tags: bool,
    /// Print only the id, or what the registry calls it
    #[arg(short, long)]
    pub quiet: bool,
    /// The image
    pub image: String,
}

/// Options of `images`.
#[derive(Args, Debug)]
pub struct Images {
    /// Ids only
    #[arg(short, long)]
    pub quiet: bool,
}

/// Options of `unshare`.
#[derive(Args, Debug)]
pub struct Unshare {
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<std::ffi::OsString>,
}
