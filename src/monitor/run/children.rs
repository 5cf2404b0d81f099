//! Children that have ended, and whose they were.

use super::execs::Execs;
use super::life::Life;
use crate::sys::spawn::{self, Ended};

/// The ends of children that a starter, still at work, may yet tell what they are.
#[derive(Debug, Default)]
pub struct Children(Vec<Ended>);

/// Whose process has ended, with which code.
#[derive(Debug, PartialEq, Eq)]
pub enum Loss {
    /// The container's.
    Container(i32),
    /// An exec session's.
    Exec(usize, i32),
}

impl Children {
    /// Takes the exit codes of children that have ended. The container's comes last, so that exec sessions that ended
    /// with it are told first.
    pub fn reap(&mut self, life: &Life, execs: &Execs) -> Vec<Loss> {
        let mut losses = Vec::new();
        let mut container = None;
        while let Some(ended) = spawn::reap() {
            if life.pid() == Some(ended.pid) {
                container = Some(Loss::Container(ended.code));
            } else if let Some(at) = execs.with_pid(ended.pid) {
                losses.push(Loss::Exec(at, ended.code));
            } else if !is_starter(ended.pid, life, execs) && starters(life, execs).next().is_some() {
                self.0.push(ended);
            }
        }
        losses.extend(container);
        losses
    }

    /// The exit code of a process that had ended before its starter reported it. Once no starter is at work, nobody
    /// will ask for those that are left.
    pub fn claim(&mut self, pid: Option<i32>, life: &Life, execs: &Execs) -> Option<i32> {
        let place = self.0.iter().position(|ended| Some(ended.pid) == pid);
        let code = place.map(|place| self.0.swap_remove(place).code);
        if starters(life, execs).next().is_none() {
            self.0.clear();
        }
        code
    }
}

fn starters<'a>(life: &'a Life, execs: &'a Execs) -> impl Iterator<Item = i32> + 'a {
    life.starter().into_iter().chain(execs.starters())
}

fn is_starter(pid: i32, life: &Life, execs: &Execs) -> bool {
    starters(life, execs).any(|starter| starter == pid)
}
