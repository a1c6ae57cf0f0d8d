//! The queue of continuous batching: groups of contexts that wait to be prefilled, and sequences that are ready. A *closed* queue has all
//! of its groups from the beginning; to an *open* one, groups are added while workers take from it.

#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard},
};

use crate::{RequestProblem, Result};

/// A queue with two stages that several workers share.
///
/// *Groups* wait to be prefilled. The worker that needs more items prefills the next group, which turns it into *items* that
/// are ready. In generation a group is some contexts, and an item is a sequence whose context is prefilled.
pub(crate) struct Queue<G, T> {
    state: Mutex<State<G, T>>,
    changed: Condvar,
    /// How many groups a worker that has items prefills at once, while its items wait.
    prefills: usize,
}

struct State<G, T> {
    groups: VecDeque<G>,
    ready: VecDeque<T>,
    /// How many groups are being prefilled.
    in_progress: usize,
    /// Whether groups may still be added.
    is_open: bool,
    has_stopped: bool,
}

/// How many items are ready, and whether all groups have been prefilled, so that there are no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prepared {
    pub(crate) ready: usize,
    pub(crate) is_all: bool,
}

/// Counts a group as being prefilled until it is dropped, on a panic too: no worker waits for one that has panicked.
struct InProgress<'a, G, T>(&'a Queue<G, T>);

impl<G, T> Drop for InProgress<'_, G, T> {
    fn drop(&mut self) {
        self.0.lock().in_progress -= 1;
        self.0.changed.notify_all();
    }
}

/// Stops the queue when it is dropped before its worker has succeeded, on a panic too.
struct StopOnFailure<'a, G, T> {
    queue: &'a Queue<G, T>,
    has_failed: bool,
}

impl<G, T> Drop for StopOnFailure<'_, G, T> {
    fn drop(&mut self) {
        if self.has_failed {
            self.queue.stop();
        }
    }
}

impl<G, T> Queue<G, T> {
    /// A closed queue.
    pub(crate) fn new(groups: impl IntoIterator<Item = G>) -> Self {
        Self::with(groups.into_iter().collect(), false, usize::MAX)
    }

    /// An open queue. A worker that has items prefills one group before it goes on with them, so that none of them waits for long.
    pub(crate) fn open() -> Self {
        Self::with(VecDeque::new(), true, 1)
    }

    fn with(groups: VecDeque<G>, is_open: bool, prefills: usize) -> Self {
        let state = State { groups, ready: VecDeque::new(), in_progress: 0, is_open, has_stopped: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), prefills }
    }

    /// Prefills groups until `is_enough` holds for the ready items, or no group is left.
    pub(crate) fn prefill_ahead(
        &self,
        is_enough: impl Fn(&VecDeque<T>) -> bool,
        prefill: impl Fn(G) -> Result<Vec<T>>,
    ) -> Result<Prepared> {
        loop {
            let state = self.lock();
            let (ready, is_all) = (state.ready.len(), state.groups.is_empty());
            if is_all || is_enough(&state.ready) {
                return Ok(Prepared { ready, is_all });
            }
            drop(state);
            self.prefill_next(&prefill)?;
        }
    }

    /// Takes at most `wanted` items, each of which `fits`; prefills groups as long as too few are ready, in an open queue only one.
    ///
    /// Returns fewer if the next item does not fit or none is ready. A caller that `is_idle` blocks until other workers have
    /// prefilled their groups, or a group is added to an open queue; an empty result then means that the queue is closed and
    /// exhausted, has stopped, or holds no item that fits.
    pub(crate) fn take(
        &self,
        wanted: usize,
        is_idle: bool,
        mut fits: impl FnMut(&T) -> bool,
        prefill: impl Fn(G) -> Result<Vec<T>>,
    ) -> Result<Vec<T>> {
        let mut taken = Vec::new();
        let mut prefilled = 0;
        loop {
            let mut state = self.lock();
            if state.has_stopped {
                return Ok(Vec::new());
            }
            while taken.len() < wanted
                && let Some(next) = state.ready.front()
            {
                if !fits(next) {
                    return Ok(taken);
                }
                taken.extend(state.ready.pop_front());
            }
            if taken.len() == wanted {
                return Ok(taken);
            }
            let must_have = is_idle && taken.is_empty();
            if !state.groups.is_empty() && (prefilled < self.prefills || must_have) {
                drop(state);
                self.prefill_next(&prefill)?;
                prefilled += 1;
            } else if must_have && (state.in_progress > 0 || state.is_open) {
                drop(self.changed.wait(state).expect(LOCK_IS_SOUND));
            } else {
                return Ok(taken);
            }
        }
    }

    /// Runs the work of one worker that takes items from this queue. If it fails or panics, the queue stops, and with it
    /// all other workers.
    pub(crate) fn run_worker<R>(&self, work: impl FnOnce() -> Result<R>) -> Result<R> {
        let mut guard = StopOnFailure { queue: self, has_failed: true };
        let done = work();
        guard.has_failed = done.is_err();
        done
    }

    pub(crate) fn has_stopped(&self) -> bool {
        self.lock().has_stopped
    }

    /// From here on [`take`](Self::take) returns no items.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        (state.has_stopped, state.is_open) = (true, false);
        self.changed.notify_all();
    }

    /// Whether an open queue holds items, or groups that no worker has taken.
    pub(crate) fn has_arrivals(&self) -> bool {
        let state = self.lock();
        state.is_open && !(state.groups.is_empty() && state.ready.is_empty())
    }

    /// Drops everything that nobody will take any more.
    pub(crate) fn clear(&self) {
        let mut state = self.lock();
        let left = (std::mem::take(&mut state.groups), std::mem::take(&mut state.ready));
        // What is dropped may call foreign code: not while the lock is held.
        drop(state);
        drop(left);
    }

    /// Prefills the next group; returns whether there was one.
    fn prefill_next(&self, prefill: impl Fn(G) -> Result<Vec<T>>) -> Result<bool> {
        let (group, _in_progress) = {
            let mut state = self.lock();
            let Some(group) = state.groups.pop_front() else { return Ok(false) };
            state.in_progress += 1;
            (group, InProgress(self))
        };
        let items = prefill(group)?;
        self.lock().ready.extend(items);
        Ok(true)
    }

    fn lock(&self) -> MutexGuard<'_, State<G, T>> {
        self.state.lock().expect(LOCK_IS_SOUND)
    }
}

/// The end of a queue at which groups are added, whatever its items are.
pub(crate) trait Entrance<G>: Send + Sync {
    /// Adds a group, unless the queue is closed or `most` groups wait.
    fn add(&self, group: G, most: usize) -> Result<(), RequestProblem>;

    /// Drops the waiting groups for which `is_wanted` does not hold.
    fn retain(&self, is_wanted: &dyn Fn(&G) -> bool);

    /// The number of groups that wait.
    fn waiting(&self) -> usize;

    /// Takes no more groups; those that there are will be finished.
    fn close(&self);

    /// Stops the workers, which finish nothing.
    fn abandon(&self);
}

impl<G: Send, T: Send> Entrance<G> for Queue<G, T> {
    fn add(&self, group: G, most: usize) -> Result<(), RequestProblem> {
        let mut state = self.lock();
        if !state.is_open {
            return Err(RequestProblem::Stopped);
        }
        if state.groups.len() >= most {
            return Err(RequestProblem::QueueFull { waiting: state.groups.len() });
        }
        state.groups.push_back(group);
        self.changed.notify_all();
        Ok(())
    }

    fn retain(&self, is_wanted: &dyn Fn(&G) -> bool) {
        let mut state = self.lock();
        let (wanted, unwanted): (Vec<G>, Vec<G>) =
            std::mem::take(&mut state.groups).into_iter().partition(is_wanted);
        state.groups = wanted.into();
        drop(state);
        drop(unwanted);
    }

    fn waiting(&self) -> usize {
        self.lock().groups.len()
    }

    fn close(&self) {
        self.lock().is_open = false;
        self.changed.notify_all();
    }

    fn abandon(&self) {
        self.stop();
    }
}

/// Why a lock that several workers take cannot be poisoned.
pub(crate) const LOCK_IS_SOUND: &str = "no worker panics while it holds the lock";
