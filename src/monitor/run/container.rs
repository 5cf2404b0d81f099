//! The launcher of real containers: the runtime, called in a starter.

use std::time::Duration;

use super::launch::{Launcher, Refusal, Started, Stdio};
use crate::holder::Entered;
use crate::monitor::protocol::Failure;
use crate::runtime::{self, Exec, Start, StartError, StartErrorKind};
use crate::state::exec::ExecRecord;
use crate::state::paths::Home;
use crate::state::store;
use crate::sys::pidfd;

/// How long a container may take to end that a process could not be started in: the reason may be that it ends.
const DYING: Duration = Duration::from_millis(100);

/// One container, for the runtime.
#[derive(Debug)]
pub struct Container {
    home: Home,
    id: String,
    /// Held as long as the container: it keeps the user's namespaces.
    entered: Entered,
}

impl Container {
    /// The container with this id, in the namespaces that this process has entered.
    pub fn new(home: &Home, id: &str, entered: Entered) -> Self {
        Self { home: home.clone(), id: id.to_owned(), entered }
    }
}

impl Launcher for Container {
    fn start(&self, stdio: Stdio) -> Result<Started, Refusal> {
        let record = store::load(&self.home, &self.id).map_err(Refusal::system)?;
        let start = Start { home: &self.home, entered: &self.entered, record: &record, cgroup: None, stdio };
        runtime::start(start).map_err(refusal)
    }

    fn exec(&self, session: &ExecRecord, init: i32, stdio: Stdio) -> Result<Started, Refusal> {
        let record = store::load(&self.home, &self.id).map_err(Refusal::system)?;
        let exec = Exec { home: &self.home, record: &record, session, init, cgroup: None, stdio };
        let container = pidfd::open(init);
        let result = runtime::exec(exec);
        if let Err(StartError { kind: StartErrorKind::Other, .. }) = &result
            && container.map_or(true, |container| pidfd::wait_exit(container, DYING).is_ok())
        {
            let message = format!("container {} is not running", self.id);
            return Err(Refusal { failure: Failure::Conflict, message });
        }
        result.map_err(refusal)
    }

    fn delete(&self) {
        runtime::delete(&self.home, &self.id, None);
    }
}

/// A failure as the monitor's clients are told it.
fn refusal(error: StartError) -> Refusal {
    Refusal {
        failure: match error.kind {
            StartErrorKind::NotFound => Failure::CommandNotFound,
            StartErrorKind::NotExecutable => Failure::NotExecutable,
            StartErrorKind::Other => Failure::System,
        },
        message: error.message,
    }
}
