//! Items that wait for a place in a batch.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard},
};

use crate::Result;

/// Items that come from *groups*, each of which has to be opened first by one of the workers that take the items: sequences
/// that are ready to be drawn once the contexts of their group have been read.
pub(crate) struct Queue<G, T> {
    state: Mutex<State<G, T>>,
    changed: Condvar,
}

struct State<G, T> {
    groups: VecDeque<G>,
    ready: VecDeque<T>,
    /// How many groups are being opened.
    in_work: usize,
    has_stopped: bool,
}

/// How many items are ready, and whether there are no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prepared {
    pub(crate) ready: usize,
    pub(crate) is_all: bool,
}

/// A group is being opened as long as this lives: nobody waits for somebody who has panicked.
struct InWork<'a, G, T>(&'a Queue<G, T>);

impl<G, T> Drop for InWork<'_, G, T> {
    fn drop(&mut self) {
        self.0.lock().in_work -= 1;
        self.0.changed.notify_all();
    }
}

/// Somebody takes items as long as this lives.
struct Serving<'a, G, T> {
    queue: &'a Queue<G, T>,
    has_failed: bool,
}

impl<G, T> Drop for Serving<'_, G, T> {
    fn drop(&mut self) {
        if self.has_failed {
            self.queue.stop();
        }
    }
}

impl<G, T> Queue<G, T> {
    pub(crate) fn new(groups: impl IntoIterator<Item = G>) -> Self {
        let groups = groups.into_iter().collect();
        let state = State { groups, ready: VecDeque::new(), in_work: 0, has_stopped: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Opens groups until those items that are ready are `enough`, or no group is left.
    pub(crate) fn prefill_ahead(
        &self,
        enough: impl Fn(&VecDeque<T>) -> bool,
        open: impl Fn(G) -> Result<Vec<T>>,
    ) -> Result<Prepared> {
        loop {
            let state = self.lock();
            let (ready, is_all) = (state.ready.len(), state.groups.is_empty());
            if is_all || enough(&state.ready) {
                return Ok(Prepared { ready, is_all });
            }
            drop(state);
            self.open_next(&open)?;
        }
    }

    /// At most `wanted` items, each of which `fits`. There are fewer where the next does not fit, or no more are to be had just
    /// now. Whoever `is_idle` waits until others have opened their groups; that there is nothing then means that nothing will
    /// come.
    pub(crate) fn take(
        &self,
        wanted: usize,
        is_idle: bool,
        mut fits: impl FnMut(&T) -> bool,
        open: impl Fn(G) -> Result<Vec<T>>,
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
                self.open_next(&open)?;
            } else if is_idle && taken.is_empty() && state.in_work > 0 {
                drop(self.changed.wait(state).expect(LOCK_IS_SOUND));
            } else {
                return Ok(taken);
            }
        }
    }

    /// Does work that takes from here. If it fails or panics, all others stop as well.
    pub(crate) fn serve<R>(&self, work: impl FnOnce() -> Result<R>) -> Result<R> {
        let mut serving = Serving { queue: self, has_failed: true };
        let done = work();
        serving.has_failed = done.is_err();
        done
    }

    pub(crate) fn has_stopped(&self) -> bool {
        self.lock().has_stopped
    }

    /// Nobody gets anything from here on.
    fn stop(&self) {
        self.lock().has_stopped = true;
        self.changed.notify_all();
    }

    /// Opens a group; returns whether there was one.
    fn open_next(&self, open: impl Fn(G) -> Result<Vec<T>>) -> Result<bool> {
        let (group, _work) = {
            let mut state = self.lock();
            let Some(group) = state.groups.pop_front() else { return Ok(false) };
            state.in_work += 1;
            (group, InWork(self))
        };
        let items = open(group)?;
        self.lock().ready.extend(items);
        Ok(true)
    }

    fn lock(&self) -> MutexGuard<'_, State<G, T>> {
        self.state.lock().expect(LOCK_IS_SOUND)
    }
}

/// What a lock that several workers take relies on.
pub(crate) const LOCK_IS_SOUND: &str = "nobody panics with the lock in hand";

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
    fn groups_are_opened_as_items_are_wanted() {
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
    fn who_has_nothing_waits_for_what_others_open() {
        let queue = Queue::new([7]);
        let both = Barrier::new(2);
        let slowly = |group| {
            both.wait();
            thread::sleep(Duration::from_millis(50));
            twice(group)
        };
        let taken = thread::scope(|scope| {
            let opener = scope.spawn(|| queue.take(1, true, any, slowly));
            both.wait();
            let never = |_| unreachable!("the only group is open");
            assert!(queue.take(1, false, any, never).expect("nothing as yet").is_empty());
            let other = queue.take(1, true, any, never).expect("an item");
            [opener.join().expect("no panic").expect("an item"), other]
        });
        assert_eq!(taken, [[7], [7]]);
    }

    #[test]
    fn nobody_waits_for_one_who_has_failed() {
        let failing = Queue::new([7]);
        let refuse = |_: u32| Err::<Vec<u32>, _>(Error::invalid("group", 7, "even"));
        assert!(failing.take(1, true, any, refuse).is_err());
        assert!(failing.take(1, true, any, twice).expect("nothing").is_empty());

        let panicking = Queue::new([7]);
        let open = |_: u32| -> Result<Vec<u32>> { panic!("opened") };
        assert!(catch_unwind(|| panicking.take(1, true, any, open)).is_err());
        assert!(panicking.take(1, true, any, twice).expect("nothing").is_empty());

        for panics in [false, true] {
            let queue = Queue::new([7]);
            assert!(queue.serve(|| Ok(())).is_ok() && !queue.has_stopped());
            let serve = || queue.serve(|| if panics { panic!("served") } else { refuse(7) });
            assert!(!matches!(catch_unwind(AssertUnwindSafe(serve)), Ok(Ok(_))));
            assert!(queue.has_stopped());
            assert!(queue.take(1, true, any, twice).expect("nothing").is_empty());
        }
    }
}
