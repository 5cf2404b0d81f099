//! The step before the first engine call: entering the user's namespaces.
//!
//! Making them takes two setuid programs and several times as long as all else that an answer needs, and most of what
//! wakes an API (a ping, a version) does not touch the engine. So it is done at the first engine call, on the
//! runtime's own thread while that is still the only one: a process with threads cannot do it.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::error::ApiError;
use super::work::{Job, STREAMS, Work};
use crate::engine::Engine;
use crate::model::ErrorKind;

/// Enters; what it gives is kept as long as the API is.
pub type Enter = Box<dyn FnOnce() -> Result<Box<dyn Any + Send>, (ErrorKind, String)> + Send>;

/// Passed by every engine call.
#[derive(Clone)]
pub struct Gate(Arc<Mutex<State>>);

enum State {
    Closed(Enter),
    Open(#[allow(dead_code, reason = "held for what its existence keeps")] Box<dyn Any + Send>),
    Failed(ApiError),
}

impl Gate {
    /// A gate that is opened so.
    pub fn new(enter: Enter) -> Self {
        Self(Arc::new(Mutex::new(State::Closed(enter))))
    }

    /// Opens it, if that was not done. Returns whether it was done now.
    ///
    /// # Errors
    /// Why it could not be opened: then and from then on, for half an entry cannot be repeated.
    pub fn open(&self) -> Result<bool, ApiError> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*state {
            State::Open(_) => return Ok(false),
            State::Failed(err) => return Err(err.clone()),
            State::Closed(_) => {}
        }
        let failed = State::Failed(ApiError::new(ErrorKind::System, "entering the user's namespaces was broken off"));
        let State::Closed(enter) = std::mem::replace(&mut *state, failed) else { return Ok(false) };
        match enter() {
            Ok(kept) => {
                *state = State::Open(kept);
                Ok(true)
            }
            Err((kind, message)) => {
                tracing::error!("{message}");
                let err = ApiError::new(kind, message);
                *state = State::Failed(err.clone());
                Err(err)
            }
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate")
    }
}

/// The way to the engine, through the gate.
#[derive(Debug, Clone)]
pub struct Access {
    engine: Arc<Engine>,
    work: Arc<Work>,
    gate: Gate,
}

impl Access {
    /// The way to this engine.
    pub fn new(engine: Engine, work: Arc<Work>, gate: Gate) -> Self {
        Self { engine: Arc::new(engine), work, gate }
    }

    /// The engine for one call, which is work until the job is dropped. The first time, the user's namespaces are
    /// entered, and what killed processes left is finished beside the call.
    ///
    /// # Errors
    /// The namespaces cannot be entered.
    pub fn enter(&self) -> Result<(Arc<Engine>, Job), ApiError> {
        self.open()?;
        Ok((Arc::clone(&self.engine), self.work.begin()))
    }

    /// The same for a stream, which may go on for ever.
    ///
    /// # Errors
    /// There are too many.
    pub fn enter_stream(&self) -> Result<(Arc<Engine>, Job), ApiError> {
        self.open()?;
        let full = || ApiError::new(ErrorKind::Unavailable, format!("{STREAMS} clients follow or wait already"));
        Ok((Arc::clone(&self.engine), self.work.begin_stream().ok_or_else(full)?))
    }

    fn open(&self) -> Result<(), ApiError> {
        if self.gate.open()? {
            let (engine, job) = (Arc::clone(&self.engine), self.work.begin());
            tokio::task::spawn_blocking(move || {
                let _job = job;
                engine.recover();
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::state::paths::Home;

    #[test]
    fn one_stream_too_many_is_refused_and_calls_are_not() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let home = Home { data: dir.path().join("data"), run: dir.path().join("run") };
        let access = Access::new(
            Engine::new(home),
            Arc::default(),
            Gate::new(Box::new(|| Ok(Box::new(()) as Box<dyn Any + Send>))),
        );
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        let _entered = runtime.enter();
        let mut streams: Vec<_> = (0..STREAMS).map(|_| access.enter_stream().expect("a stream")).collect();
        let refused = access.enter_stream().expect_err("one too many");
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.message(), "4000 clients follow or wait already");
        access.enter().expect("a call");
        // Whatever became of it, its place is free when it is over.
        drop(streams.pop().map(|(engine, job)| (engine, job.into_stream())));
        streams.push(access.enter_stream().expect("a stream"));
        access.enter_stream().expect_err("one too many");
    }
}
