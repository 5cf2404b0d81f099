//! A command on a terminal of its own, as a person sits at one.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};

use super::process::{GUARD, Text};

pub struct Terminal {
    master: File,
    child: Child,
    /// Everything the screen got.
    pub screen: Text,
}

impl Terminal {
    /// Runs `command` in a new session whose controlling terminal has `rows` and `columns`.
    pub fn start(command: &Command, rows: u16, columns: u16) -> Terminal {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).unwrap();
        let slave = |fd: &OwnedFd| fd.try_clone().unwrap();
        // setsid(1) takes what is its stdin for the controlling terminal.
        let mut whole = Command::new("setsid");
        whole.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => whole.env(name, value),
                None => whole.env_remove(name),
            };
        }
        whole.stdin(slave(&pty.slave)).stdout(slave(&pty.slave)).stderr(slave(&pty.slave));
        let child = whole.spawn().unwrap();
        drop(whole);
        drop(pty.slave);
        let master = File::from(pty.master);
        let (screen, _) = Text::collect(master.try_clone().unwrap());
        Terminal { master, child, screen }
    }

    pub fn type_in(&mut self, keys: &[u8]) {
        self.master.write_all(keys).unwrap();
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&self.master, size).unwrap();
    }

    /// Waits for the command's end.
    #[track_caller]
    pub fn finish(mut self) -> (i32, String) {
        let end = Instant::now() + GUARD;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                std::thread::sleep(Duration::from_millis(50));
                return (status.code().unwrap_or(-1), self.screen.now());
            }
            assert!(Instant::now() < end, "hangs: {:?}", self.screen.now());
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
