//! The queue of continuous batching: groups of contexts that wait to be prefilled, and sequences that are ready.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard},
};

use crate::Result;

/// A queue with two stages that several workers share.
///
/// *Groups* wait to be prefilled. The worker that needs more items prefills the next group, which turns it into *items* that
/// are ready. In generation a group is some contexts, and an item is a sequence whose context is prefilled.
pub(crate) struct Queue<G, T> {
    state: Mutex<State<G, T>>,
    changed: Condvar,
}

struct State<G, T> {
    groups: VecDeque<G>,
    ready: VecDeque<T>,
    /// How many groups are being prefilled.
    in_progress: usize,
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
    pub(crate) fn new(groups: impl IntoIterator<Item = G>) -> Self {
        let groups = groups.into_iter().collect();
        let state = State { groups, ready: VecDeque::new(), in_progress: 0, has_stopped: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
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

    /// Takes at most `wanted` items, each of which `fits`; prefills groups as long as too few are ready.
    ///
    /// Returns fewer if the next item does not fit or none is ready. A caller that `is_idle` blocks until other workers have
    /// prefilled their groups; an empty result then means that the queue is exhausted, has stopped, or holds no item that fits.
    pub(crate) fn take(
        &self,
        wanted: usize,
        is_idle: bool,
        mut fits: impl FnMut(&T) -> bool,
        prefill: impl Fn(G) -> Result<Vec<T>>,
    ) -> Result<Vec<T>> {
        let mut taken = Vec::new();
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
            if !state.groups.is_empty() {
                drop(state);
                self.prefill_next(&prefill)?;
            } else if is_idle && taken.is_empty() && state.in_progress > 0 {
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
    fn stop(&self) {
        self.lock().has_stopped = true;
        self.changed.notify_all();
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

/// Why a lock that several workers take cannot be poisoned.
pub(crate) const LOCK_IS_SOUND: &str = "no worker panics while it holds the lock";

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::Barrier,
        thread,
        time::Duration,
    };

    use super::*;
    use crate::Error;

    fn twice(group: u32) -> Result<Vec<u32>> {
        Ok(vec![group, group])
    }

    fn any(_: &u32) -> bool {
        true
    }

    #[test]
    fn groups_are_prefilled_as_items_are_wanted() {
        let queue = Queue::new(0..5);
        let prepared = queue.prefill_ahead(|ready| ready.len() >= 3, twice).expect("items");
        assert_eq!(prepared, Prepared { ready: 4, is_all: false });
        assert_eq!(queue.take(3, true, any, twice).expect("items"), [0, 0, 1]);
        assert_eq!(queue.take(2, false, any, twice).expect("items"), [1, 2]);
        assert_eq!(queue.take(9, false, |item| *item < 3, twice).expect("items"), [2]);
        let prepared = queue.prefill_ahead(|_| false, twice).expect("items");
        assert_eq!(prepared, Prepared { ready: 4, is_all: true });
        assert_eq!(queue.take(9, true, any, twice).expect("items"), [3, 3, 4, 4]);
        assert!(queue.take(9, true, any, twice).expect("nothing").is_empty());
    }

    #[test]
    fn an_idle_worker_waits_for_what_others_prefill() {
        let queue = Queue::new([7]);
        let both = Barrier::new(2);
        let slowly = |group| {
            both.wait();
            thread::sleep(Duration::from_millis(50));
            twice(group)
        };
        let taken = thread::scope(|scope| {
            let other = scope.spawn(|| queue.take(1, true, any, slowly));
            both.wait();
            let never = |_| unreachable!("the only group is being prefilled");
            assert!(queue.take(1, false, any, never).expect("nothing as yet").is_empty());
            let here = queue.take(1, true, any, never).expect("an item");
            [other.join().expect("no panic").expect("an item"), here]
        });
        assert_eq!(taken, [[7], [7]]);
    }

    #[test]
    fn no_worker_waits_for_one_that_has_failed() {
        let failing = Queue::new([7]);
        let refuse = |_: u32| Err::<Vec<u32>, _>(Error::invalid("group", 7, "even"));
        assert!(failing.take(1, true, any, refuse).is_err());
        assert!(failing.take(1, true, any, twice).expect("nothing").is_empty());

        let panicking = Queue::new([7]);
        let prefill = |_: u32| -> Result<Vec<u32>> { panic!("in the prefill") };
        assert!(catch_unwind(|| panicking.take(1, true, any, prefill)).is_err());
        assert!(panicking.take(1, true, any, twice).expect("nothing").is_empty());

        for panics in [false, true] {
            let queue = Queue::new([7]);
            assert!(queue.run_worker(|| Ok(())).is_ok() && !queue.has_stopped());
            let run = || queue.run_worker(|| if panics { panic!("in the worker") } else { refuse(7) });
            assert!(!matches!(catch_unwind(AssertUnwindSafe(run)), Ok(Ok(_))));
            assert!(queue.has_stopped());
            assert!(queue.take(1, true, any, twice).expect("nothing").is_empty());
        }
    }
}
