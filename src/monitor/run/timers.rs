//! The monitor's one queue of deadlines.

use std::time::{Duration, Instant};

/// What a deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing has moved for a while: the buffers' pages are given back.
    Rest,
    /// Nobody has asked anything of a container that does not run: the monitor leaves.
    Desertion,
    /// Clients are let in again, after there was no descriptor left for one.
    Listen,
    /// A stop becomes a kill.
    Kill,
    /// The output of the exec session at this place is not waited for any longer.
    LastWords(usize),
    /// The containers' way out is looked at again.
    WayOut,
    /// Connections to published ports are accepted again, after there was no descriptor left for one.
    Ports,
    /// Clients of published ports of UDP are forgotten that have been silent for long.
    Datagrams,
    /// A question about a name, or a stream of such, has had its time.
    Names,
    /// Records of exec sessions that ended long ago go.
    Expiry,
}

/// Deadlines, each of its kind once.
#[derive(Debug, Default)]
pub struct Timers(Vec<(Instant, Due)>);

impl Timers {
    /// Sets a deadline; an earlier one of the same kind is forgotten.
    pub fn set(&mut self, due: Due, after: Duration) {
        self.cancel(due);
        self.0.push((Instant::now() + after, due));
    }

    /// Sets a deadline unless one of the same kind comes sooner.
    pub fn set_sooner(&mut self, due: Due, after: Duration) {
        if self.get(due).is_none_or(|at| at > Instant::now() + after) {
            self.set(due, after);
        }
    }

    /// Forgets a deadline.
    pub fn cancel(&mut self, due: Due) {
        self.0.retain(|(_, other)| *other != due);
    }

    /// When this one is due.
    fn get(&self, due: Due) -> Option<Instant> {
        self.0.iter().find(|(_, other)| *other == due).map(|(at, _)| *at)
    }

    /// How long until the next deadline.
    pub fn patience(&self) -> Option<Duration> {
        self.0.iter().map(|(at, _)| at.saturating_duration_since(Instant::now())).min()
    }

    /// Takes a deadline that has come.
    pub fn expired(&mut self) -> Option<Due> {
        let now = Instant::now();
        let place = self.0.iter().position(|(at, _)| *at <= now)?;
        Some(self.0.swap_remove(place).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_once_and_the_next_one_first() {
        let mut timers = Timers::default();
        assert_eq!((timers.patience(), timers.expired()), (None, None));
        timers.set(Due::Rest, Duration::ZERO);
        timers.set(Due::Rest, Duration::from_secs(100));
        assert_eq!(timers.expired(), None, "the later one counts");
        timers.set_sooner(Due::Kill, Duration::from_secs(50));
        timers.set_sooner(Due::Kill, Duration::from_secs(70));
        assert!(timers.patience().is_some_and(|left| left <= Duration::from_secs(50)));
        timers.set_sooner(Due::Kill, Duration::ZERO);
        assert_eq!((timers.expired(), timers.expired()), (Some(Due::Kill), None));
        timers.cancel(Due::Rest);
        assert_eq!(timers.patience(), None);
    }
}
