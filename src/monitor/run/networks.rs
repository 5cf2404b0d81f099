//! Networks that the container is connected to, or taken out of, while it runs.
//!
//! A forked child does what that takes, one change after the other. The container is connected as long as its record says
//! so, and addresses are its own longer than that. What a child has made that failed, or was killed, the next one takes
//! away before the asker is answered; if this process is killed, all of it goes with the container.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use super::context::Context;
use super::door::{Door, Waits};
use super::launch::Refusal;
use super::life::Life;
use super::watch::Role;
use crate::model::ErrorKind;
use crate::model::ids::random_id;
use crate::model::networking::{Endpoint, EndpointSettings};
use crate::monitor::protocol::{self, Failure, Reply};
use crate::network::{self, Side};
use crate::state::paths::Home;
use crate::state::store;
use crate::sys::epoll::Interest;
use crate::sys::{fdpass, pidfd, spawn};

/// How often something is tried to be taken away: a child may be killed.
const TRIES: u8 = 3;
/// How long a killed child may take to end.
const PATIENCE: Duration = Duration::from_secs(1);
/// What a child waits for before it ends.
const NOTED: &[u8] = b"noted";
/// The largest report.
const REPORT: usize = 64 * 1024;

/// What is asked for; networks are named by their ids.
#[derive(Debug)]
pub enum Change {
    /// Connect it.
    Connect(String, Box<EndpointSettings>),
    /// Take it out.
    Disconnect(String),
}

/// Changes that were asked for, each with a number by which its asker waits.
#[derive(Debug, Default)]
pub struct Networks {
    waiting: VecDeque<(u64, Change)>,
    work: Option<Work>,
    asked: u64,
}

/// A child at work.
#[derive(Debug)]
struct Work {
    number: u64,
    task: Task,
    pid: i32,
    socket: OwnedFd,
}

/// What a child does, to which connection to which network.
#[derive(Debug)]
struct Task {
    network: String,
    id: String,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Make(Box<EndpointSettings>),
    /// So many tries are left.
    TakeAway(u8),
    /// It could not be made, for this reason.
    Undo(u8, Refusal),
}

/// A child's report: the new connection, and why it leads nowhere.
type Report = Result<(Option<Endpoint>, Option<String>), Refusal>;

impl Networks {
    /// Takes up a change; gives its number.
    pub fn ask(&mut self, change: Change) -> u64 {
        self.asked += 1;
        self.waiting.push_back((self.asked, change));
        self.asked
    }

    /// The child at work.
    pub fn child(&self) -> Option<i32> {
        self.work.as_ref().map(|work| work.pid)
    }

    /// Begins what waits, if nothing is under way.
    pub fn begin(&mut self, life: &Life, cx: &mut Context, door: &mut Door) {
        while self.work.is_none()
            && let Some((number, change)) = self.waiting.pop_front()
        {
            let (network, settings) = match change {
                Change::Connect(network, settings) => (network, Some(settings)),
                Change::Disconnect(network) => (network, None),
            };
            let has = life.endpoints().iter().find(|endpoint| endpoint.network_id == network);
            let task = match (settings, has) {
                (Some(settings), None) => Ok(Task { network, id: random_id(), step: Step::Make(settings) }),
                (None, Some(has)) => Ok(Task { network, id: has.id.clone(), step: Step::TakeAway(TRIES) }),
                (Some(_), Some(has)) => {
                    let name = store::load(&cx.files.home, &cx.files.id).map(|record| record.name).unwrap_or_default();
                    let message = format!("endpoint with name {name} already exists in network {}", has.network);
                    Err(Refusal { failure: Failure::Forbidden, message })
                }
                (None, None) => {
                    let message = format!("container {} is not connected to network {network}", cx.files.id);
                    Err(Refusal { failure: Failure::NotFound, message })
                }
            };
            match task {
                Ok(task) => self.fork(number, task, life, cx, door),
                Err(refusal) => answer(number, Err(refusal), cx, door),
            }
        }
    }

    fn fork(&mut self, number: u64, task: Task, life: &Life, cx: &mut Context, door: &mut Door) {
        match fork(&task, life, cx) {
            Ok((pid, socket)) => self.work = Some(Work { number, task, pid, socket }),
            Err(error) => {
                let refusal = match task.step {
                    Step::Undo(_, why) => why,
                    _ => Refusal::system(error),
                };
                answer(number, Err(refusal), cx, door);
            }
        }
    }

    /// The child has reported, or was killed.
    pub fn ready(&mut self, life: &mut Life, cx: &mut Context, door: &mut Door) {
        let Some(Work { number, task, socket, .. }) = self.work.take() else { return };
        cx.io.dirty = true;
        let buf = &mut cx.io.input[..REPORT];
        let got = fdpass::recv(&socket, buf).ok().filter(|got| got.len > 0);
        let report = got.map(|got| match protocol::parse::<Report>(&buf[..got.len]) {
            Ok((report, _)) => report,
            Err(error) => Err(Refusal::system(error)),
        });
        cx.watch.remove(socket.as_fd());
        self.reported(number, task, report, life, cx, door);
        let _ = fdpass::send(&socket, &[NOTED], &[]);
    }

    fn reported(
        &mut self,
        number: u64,
        task: Task,
        report: Option<Report>,
        life: &mut Life,
        cx: &mut Context,
        door: &mut Door,
    ) {
        let Task { network, id, step } = task;
        let (step, outcome) = match (step, report) {
            (Step::Make(_), Some(Ok((Some(endpoint), stranded)))) => {
                stranded.iter().for_each(|why| cx.files.complain(why));
                match connected(endpoint, life, cx) {
                    Ok(()) => return answer(number, Ok(()), cx, door),
                    Err(refusal) => (Step::Undo(TRIES, refusal), None),
                }
            }
            (Step::Make(_), Some(Err(refusal))) => (Step::Undo(TRIES, refusal), None),
            (Step::Make(_), _) => (Step::Undo(TRIES, Refusal::killed()), None),
            (Step::TakeAway(tries), None) if tries > 1 => (Step::TakeAway(tries - 1), None),
            (Step::Undo(tries, why), None) if tries > 1 => (Step::Undo(tries - 1, why), None),
            (step, report) => (step, Some(report.unwrap_or_else(|| Err(Refusal::killed())))),
        };
        let Some(outcome) = outcome else {
            return self.fork(number, Task { network, id, step }, life, cx, door);
        };
        let (home, own) = (&cx.files.home, &cx.files.id);
        let result = match (step, outcome) {
            (Step::Undo(_, why), outcome) => {
                match outcome {
                    Ok(_) => network::give_back_all(home, &network, own),
                    Err(refusal) => cx.files.complain(&refusal.message),
                }
                Err(why)
            }
            (_, Ok(_)) => disconnected(&network, life, cx),
            (_, Err(refusal)) => Err(refusal),
        };
        answer(number, result, cx, door);
    }

    /// The container has ended, and its network with it.
    pub fn end(&mut self, cx: &mut Context, door: &mut Door) {
        let gone = || Err(Refusal { failure: Failure::Conflict, message: "container is not running".to_owned() });
        if let Some(Work { number, task, pid, socket }) = self.work.take() {
            cx.watch.remove(socket.as_fd());
            // A child until its end is taken: this is no other process.
            let ended = pidfd::open(pid).and_then(|child| {
                pidfd::send_signal(&child, spawn::SIGKILL)?;
                pidfd::wait_exit(&child, PATIENCE)
            });
            if let Err(error) = ended {
                cx.files.complain(&format!("a change of networks goes on: {error}"));
            }
            network::give_back_all(&cx.files.home, &task.network, &cx.files.id);
            answer(number, gone(), cx, door);
        }
        for (number, _) in std::mem::take(&mut self.waiting) {
            answer(number, gone(), cx, door);
        }
    }
}

/// Commits and tells that the container has this connection.
fn connected(endpoint: Endpoint, life: &mut Life, cx: &mut Context) -> Result<(), Refusal> {
    let endpoints = life.endpoints().iter().chain([&endpoint]).cloned().collect();
    life.change_endpoints(endpoints, cx)?;
    cx.files.tell("connect", |record| network::events(record, &[endpoint], "connect"));
    Ok(())
}

/// Commits and tells that it has none to this network any more, and then gives its addresses back.
fn disconnected(network: &str, life: &mut Life, cx: &mut Context) -> Result<(), Refusal> {
    let (gone, kept) = life.endpoints().iter().cloned().partition(|endpoint: &Endpoint| endpoint.network_id == network);
    let gone: Vec<Endpoint> = gone;
    life.change_endpoints(kept, cx)?;
    network::give_back_all(&cx.files.home, network, &cx.files.id);
    cx.files.tell("disconnect", |record| network::events(record, &gone, "disconnect"));
    Ok(())
}

fn answer(number: u64, result: Result<(), Refusal>, cx: &mut Context, door: &mut Door) {
    let reply = match result {
        Ok(()) => Reply::Ok,
        Err(Refusal { failure, message }) => Reply::Failed { kind: failure, message },
    };
    door.answer_all(&reply, &mut cx.watch, |waits| matches!(waits, Waits::Change(of) if *of == number));
}

/// Forks a child for a task.
fn fork(task: &Task, life: &Life, cx: &mut Context) -> io::Result<(i32, OwnedFd)> {
    let (own, hub) = life.namespaces().ok_or(io::ErrorKind::NotFound)?;
    let (home, id) = (&cx.files.home, &cx.files.id);
    let (ours, theirs) = fdpass::pair()?;
    let keep = [theirs.as_raw_fd(), own.as_raw_fd(), hub.as_raw_fd()];
    let kept = || life.endpoints().iter().filter(|endpoint| endpoint.id != task.id).cloned().collect::<Vec<_>>();
    let pid = spawn::fork(|| {
        if spawn::close_all_but(&keep).is_err() {
            return 1;
        }
        spawn::ordinary_signals();
        let report = perform(home, id, task, &kept(), own, hub);
        let sent = fdpass::send(&theirs, &[&protocol::encode(&report)], &[]);
        let noted = sent.is_ok() && fdpass::recv(&theirs, &mut [0; 8]).is_ok_and(|got| got.len == NOTED.len());
        // Nobody is left to know of it.
        if !noted && let Ok((Some(endpoint), _)) = report {
            network::release(home, id, &[endpoint]);
        }
        0
    })?;
    cx.watch.add(ours.as_fd(), Role::Networks, Interest::IN)?;
    Ok((pid, ours))
}

/// In the child.
fn perform(home: &Home, id: &str, task: &Task, endpoints: &[Endpoint], own: &OwnedFd, hub: &OwnedFd) -> Report {
    let record = store::load(home, id).map_err(Refusal::system)?;
    let side = Side { record: &record, endpoints, own, hub };
    let refusal = |error: network::Error| Refusal {
        failure: match error.kind() {
            ErrorKind::Forbidden => Failure::Forbidden,
            ErrorKind::NotFound => Failure::NotFound,
            ErrorKind::InvalidParameter => Failure::Invalid,
            _ => Failure::System,
        },
        message: error.to_string(),
    };
    match &task.step {
        Step::Make(settings) => {
            let made = network::connect(home, &side, &task.network, settings, task.id.clone()).map_err(refusal)?;
            Ok((Some(made.endpoint), made.stranded))
        }
        Step::TakeAway(_) | Step::Undo(..) => {
            network::disconnect(home, &side, &task.network, &task.id).map_err(refusal)?;
            Ok((None, None))
        }
    }
}
