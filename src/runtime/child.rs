//! The forked child on its way to the program: its streams, who it is, and the last step.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use oci_spec::runtime::Process;

use super::filter::Filter;
use super::{StartError, StartErrorKind, Started, Stdio, confine};
use crate::sys::{fdpass, mounts, process, pty, spawn};

/// What the child tells its starter: a packet with its terminal or its mount namespace, a packet with an error, or, by
/// exec's closing of the socket, that it has become the program.
#[derive(Debug)]
pub(super) struct Channel(OwnedFd);

const TERMINAL: u8 = b't';
const MOUNTS: u8 = b'm';

impl Channel {
    fn terminal(&self, master: &OwnedFd) -> io::Result<()> {
        fdpass::send(&self.0, &[&[TERMINAL]], &[master.as_fd()])
    }

    /// Hands over this process's mount namespace.
    pub(super) fn mounts(&self) -> io::Result<()> {
        let namespace = fs::File::open("/proc/self/ns/mnt")?;
        fdpass::send(&self.0, &[&[MOUNTS]], &[namespace.as_fd()])
    }

    fn error(&self, error: &StartError) {
        let kind = match error.kind {
            StartErrorKind::NotFound => b'n',
            StartErrorKind::NotExecutable => b'x',
            StartErrorKind::Other => b'o',
        };
        let text = error.message.as_bytes();
        let _ = fdpass::send(&self.0, &[&[kind], text.get(..3000).unwrap_or(text)], &[]);
    }
}

/// Forks a child that does `work`, which ends in the program, and waits until it is there.
///
/// The child has no descriptors but the standard streams, those in `keep` and the channel. With a cgroup it is born there.
pub(super) fn launch(
    keep: &[RawFd],
    cgroup: Option<BorrowedFd<'_>>,
    work: impl FnOnce(&Channel) -> StartError,
) -> Result<Started, StartError> {
    let (ours, theirs) = fdpass::pair().map_err(StartError::at("socketpair"))?;
    let keep = [keep, &[theirs.as_raw_fd()]].concat();
    let mut theirs = Some(theirs);
    let pid = spawn::fork_into(cgroup, || {
        if spawn::close_all_but(&keep).is_err() {
            return 1;
        }
        // If this process's starter is killed nobody knows of this one: not even that it has to be ended.
        let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
        let Some(theirs) = theirs.take() else { return 1 };
        let channel = Channel(theirs);
        channel.error(&work(&channel));
        1
    });
    let pid = pid.map_err(StartError::at("fork"))?;
    drop(theirs);
    let mut started = Started::new(pid, None);
    let mut buf = [0; 4096];
    let error = loop {
        let got = fdpass::recv(&ours, &mut buf).map_err(StartError::at("the new process"))?;
        match buf.get(..got.len).and_then(<[u8]>::split_first) {
            None => return Ok(started),
            Some((&TERMINAL, _)) => started.terminal = got.fds.into_iter().next(),
            Some((&MOUNTS, _)) => started.mounts = got.fds.into_iter().next(),
            Some((kind, text)) => {
                let kind = match kind {
                    b'n' => StartErrorKind::NotFound,
                    b'x' => StartErrorKind::NotExecutable,
                    _ => StartErrorKind::Other,
                };
                break StartError { kind, message: String::from_utf8_lossy(text).into_owned() };
            }
        }
    };
    spawn::wait_for(pid);
    Err(error)
}

/// Gives this process its streams and makes it the leader of a session. A terminal comes from the `/dev/pts` that this
/// process sees, so it must be in the container already.
pub(super) fn attach(stdio: Stdio, console: bool, channel: &Channel) -> Result<(), StartError> {
    match stdio {
        Stdio::Pipes(ends) => redirect([ends[0].as_fd(), ends[1].as_fd(), ends[2].as_fd()]),
        Stdio::Terminal(size) => terminal(size, console, channel),
    }
    .map_err(StartError::at("cannot set up the standard streams"))
}

fn redirect([input, output, error]: [BorrowedFd<'_>; 3]) -> io::Result<()> {
    rustix::stdio::dup2_stdin(input)?;
    rustix::stdio::dup2_stdout(output)?;
    rustix::stdio::dup2_stderr(error)?;
    Ok(())
}

fn terminal(size: Option<(u16, u16)>, console: bool, channel: &Channel) -> io::Result<()> {
    let (master, slave) = pty::open()?;
    if let Some((rows, columns)) = size {
        pty::resize(&master, rows, columns)?;
    }
    if console {
        // New, so no link of the image's; /dev is a file system of the container's own.
        let path = Path::new("/dev/console");
        fs::OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        mounts::place(mounts::clone_of(&slave)?, path)?;
    }
    channel.terminal(&master)?;
    rustix::process::ioctl_tiocsctty(&slave)?;
    redirect([slave.as_fd(); 3])
}

/// Becomes the program, confined as the container is; with `init` the program is that. Returns only with an error.
pub(super) fn become_program(spec: &Process, filter: Option<&Filter>, init: Option<fs::File>) -> StartError {
    let name = match confine_as(spec, filter) {
        Ok(name) => name,
        Err(err) => return err,
    };
    let (none, args) = (Vec::new(), spec.args().clone().unwrap_or_default());
    let (environment, shown) = (spec.env().as_ref().unwrap_or(&none), PathBuf::from(name));
    let (program, err) = match init {
        Some(init) => (shown, process::execute_descriptor(init, &args, environment)),
        None => match find(name, environment) {
            Ok(program) => {
                let err = process::execute(&program, &args, environment);
                (program, err)
            }
            Err(err) => return err,
        },
    };
    // As with runc: by now the container counts as started, so this is its output and not the start's failure.
    spawn::say(rustix::stdio::stderr(), &format!("exec {}: {}\n", program.display(), errno_text(&err)));
    std::process::exit(255)
}

/// Takes the program's rights and place; returns its name.
fn confine_as<'a>(spec: &'a Process, filter: Option<&Filter>) -> Result<&'a str, StartError> {
    let args = spec.args().as_deref().unwrap_or_default();
    let name = args.first().ok_or_else(|| StartError::other("no command specified"))?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    spawn::default_signals();
    // Who launched it may have been told to be slow; only who may be faster gets that back.
    let _ = rustix::process::setpriority_process(None, 0);
    for limit in spec.rlimits().iter().flatten() {
        let kind = limit.typ().to_string();
        process::set_rlimit(&kind, limit.soft(), limit.hard()).map_err(StartError::at(format!("cannot set {kind}")))?;
    }
    if spec.user().uid() != 0 {
        // Who may not open a stream's pipe or terminal by its name could not use /dev/stdout.
        let owner = Some(rustix::fs::Uid::from_raw(spec.user().uid()));
        for stream in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
            if rustix::fs::fstat(stream).is_ok_and(|stat| stat.st_uid == 0) && !is_null(stream) {
                let _ = rustix::fs::fchown(stream, owner, None);
            }
        }
    }
    let directory = spec.cwd();
    let enter = || {
        std::env::set_current_dir(directory).map_err(|err| {
            let text = errno_text(&err);
            // By the text alone dockerd takes these for the program's.
            let kind = match err.kind() {
                std::io::ErrorKind::NotFound => StartErrorKind::NotFound,
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::NotADirectory => {
                    StartErrorKind::NotExecutable
                }
                _ => StartErrorKind::Other,
            };
            let message = format!("chdir to cwd (\"{}\") set in config.json failed: {text}", directory.display());
            StartError { kind, message }
        })
    };
    // Root sees what the user may not, and the user what root may not (a file system that trusts no other).
    let entered = enter();
    process::close_on_exec_from(3).map_err(StartError::at("close_range"))?;
    // The starter ends when the program runs. A filter might forbid this call.
    rustix::process::set_parent_process_death_signal(None).map_err(|err| StartError::other(format!("prctl: {err}")))?;
    confine::apply(spec, filter)?;
    entered.or_else(|_| enter())?;
    stay_inside(directory)?;
    Ok(name)
}

/// Refuses a working directory that no path below this root leads to: through `/proc/self/fd` or another process's
/// `/proc/PID/cwd` it could be one that this process, but not its program, has opened.
fn stay_inside(directory: &Path) -> Result<(), StartError> {
    match rustix::process::getcwd(Vec::new()) {
        Ok(path) if path.as_bytes().starts_with(b"/") => Ok(()),
        _ => Err(StartError::other(format!(
            "current working directory is outside of container mount namespace root: \"{}\"",
            directory.display()
        ))),
    }
}

/// Whether a stream is the null device, which belongs to everybody.
pub(super) fn is_null(stream: BorrowedFd<'_>) -> bool {
    rustix::fs::fstat(stream).is_ok_and(|stat| {
        rustix::fs::FileType::from_raw_mode(stat.st_mode).is_char_device()
            && (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)) == (1, 3)
    })
}

/// Points streams that are the host's null device to the container's.
pub(super) fn reopen_null() -> io::Result<()> {
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    let [input, output, error] = streams.map(is_null);
    if input || output || error {
        let null = fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
        if input {
            rustix::stdio::dup2_stdin(&null)?;
        }
        if output {
            rustix::stdio::dup2_stdout(&null)?;
        }
        if error {
            rustix::stdio::dup2_stderr(&null)?;
        }
    }
    Ok(())
}

/// The program's file, in the words of Go's `exec.LookPath`, by which clients tell a missing program from one that
/// cannot be run.
///
/// # Errors
/// [`StartErrorKind::NotFound`], [`StartErrorKind::NotExecutable`].
pub(super) fn find(name: &str, env: &[String]) -> Result<PathBuf, StartError> {
    let fail = |kind, why: &str| Err(StartError { kind, message: format!("exec: \"{name}\": {why}") });
    if name.contains('/') {
        return match executable(Path::new(name)) {
            Ok(()) => Ok(PathBuf::from(name)),
            Err(err) => match err.raw_os_error() {
                Some(nix::libc::EACCES) => fail(StartErrorKind::NotExecutable, "permission denied"),
                Some(nix::libc::EISDIR) => fail(StartErrorKind::NotExecutable, "is a directory"),
                _ => fail(StartErrorKind::NotFound, &format!("stat {name}: {}", errno_text(&err))),
            },
        };
    }
    let path = env.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or_default();
    let candidates = path.split(':').map(|dir| Path::new(if dir.is_empty() { "." } else { dir }).join(name));
    let found = candidates.into_iter().find(|path| !name.is_empty() && executable(path).is_ok());
    found.map_or_else(|| fail(StartErrorKind::NotFound, "executable file not found in $PATH"), Ok)
}

fn executable(path: &Path) -> io::Result<()> {
    use rustix::fs::{Access, AtFlags, CWD, accessat};
    let meta = fs::metadata(path)?;
    if meta.is_dir() {
        return Err(io::Error::from_raw_os_error(nix::libc::EISDIR));
    }
    Ok(accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)?)
}

/// An error in the C library's words, without Rust's number behind them and in lower case, as Go has them.
pub fn errno_text(err: &io::Error) -> String {
    let Some(errno) = err.raw_os_error() else { return err.to_string() };
    nix::errno::Errno::from_raw(errno).desc().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_programs_as_go_does() {
        let env = ["PATH=/nowhere:/usr/bin:/bin".to_owned()];
        assert!(find("sh", &env).is_ok());
        assert!(find("/bin/sh", &[]).is_ok());
        let missing = find("no-such-program", &env).expect_err("missing");
        assert_eq!(missing.kind, StartErrorKind::NotFound);
        assert_eq!(missing.message, "exec: \"no-such-program\": executable file not found in $PATH");
        let missing = find("/no/such", &env).expect_err("missing");
        assert_eq!(missing.message, "exec: \"/no/such\": stat /no/such: no such file or directory");
        assert_eq!(find("/etc/passwd", &env).expect_err("data").kind, StartErrorKind::NotExecutable);
        assert_eq!(find("/etc", &env).expect_err("directory").kind, StartErrorKind::NotExecutable);
        assert_eq!(find("", &env).expect_err("nothing").kind, StartErrorKind::NotFound);
    }
}
