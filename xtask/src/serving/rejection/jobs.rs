//! Requests that wait to be drawn, and those that are being drawn.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    contexts::TextContext,
    serving::engine::{DrawEvent, Drawing, EngineLoad, OnEvent, Refusal},
};

/// Samples of a target in one context, which are asked for.
pub(super) struct Job {
    pub(super) context: TextContext,
    /// The key of the random streams, and the number of the stream from which those of this job are derived.
    pub(super) seed: u64,
    pub(super) stream: u64,
    pub(super) count: usize,
    /// A sample that has more tokens is cut.
    pub(super) max_tokens: usize,
    pub(super) cancelled: Arc<Cancelled>,
    pub(super) on_event: OnEvent,
}

/// The completions that nobody waits for any more.
pub(super) struct Cancelled(Vec<AtomicBool>);

/// Requests in the order in which they came.
pub(super) struct Jobs {
    most_waiting: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    running: usize,
    is_closed: bool,
}

/// A job that is being drawn.
pub(super) struct Running<'a> {
    pub(super) job: Job,
    jobs: &'a Jobs,
}

impl Cancelled {
    pub(super) fn new(count: usize) -> Arc<Self> {
        Arc::new(Self((0..count).map(|_| AtomicBool::new(false)).collect()))
    }

    pub(super) fn has(&self, completion: usize) -> bool {
        self.0.get(completion).is_none_or(|cancelled| cancelled.load(Ordering::Relaxed))
    }

    pub(super) fn has_all(&self) -> bool {
        (0..self.0.len()).all(|completion| self.has(completion))
    }
}

/// The request's own hold on its job: without it, nobody waits.
pub(super) struct Handle(pub(super) Arc<Cancelled>);

impl Drawing for Handle {
    fn cancel(&self, completion: usize) {
        if let Some(cancelled) = self.0.0.get(completion) {
            cancelled.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        (0..self.0.0.len()).for_each(|completion| self.cancel(completion));
    }
}

impl Jobs {
    pub(super) fn new(most_waiting: usize) -> Self {
        Self { most_waiting, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Adds a job.
    ///
    /// # Errors
    /// [`Refusal::Busy`] if as many wait as may; [`Refusal::Stopped`].
    pub(super) fn push(&self, job: Job) -> Result<(), Refusal> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(Refusal::Stopped);
        }
        // Those that nobody waits for any more take no place.
        state.waiting.retain(|job| !job.cancelled.has_all());
        if state.waiting.len() >= self.most_waiting {
            let message =
                format!("{} requests wait already; allowed: {}", state.waiting.len(), self.most_waiting);
            return Err(Refusal::Busy(message));
        }
        state.waiting.push_back(job);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// The next job, as soon as there is one; `None` when there will be none any more.
    pub(super) fn next(&self) -> Option<Running<'_>> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.waiting.pop_front() {
                state.running += 1;
                return Some(Running { job, jobs: self });
            }
            if state.is_closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(super) fn load(&self) -> EngineLoad {
        let state = self.lock();
        EngineLoad { waiting: state.waiting.len(), running: state.running }
    }

    /// Takes no more jobs.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job {
    pub(super) fn tell(&mut self, event: DrawEvent) {
        (self.on_event)(event);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.jobs.lock().running -= 1;
    }
}
