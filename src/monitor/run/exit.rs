//! The end of the container: first the record, then the event, then the cleaning up, then those who wait are told, and
//! last what makes it survive a crash of the machine.
//!
//! A kill between any two steps leaves something that the next pierless process that looks can finish.

use super::control::Waits;
use super::{MAIN, Phase, Supervisor};
use crate::model::time::{self, SECOND};
use crate::monitor::protocol::Reply;
use crate::state::container::Status;
use crate::state::events::{self, Event};
use crate::state::{ending, store};

impl Supervisor {
    /// The container's process has ended with this code.
    pub(super) fn ended(&mut self, code: i32) {
        let data = self.data();
        let session = self.sessions[MAIN].as_mut().expect("the container's own session stays");
        session.ended = Some(code);
        session.last_words(&mut self.io, &data, &mut self.watch);
        session.disconnect(&mut self.watch);

        self.state.status = Status::Exited;
        self.state.pid = 0;
        self.state.exit_code = code;
        self.state.finished_at = time::now();
        self.state.exits += 1;
        // From here on every process sees the end. That it is on the disk is seen to last of all.
        self.commit_exit();

        let seconds = (self.state.finished_at - self.state.started_at) / SECOND;
        self.emit("die", &[("exitCode", code.to_string()), ("execDuration", seconds.to_string())]);

        self.end_execs();
        self.clean_up();
        self.answer_all(&Reply::Exited { code }, |waits| matches!(waits, Waits::End));
        self.leave();
        ending::persist(&self.home, &self.id);
    }

    /// Removes what the container has beside its files, and those too if it was to be removed. The records of exec
    /// sessions stay until the next start: who sees a stream end looks for its exit code there.
    pub(super) fn clean_up(&mut self) {
        self.launcher.delete();
        if self.settings.auto_remove {
            self.remove();
        }
    }

    /// `--rm`. Somebody else may be removing it at the same time.
    fn remove(&self) {
        let Ok(record) = store::load(&self.home, &self.id) else { return };
        match store::remove(&self.home, &self.id, &record.name) {
            Ok(()) => {
                if let Err(error) = events::append(&self.home, &Event::container(&record, "destroy", &[])) {
                    self.complain(&format!("event destroy: {error}"));
                }
            }
            Err(crate::state::Error::Missing(_)) => {}
            Err(error) => self.complain(&format!("removal: {error}")),
        }
    }

    /// Ends the monitor's duties. It stays only as long as a client has not got everything, and then keeps nobody from
    /// starting the container anew.
    pub(super) fn leave(&mut self) {
        let data = self.data();
        self.phase = Phase::Over;
        let session = self.sessions[MAIN].as_mut().expect("the container's own session stays");
        session.finish_clients(MAIN, &data, &mut self.watch);
        self.close_door();
    }
}
