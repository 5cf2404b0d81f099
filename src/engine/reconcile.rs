//! What a killed monitor could not finish, the next process that looks does: under the monitor's lock, which makes it
//! the state's one writer, so that it is done once however many look.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::containers::View;
use super::{Engine, Error, Result};
use crate::cgroup;
use crate::model::signal;
use crate::model::time::{self, SECOND};
use crate::monitor::client;
use crate::network;
use crate::runtime;
use crate::state::atomic::{self, Durability};
use crate::state::claim::{Claim, Process};
use crate::state::container::{ContainerRecord, StateRecord, Status};
use crate::state::ending;
use crate::state::lock::Lock;
use crate::state::meaning::{Facts, LockSeen, Loss, Meaning, is_over, meaning};
use crate::state::store::Seen;
use crate::state::{self, events, store};
use crate::sys::{pidfd, process};

/// How long a process may take to end that was killed, and a monitor to write down that its container ended.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a monitor may take to end that has hung up, been told to, or has nothing left to do.
const MONITOR_PATIENCE: Duration = Duration::from_secs(30);

impl Engine {
    /// A container's records, by its id, after finishing what a killed process left.
    pub(in crate::engine) fn view(&self, id: &str) -> Result<View> {
        let reader = self.seen.reader(&self.home)?;
        match reader.record(id) {
            Ok(record) => {
                let state = self.settle(&record, reader.state(id)?)?;
                Ok(View { record, state })
            }
            Err(err) if self.is_lost(id, &err) => Ok(self.dead(id, &err)),
            Err(err) => Err(err.into()),
        }
    }

    /// The same for one whose monitor has hung up: when that has ended altogether.
    ///
    /// # Errors
    /// As [`Engine::view`]; the monitor does not end.
    pub(in crate::engine) fn view_after_monitor(&self, id: &str) -> Result<View> {
        let paths = self.home.container(id);
        if Lock::is_held(&paths.monitor_lock())? {
            // While none can begin, who has the lock either listens, and is another one, or is about to end.
            let gate = freed(&paths.monitor_gate())?;
            if client::connect(&self.home, id)?.is_none() {
                freed(&paths.monitor_lock())?;
            }
            drop(gate);
        }
        self.view(id)
    }

    /// Whether this error says that a container has no record any more that can be read.
    pub(in crate::engine) fn is_lost(&self, id: &str, err: &state::Error) -> bool {
        let is_missing = matches!(err, state::Error::Missing(_));
        err.is_unreadable() || is_missing && store::has_record(&self.home.container(id))
    }

    /// A container whose record cannot be read: what is known without it.
    pub(in crate::engine) fn dead(&self, id: &str, err: &state::Error) -> View {
        let named = store::names(&self.home).into_iter().find(|(_, owner)| owner == id);
        let record = ContainerRecord {
            id: id.to_owned(),
            name: named.map_or_else(String::new, |(name, _)| name),
            created: store::time_of(&self.home.container(id).data),
            ..ContainerRecord::default()
        };
        let state = StateRecord { status: Status::Dead, error: err.to_string(), ..StateRecord::default() };
        View { record: Arc::new(record), state }
    }

    /// What the state means; mends what has to be. A container that could not be mended is as its record says.
    ///
    /// # Errors
    /// It was to be removed, and now is: [`state::Error::Missing`].
    pub(super) fn settle(&self, record: &ContainerRecord, seen: Seen) -> Result<StateRecord> {
        let facts = self.facts_of(record, &seen, None)?;
        if meaning(&seen.state, &facts) == Meaning::AsSaid {
            return Ok(seen.state);
        }
        match self.mend(record, facts.lock) {
            Err(Error::State(state::Error::Missing(path))) => Err(state::Error::Missing(path).into()),
            Err(err) => {
                tracing::warn!(container = %record.id, "cannot be mended: {err}");
                Ok(seen.state)
            }
            mended => mended,
        }
    }

    /// What is found beside the state. `lock` is given by who has taken it since it was looked at.
    fn facts_of(&self, record: &ContainerRecord, seen: &Seen, lock: Option<LockSeen>) -> Result<Facts> {
        let state = &seen.state;
        let temporary = record.host_config.auto_remove;
        let door = seen.door;
        let loose = state.may_run() || door || seen.late || (temporary && is_over(state));
        // Most containers have ended, and lists are long: no look at the lock where it decides nothing.
        let lock = match lock {
            Some(lock) => lock,
            None if !loose => LockSeen::Missing,
            None => self.look_at_lock(record, state)?,
        };
        let judged = state.may_run() && lock != LockSeen::Held;
        let same_boot = judged && process::boot_id().is_ok_and(|boot| boot == state.boot_id);
        let alive = same_boot && process::start_time(state.pid).is_ok_and(|start| start == state.pid_start);
        Ok(Facts { lock, same_boot, alive, late: seen.late, door, temporary })
    }

    fn look_at_lock(&self, record: &ContainerRecord, state: &StateRecord) -> Result<LockSeen> {
        let paths = self.home.container(&record.id);
        Ok(match Lock::look(&paths.monitor_lock())? {
            // Who mends, or waits for a monitor's end, has it for a moment, and a killed monitor has it until the
            // kernel has closed its files; a wait is told of that just before. None of them says that it runs.
            Some(true) if state.is_running() && !Claim::read(&paths).is_supervised() => LockSeen::Free,
            Some(true) => LockSeen::Held,
            Some(false) => LockSeen::Free,
            None => LockSeen::Missing,
        })
    }

    /// Does what is left to do. `lock` is what was seen of the monitor's lock before this made its file.
    fn mend(&self, record: &ContainerRecord, lock: LockSeen) -> Result<StateRecord> {
        let id = &record.id;
        let paths = self.home.container(id);
        fs::create_dir_all(&paths.run).map_err(state::Error::at(&paths.run))?;
        // One after the other, and no monitor begins meanwhile: who comes second finds it done, and nobody is told what
        // was so before it was.
        let busy = || Error::System("another process is at it, and does not end".to_owned());
        let _gate = Lock::exclusive_within(&paths.monitor_gate(), PATIENCE)?.ok_or_else(busy)?;
        let _lock = match Lock::try_exclusive(&paths.monitor_lock())? {
            Some(lock) => lock,
            // What is left of a dead monitor's is freed without anybody's doing.
            None if Claim::read(&paths).monitor.is_some_and(|monitor| !monitor.lives()) => {
                Lock::exclusive_within(&paths.monitor_lock(), PATIENCE)?.ok_or_else(busy)?
            }
            // A monitor has begun since the first look, or it is of an older version: it is the state's writer.
            None => return Ok(store::load_state(&self.home, id)?),
        };
        if !store::has_record(&paths) {
            // It has gone since the first look, and the lock was made anew.
            let _ = store::remove_run(&self.home, id);
            return Err(state::Error::Missing(paths.record().display().to_string()).into());
        }
        // Anew, for now nobody else writes it.
        let mut seen = store::see_state(&self.home, id)?;
        let facts = self.facts_of(record, &seen, Some(lock))?;
        let meant = meaning(&seen.state, &facts);
        if meant == Meaning::AsSaid {
            return Ok(seen.state);
        }
        // By its record and, should that be unreadable, or not have been written yet, by what its monitor left.
        let recorded = facts.alive.then_some(Process { pid: seen.state.pid, start: seen.state.pid_start });
        if self.end_orphans(id, recorded)? {
            seen = store::see_state(&self.home, id)?;
        }
        if meant != Meaning::Lost(Loss::Reboot) && !record.host_config.pid_mode.is_empty() {
            // They did not end with the first one.
            runtime::end_rooted(id).map_err(Error::system("the container's processes do not end"))?;
        }
        if let Meaning::Lost(loss) = meant
            && seen.state.may_run()
        {
            let state = self.commit_loss(record, seen.state, loss);
            seen = Seen { state, late: true, door: seen.door };
        }
        self.finish(record, seen)
    }

    /// Ends the container's first process where no monitor has it: the one that its record names, and the one that its
    /// monitor left the name of. True if there was one.
    fn end_orphans(&self, id: &str, recorded: Option<Process>) -> Result<bool> {
        let named = Claim::read(&self.home.container(id)).init.filter(|init| init.lives() && Some(*init) != recorded);
        let orphans = [recorded, named];
        for orphan in orphans.into_iter().flatten() {
            end_orphan(id, orphan)?;
        }
        // And whatever was in the container without being below its first process.
        if let Some(place) = cgroup::find(&self.home) {
            let groups = place.container(id);
            let ended = cgroup::group::end(&groups.join(cgroup::group::PAYLOAD));
            ended.map_err(Error::system("the container's processes do not end"))?;
            cgroup::group::remove(&groups);
        }
        Ok(orphans.iter().any(Option::is_some))
    }

    /// Ends what still runs of a container whose record cannot be read and whose monitor was killed.
    pub(in crate::engine) fn end_dead(&self, id: &str) -> Result<()> {
        self.end_orphans(id, None)?;
        runtime::end_rooted(id).map_err(Error::system("the container's processes do not end"))
    }

    /// Records an end that nobody saw. In the run directory first: there it is seen, and seen to be unfinished.
    fn commit_loss(&self, record: &ContainerRecord, state: StateRecord, loss: Loss) -> StateRecord {
        let id = &record.id;
        // Those of a connection that was being made, too.
        network::give_back_everywhere(&self.home, id);
        let left = state.is_running().then(|| network::events(record, &state.endpoints, "disconnect"));
        // A monitor that failed has left why.
        let why = if state.error.is_empty() { loss.text().to_owned() } else { state.error };
        let state =
            StateRecord { started_at: state.started_at, exits: state.exits + 1, ..StateRecord::lost(time::now(), why) };
        tracing::warn!(container = %id, "{}; recorded as exited with {}", state.error, state.exit_code);
        if let Err(err) = atomic::write_json(&self.home.container(id).late_state(), &state, Durability::Process) {
            tracing::warn!(container = %id, "{err}");
        }
        left.iter().flatten().for_each(|event| self.tell(event));
        state
    }

    /// Everything that an end brings with it and that has not been done.
    fn finish(&self, record: &ContainerRecord, seen: Seen) -> Result<StateRecord> {
        let (id, Seen { mut state, late, .. }) = (&record.id, seen);
        let paths = self.home.container(id);
        let ended = state.status == Status::Exited && state.exits > 0;
        if ended && !events::is_told(&self.home, id, "die", state.finished_at) {
            // The clock may have been set back between the two.
            let seconds = ((state.finished_at - state.started_at) / SECOND).max(0);
            let extra = [("exitCode", state.exit_code.to_string()), ("execDuration", seconds.to_string())];
            self.emit(record, "die", &extra);
        }
        store::remove_execs(&self.home, id);
        if record.host_config.auto_remove && is_over(&state) {
            store::remove(&self.home, id, &record.name, Durability::Process, || self.emit(record, "destroy", &[]))?;
            self.sweep_layers_of(&record.image_id);
            return Err(state::Error::Missing(paths.record().display().to_string()).into());
        }
        if late {
            // On a full disk it stays where it is, and is seen there, until somebody looks who finds room.
            ending::place(&self.home, id, &state)?;
        }
        // A start of which nobody was told, for its monitor was killed: as before it.
        if std::mem::take(&mut state.starting) {
            store::save_state(&self.home, id, &state, Durability::Process)?;
        }
        let _ = fs::remove_file(paths.monitor_socket());
        Ok(state)
    }
}

/// A lock that a monitor has, once that has ended; none if the file went with its directory.
pub(in crate::engine) fn freed(path: &Path) -> Result<Option<Lock>> {
    match Lock::exclusive_within(path, MONITOR_PATIENCE) {
        Ok(Some(lock)) => Ok(Some(lock)),
        Err(state::Error::Missing(_)) => Ok(None),
        Ok(None) => Err(Error::System("the container's monitor does not end".to_owned())),
        Err(err) => Err(err.into()),
    }
}

/// Ends an orphaned init, and with it every process in its pid namespace. If its monitor lives, and only the way to it
/// is gone, that writes down the end and tells of it.
fn end_orphan(id: &str, orphan: Process) -> Result<()> {
    let Ok(init) = pidfd::open(orphan.pid) else { return Ok(()) };
    let monitor = process::parent(orphan.pid).ok().and_then(|pid| pidfd::open(pid).ok().map(|fd| (pid, fd)));
    // The pid may be another process's by now; its start time tells. The descriptors were opened before, so what is
    // compared is what would be killed.
    if process::start_time(orphan.pid).ok() != Some(orphan.start) {
        return Ok(());
    }
    let monitor = monitor.filter(|(pid, _)| is_monitor_of(*pid, id));
    pidfd::send_signal(&init, signal::KILL).map_err(Error::system("cannot end the orphaned container"))?;
    pidfd::wait_exit(&init, PATIENCE).map_err(Error::system("the orphaned container does not end"))?;
    if let Some((_, monitor)) = monitor {
        pidfd::wait_exit(&monitor, PATIENCE).map_err(Error::system("the container's monitor does not end"))?;
    }
    Ok(())
}

fn is_monitor_of(pid: i32, id: &str) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut words = line.split(|byte| *byte == 0).skip(1);
    words.next() == Some(b"monitor") && words.next() == Some(id.as_bytes())
}
