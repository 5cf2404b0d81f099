//! Bodies of requests, whether a handler wants them or not.

use std::fmt;

use hyper::body::{Body as _, Bytes, Incoming};

use http_body_util::BodyExt;

/// What is left of a body that nobody has read to its end.
#[derive(Debug)]
pub enum Leftover {
    /// The rest, which the client is sending.
    Coming(Incoming),
    /// The client waited to be asked for it (`Expect: 100-continue`), and nobody did.
    NotAskedFor,
}

/// Who cares for what is left.
type Care = Box<dyn FnOnce(Leftover) + Send>;

/// The body of a request. Dropped before its end, it is given to whom cares for the connection: a client that is still
/// sending reads its answer only after that.
pub struct Intake {
    body: Option<Incoming>,
    care: Option<Care>,
    /// The client sends it only when it is asked to, which reading does.
    on_request: bool,
}

impl Intake {
    /// A body, whether the client waits to be asked for it, and who cares for what is left.
    pub fn new(body: Incoming, on_request: bool, care: Box<dyn FnOnce(Leftover) + Send>) -> Self {
        Self { body: Some(body), care: Some(care), on_request }
    }

    /// Whether nothing (more) will come.
    pub fn is_end(&self) -> bool {
        self.body.as_ref().is_none_or(hyper::body::Body::is_end_stream)
    }

    /// At least how many bytes will come.
    pub fn at_least(&self) -> u64 {
        self.body.as_ref().map_or(0, |body| body.size_hint().lower())
    }

    /// The next bytes; none at its end.
    ///
    /// # Errors
    /// The client broke off, or broke HTTP's rules.
    pub async fn next(&mut self) -> Result<Option<Bytes>, hyper::Error> {
        self.on_request = false;
        while let Some(body) = &mut self.body {
            match body.frame().await {
                Some(Ok(frame)) => {
                    // Trailers are none of ours.
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(err)) => {
                    self.body = None;
                    return Err(err);
                }
                None => self.body = None,
            }
        }
        Ok(None)
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        if let (Some(body), Some(care)) = (self.body.take(), self.care.take())
            && !body.is_end_stream()
        {
            // Reading it would ask for it.
            care(if self.on_request { Leftover::NotAskedFor } else { Leftover::Coming(body) });
        }
    }
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake").field("body", &self.body).finish_non_exhaustive()
    }
}
