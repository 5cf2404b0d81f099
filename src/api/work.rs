//! What the API process is busy with: it must not exit while this is not zero.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Streams that may go on at a time: each has a thread of its own, and calls must find one, too.
pub const STREAMS: usize = 4000;

/// Counts exchanges and engine calls in progress. Streams are counted apart: a request to terminate does not wait
/// for them.
#[derive(Debug, Default)]
pub struct Work {
    short: AtomicUsize,
    streams: AtomicUsize,
    /// Threads that are taken, or about to be, by streams.
    threads: AtomicUsize,
    changed: Notify,
}

/// One piece of work; it ends when this is dropped.
#[derive(Debug)]
pub struct Job {
    work: Arc<Work>,
    stream: bool,
    thread: bool,
}

impl Work {
    /// Begins a piece of work that ends by itself.
    pub fn begin(self: &Arc<Self>) -> Job {
        self.short.fetch_add(1, Ordering::SeqCst);
        Job { work: Arc::clone(self), stream: false, thread: false }
    }

    /// Begins a piece of work that will be a stream of a thread's; none if there are too many.
    pub fn begin_stream(self: &Arc<Self>) -> Option<Job> {
        let place = |taken| (taken < STREAMS).then_some(taken + 1);
        self.threads.fetch_update(Ordering::SeqCst, Ordering::SeqCst, place).ok()?;
        let mut job = self.begin();
        job.thread = true;
        Some(job)
    }

    /// How many pieces are in progress that end by themselves.
    pub fn short(&self) -> usize {
        self.short.load(Ordering::SeqCst)
    }

    /// How many pieces are in progress.
    pub fn all(&self) -> usize {
        self.short() + self.streams.load(Ordering::SeqCst)
    }

    /// Waits until something has ended since the last call.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl Job {
    /// From now on this is a stream, which may go on for ever.
    pub fn into_stream(mut self) -> Self {
        self.become_stream();
        self
    }

    /// As [`Job::into_stream`], in place.
    pub fn become_stream(&mut self) {
        if !self.stream {
            self.stream = true;
            self.work.streams.fetch_add(1, Ordering::SeqCst);
            self.work.short.fetch_sub(1, Ordering::SeqCst);
            self.work.changed.notify_one();
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if self.thread {
            self.work.threads.fetch_sub(1, Ordering::SeqCst);
        }
        let counter = if self.stream { &self.work.streams } else { &self.work.short };
        counter.fetch_sub(1, Ordering::SeqCst);
        self.work.changed.notify_one();
    }
}
