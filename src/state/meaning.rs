//! What a container's state means, given who lives: a pure function. What follows from it is the engine's to do, under
//! the container's lock.

use super::container::{StateRecord, Status};

/// The lock that a monitor holds for as long as it supervises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockSeen {
    /// Somebody has it: a monitor lives, or another process is mending.
    Held,
    /// Its file is there, and nobody has it.
    Free,
    /// There is no such file.
    Missing,
}

/// What was found beside the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The monitor's lock.
    pub lock: LockSeen,
    /// Whether the state was written in this boot.
    pub same_boot: bool,
    /// Whether the process that the state names exists: the same one, by its start time.
    pub alive: bool,
    /// Whether the end waits in the run directory for its place.
    pub late: bool,
    /// Whether the monitor's socket is there: a monitor takes it away when it has done everything.
    pub door: bool,
    /// Whether the container is to be removed at its end.
    pub temporary: bool,
}

/// What a state means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// What it says.
    AsSaid,
    /// It says running, and nobody supervises: the end was not seen.
    Lost(Loss),
    /// It has ended, and what an end brings with it may not all be done.
    Unfinished,
}

/// How an end came to be unseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The boot is another one.
    Reboot,
    /// The monitor was killed; its container may live.
    Monitor,
    /// The run directory is gone, as at a user's last logout, and with it the way to a monitor that may live, and its
    /// container too. Nobody can reach them any more, so they are ended.
    Way,
}

impl Loss {
    /// For a person.
    pub fn text(self) -> &'static str {
        match self {
            Self::Reboot => "the machine was restarted",
            Self::Monitor => "the container's monitor was killed",
            Self::Way => "the run directory was removed, and with it the way to the container's monitor",
        }
    }
}

/// What a state means.
pub fn meaning(state: &StateRecord, facts: &Facts) -> Meaning {
    // Its holder is the state's one writer: nobody else judges.
    if facts.lock == LockSeen::Held {
        return Meaning::AsSaid;
    }
    if state.is_running() {
        return Meaning::Lost(match facts {
            Facts { same_boot: false, .. } => Loss::Reboot,
            Facts { lock: LockSeen::Missing, alive: true, .. } => Loss::Way,
            _ => Loss::Monitor,
        });
    }
    // The power went before the outcome was written, or before that was on the disk. A monitor that was killed in this
    // boot has told nobody of an outcome, and leaves its lock's file.
    if state.starting && (!facts.same_boot || facts.lock == LockSeen::Missing) {
        return Meaning::Lost(if facts.same_boot { Loss::Monitor } else { Loss::Reboot });
    }
    match facts.late || facts.door || (facts.temporary && is_over(state)) {
        true => Meaning::Unfinished,
        false => Meaning::AsSaid,
    }
}

/// Whether a container that is to be removed at its end is at it: it has ended, or could not be started.
pub fn is_over(state: &StateRecord) -> bool {
    match state.status {
        Status::Exited => !state.kept,
        Status::Created => !state.error.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nobody lives, nothing is left over.
    const QUIET: Facts =
        Facts { lock: LockSeen::Free, same_boot: true, alive: false, late: false, door: false, temporary: false };

    fn state(status: Status) -> StateRecord {
        StateRecord { status, ..StateRecord::default() }
    }

    #[test]
    fn whoever_has_the_lock_is_right() {
        for status in [Status::Created, Status::Running, Status::Paused, Status::Exited] {
            for bits in 0..32 {
                let bit = |n: u8| bits & (1 << n) != 0;
                let facts = Facts {
                    lock: LockSeen::Held,
                    same_boot: bit(0),
                    alive: bit(1),
                    late: bit(2),
                    door: bit(3),
                    temporary: bit(4),
                };
                assert_eq!(meaning(&state(status), &facts), Meaning::AsSaid, "{facts:?}");
            }
        }
    }

    #[test]
    fn running_without_a_monitor_is_lost() {
        let lost = |facts: Facts| {
            let meanings = [Status::Running, Status::Paused].map(|status| meaning(&state(status), &facts));
            assert_eq!(meanings[0], meanings[1]);
            meanings[0]
        };
        for (lock, same_boot, alive, loss) in [
            (LockSeen::Free, true, false, Loss::Monitor),
            (LockSeen::Free, true, true, Loss::Monitor),
            (LockSeen::Missing, true, false, Loss::Monitor),
            (LockSeen::Missing, true, true, Loss::Way),
            (LockSeen::Missing, false, false, Loss::Reboot),
            // A process of this boot that happens to have the number.
            (LockSeen::Missing, false, true, Loss::Reboot),
            (LockSeen::Free, false, false, Loss::Reboot),
        ] {
            for (late, door, temporary) in [(false, false, false), (true, true, true), (false, true, false)] {
                let facts = Facts { lock, same_boot, alive, late, door, temporary };
                assert_eq!(lost(facts), Meaning::Lost(loss), "{facts:?}");
            }
        }
    }

    #[test]
    fn a_start_that_a_loss_of_power_met_is_lost() {
        for status in [Status::Created, Status::Exited] {
            let begun = StateRecord { starting: true, ..state(status) };
            let other_boot = Facts { same_boot: false, lock: LockSeen::Missing, ..QUIET };
            assert_eq!(meaning(&begun, &other_boot), Meaning::Lost(Loss::Reboot));
            let no_way = Facts { lock: LockSeen::Missing, ..QUIET };
            assert_eq!(meaning(&begun, &no_way), Meaning::Lost(Loss::Monitor));
            // Its monitor was killed, and whoever asked for the start was told.
            assert_eq!(meaning(&begun, &QUIET), Meaning::AsSaid);
        }
    }

    #[test]
    fn an_end_may_be_unfinished() {
        for (status, facts, expected) in [
            (Status::Exited, QUIET, Meaning::AsSaid),
            (Status::Exited, Facts { lock: LockSeen::Missing, same_boot: false, ..QUIET }, Meaning::AsSaid),
            (Status::Exited, Facts { door: true, ..QUIET }, Meaning::Unfinished),
            (Status::Exited, Facts { late: true, ..QUIET }, Meaning::Unfinished),
            (Status::Exited, Facts { temporary: true, ..QUIET }, Meaning::Unfinished),
            (Status::Exited, Facts { temporary: true, lock: LockSeen::Missing, ..QUIET }, Meaning::Unfinished),
            (Status::Created, QUIET, Meaning::AsSaid),
            (Status::Created, Facts { temporary: true, ..QUIET }, Meaning::AsSaid),
            (Status::Created, Facts { door: true, ..QUIET }, Meaning::Unfinished),
        ] {
            assert_eq!(meaning(&state(status), &facts), expected, "{status:?} {facts:?}");
        }
    }

    #[test]
    fn what_goes_at_its_end_goes() {
        let kept = StateRecord { kept: true, ..state(Status::Exited) };
        let failed = StateRecord { error: "no such file".to_owned(), ..state(Status::Created) };
        let over = [state(Status::Exited), kept, state(Status::Created), failed, state(Status::Running)];
        assert_eq!(over.map(|state| is_over(&state)), [true, false, false, true, false]);
    }
}
