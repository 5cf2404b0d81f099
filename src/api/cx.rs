//! What a handler knows of its request besides what it extracts, and its way to the engine.

use std::sync::Arc;

use http::HeaderMap;

use super::body::{self, Output};
use super::error::ApiError;
use super::gate::Access;
use super::reply::{Media, Stream};
use super::version::ApiVersion;
use crate::engine::{self, Engine};
use crate::model::ErrorKind;

/// A request's context. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Cx(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    access: Access,
    version: ApiVersion,
    headers: HeaderMap,
}

impl Cx {
    /// The context of a request.
    pub fn new(access: Access, version: ApiVersion, headers: HeaderMap) -> Self {
        Self(Arc::new(Inner { access, version, headers }))
    }

    /// The API version that the request speaks.
    pub fn version(&self) -> ApiVersion {
        self.0.version
    }

    /// A header of the request, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.0.headers.get(name)?.to_str().ok()
    }

    /// Calls the engine on a blocking thread. The call goes on to its end even if the client leaves.
    ///
    /// # Errors
    /// The engine's; 500 if it panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Engine) -> engine::Result<T> + Send + 'static,
    ) -> Result<T, ApiError> {
        let (engine, job) = self.0.access.enter()?;
        blocking(move || {
            let _job = job;
            call(&engine)
        })
        .await
    }

    /// As [`Cx::run`] for what only looks at the host, and may hang with a file system there: once the client has left,
    /// this is no work any more, and the process may end with the thread still in it.
    ///
    /// # Errors
    /// As [`Cx::run`].
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce() -> engine::Result<T> + Send + 'static,
    ) -> Result<T, ApiError> {
        let (_engine, _job) = self.0.access.enter()?;
        blocking(look).await
    }

    /// Answers by a stream that a blocking thread writes. Until it first writes or flushes, its error is a status.
    ///
    /// # Errors
    /// The engine's, if it failed before it began to write.
    pub async fn stream<M: Media>(
        &self,
        write: impl FnOnce(&Engine, &mut Output) -> engine::Result<()> + Send + 'static,
    ) -> Result<Stream<M>, ApiError> {
        let (engine, job) = self.0.access.enter_stream()?;
        let body = body::stream(job, M::ERRORS_IN_BAND, move |out| write(&engine, out)).await?;
        Ok(Stream::new(body))
    }
}

async fn blocking<T: Send + 'static>(call: impl FnOnce() -> engine::Result<T> + Send + 'static) -> Result<T, ApiError> {
    let span = tracing::Span::current();
    match tokio::task::spawn_blocking(move || span.in_scope(call)).await {
        Ok(result) => Ok(result?),
        Err(err) => {
            tracing::error!("engine call failed: {err}");
            Err(ApiError::new(ErrorKind::System, "internal error: the request's thread panicked"))
        }
    }
}
