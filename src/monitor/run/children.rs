//! Children that have ended, and whose they were.

use super::execs::Execs;
use super::launch::Starter;
use super::life::Life;
use crate::sys::process;
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
    /// That of a starter whose report has not been taken: its number, and since when it was at work.
    Starter(i32, u64),
}

impl Children {
    /// Takes the exit codes of children that have ended. The container's comes last, so that exec sessions that ended
    /// with it are told first.
    pub fn reap(&mut self, life: &Life, execs: &Execs, doomed: &mut Vec<(i32, u64)>) -> Vec<Loss> {
        let mut losses = Vec::new();
        let mut container = None;
        while let Some(ended) = spawn::reap() {
            if life.pid() == Some(ended.pid) {
                container = Some(Loss::Container(ended.code));
            } else if let Some(at) = execs.with_pid(ended.pid) {
                losses.push(Loss::Exec(at, ended.code));
            } else if let Some(starter) = starters(life, execs).find(|starter| starter.pid == ended.pid) {
                losses.push(Loss::Starter(ended.pid, starter.since));
            } else if let Some(place) = doomed.iter().position(|(pid, _)| *pid == ended.pid) {
                losses.push(Loss::Starter(ended.pid, doomed.swap_remove(place).1));
            } else if starters(life, execs).next().is_some() {
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

/// Ends those of these children that nobody owns and that came after a moment: what a starter left that was killed
/// before it could tell. Nothing else that is a child of a monitor's is that young: descendants of a container that
/// lost their parents are the container's first process's, or, where it shares the host's pid namespace, older.
/// `own` is the process that is no starter.
pub fn end_strays(children: &[i32], since: u64, life: &Life, execs: &Execs, own: Option<i32>, doomed: &[(i32, u64)]) {
    for &pid in children {
        let owned = life.pid() == Some(pid)
            || own == Some(pid)
            || execs.with_pid(pid).is_some()
            || starters(life, execs).any(|starter| starter.pid == pid)
            || doomed.iter().any(|(doomed, _)| *doomed == pid);
        if !owned && process::start_time(pid).is_ok_and(|start| start >= since) {
            let _ = spawn::kill(pid, spawn::SIGKILL);
        }
    }
}

fn starters<'a>(life: &'a Life, execs: &'a Execs) -> impl Iterator<Item = &'a Starter> {
    life.starter().into_iter().chain(execs.starters().map(|(_, starter)| starter))
}
