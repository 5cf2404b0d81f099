//! The same for many things, a few at a time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::registry;

use super::{Error, Result};

/// Does `work` on each thing, with this many threads. Its arguments: the thing; whether all is to stop; whom to tell. The
/// first failure ends all.
///
/// # Errors
/// The first of `work`'s.
pub fn each<T: Send, R: Send, S: Send>(
    threads: usize,
    things: Vec<T>,
    work: impl Fn(T, &AtomicBool, &dyn Fn(S)) -> Result<R> + Sync,
    tell: &mut dyn FnMut(S),
) -> Result<Vec<R>> {
    let threads = threads.min(things.len());
    let (queue, failed) = (Mutex::new(VecDeque::from(things)), AtomicBool::new(false));
    let (steps, told) = mpsc::channel::<S>();
    thread::scope(|scope| {
        let (queue, failed, work) = (&queue, &failed, &work);
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let steps = steps.clone();
                scope.spawn(move || {
                    let tell = |step| drop(steps.send(step));
                    let mut done = Vec::new();
                    while !failed.load(Ordering::Relaxed) {
                        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                        let Some(thing) = next else { break };
                        match work(thing, failed, &tell) {
                            Ok(one) => done.push(one),
                            Err(err) => {
                                failed.store(true, Ordering::Relaxed);
                                return Err(err);
                            }
                        }
                    }
                    Ok(done)
                })
            })
            .collect();
        drop(steps);
        told.into_iter().for_each(&mut *tell);
        let (mut all, mut failure) = (Vec::new(), None);
        for worker in workers {
            let panicked = |_| Err(Error::Invalid("a thread panicked".to_owned()));
            match worker.join().unwrap_or_else(panicked) {
                Ok(done) => all.extend(done),
                // The others were only told to stop.
                Err(Error::Registry(registry::Error::Cancelled)) if failure.is_some() => {}
                Err(err) => failure = Some(err),
            }
        }
        failure.map_or(Ok(all), Err)
    })
}
