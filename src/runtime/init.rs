//! `docker-init`: the first process of a container that was made with `--init`. Passes signals on to the program, reaps
//! whatever ends, and ends as the program does.

use std::process::ExitCode;

use nix::sys::signal::{SigSet, Signal};

use crate::sys::{process, spawn};

/// The role `docker-init -- PROGRAM ARGUMENT…`; `words` without the first one.
pub fn main(words: impl Iterator<Item = String>) -> ExitCode {
    if !process::own_descriptor().is_some_and(crate::holder::program::is_sealed) {
        eprintln!("docker-init: this is not the container's first process");
        return ExitCode::from(1);
    }
    let program: Vec<String> = words.skip_while(|word| word == "--").collect();
    if program.is_empty() {
        eprintln!("docker-init: no program given");
        return ExitCode::from(1);
    }
    // Signals are waited for, never handled: so none can be missed between two looks.
    let mut signals = SigSet::all();
    for fault in [Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGSEGV, Signal::SIGSYS, Signal::SIGTRAP] {
        signals.remove(fault);
    }
    let child = signals.thread_set_mask().map_err(std::io::Error::from).and_then(|()| spawn::fork(|| run(&program)));
    match child {
        Ok(child) => ExitCode::from(u8::try_from(supervise(&signals, child)).unwrap_or(255)),
        Err(err) => {
            eprintln!("docker-init: {err}");
            ExitCode::from(1)
        }
    }
}

/// In the child: becomes the program.
fn run(program: &[String]) -> i32 {
    // A process group of its own, in the foreground if there is a terminal: then ^C is for the program alone. All
    // signals are blocked here, so that the terminal does not stop this process for it.
    let _ = rustix::process::setpgid(None, None);
    let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpgrp());
    spawn::ordinary_signals();
    let env: Vec<String> = std::env::vars_os()
        .filter_map(|(name, value)| Some(format!("{}={}", name.to_str()?, value.to_str()?)))
        .collect();
    match super::child::find(&program[0], &env) {
        Ok(path) => {
            eprintln!("exec {}: {}", path.display(), super::child::errno_text(&process::execute(&path, program, &env)));
            126
        }
        Err(err) => {
            eprintln!("{}", err.message);
            err.exit_code()
        }
    }
}

/// Returns the program's exit code once it has ended.
fn supervise(signals: &SigSet, child: i32) -> i32 {
    loop {
        match signals.wait() {
            Ok(Signal::SIGCHLD) => {
                while let Some(ended) = spawn::reap() {
                    if ended.pid == child {
                        return ended.code;
                    }
                }
            }
            // Not reaped yet, so the number is still the program's.
            Ok(signal) => {
                let _ = spawn::kill(child, signal as i32);
            }
            Err(_) => {}
        }
    }
}
