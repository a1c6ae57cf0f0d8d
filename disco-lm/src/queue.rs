//! Items that wait for a place in a batch.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard},
};

use crate::Result;

/// For a smaller share of somebody's places no group is opened.
const WORTH_OPENING: f64 = 0.25;

/// Items that come from *groups*, each of which has to be opened first by one of the strands that take the items: sequences
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

/// A group is being opened as long as this lives: nobody waits for somebody who has panicked.
struct InWork<'a, G, T>(&'a Queue<G, T>);

impl<G, T> Drop for InWork<'_, G, T> {
    fn drop(&mut self) {
        self.0.lock().in_work -= 1;
        self.0.changed.notify_all();
    }
}

impl<G, T> Queue<G, T> {
    pub(crate) fn new(groups: impl IntoIterator<Item = G>) -> Self {
        let groups = groups.into_iter().collect();
        let state = State { groups, ready: VecDeque::new(), in_work: 0, has_stopped: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Opens groups until `count` items are ready, or no group is left.
    pub(crate) fn prepare(&self, count: usize, open: impl Fn(G) -> Result<Vec<T>>) -> Result<()> {
        while self.lock().ready.len() < count && self.open_next(&open)? {}
        Ok(())
    }

    /// At most `wanted` items for somebody who has `places` in all. There are fewer where no more are ready and they are too few
    /// to open a group for. Whoever has nothing at all waits for others to open their groups; that there is nothing then means
    /// that nothing will come.
    pub(crate) fn take(
        &self,
        wanted: usize,
        places: usize,
        open: impl Fn(G) -> Result<Vec<T>>,
    ) -> Result<Vec<T>> {
        let mut taken = Vec::new();
        loop {
            let mut state = self.lock();
            if state.has_stopped {
                return Ok(Vec::new());
            }
            let count = (wanted - taken.len()).min(state.ready.len());
            taken.extend(state.ready.drain(..count));
            let missing = wanted - taken.len();
            if missing == 0 || (missing as f64) < WORTH_OPENING * places as f64 {
                return Ok(taken);
            }
            if !state.groups.is_empty() {
                drop(state);
                self.open_next(&open)?;
            } else if missing == places && state.in_work > 0 {
                drop(self.changed.wait(state).expect(UNBROKEN));
            } else {
                return Ok(taken);
            }
        }
    }

    /// Nobody gets anything from here on.
    pub(crate) fn stop(&self) {
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
        self.state.lock().expect(UNBROKEN)
    }
}

const UNBROKEN: &str = "nobody panics with the lock in hand";

#[cfg(test)]
mod tests {
    use std::{panic::catch_unwind, sync::Barrier, thread, time::Duration};

    use super::*;
    use crate::Error;

    fn twice(group: u32) -> Result<Vec<u32>> {
        Ok(vec![group, group])
    }

    #[test]
    fn groups_are_opened_as_items_are_wanted() {
        let queue = Queue::new(0..6);
        queue.prepare(3, twice).expect("items");
        assert_eq!(queue.lock().ready, [0, 0, 1, 1]);
        assert_eq!(queue.take(3, 3, twice).expect("items"), [0, 0, 1]);
        assert_eq!(queue.take(2, 4, twice).expect("items"), [1, 2]);
        // One is ready, and one more is not worth a group to somebody with eight places.
        assert_eq!(queue.take(2, 8, twice).expect("items"), [2]);
        assert_eq!(queue.take(2, 8, twice).expect("items"), [3, 3]);
        assert_eq!(queue.take(100, 100, twice).expect("items"), [4, 4, 5, 5]);
        assert!(queue.take(100, 100, twice).expect("nothing").is_empty());
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
            let opener = scope.spawn(|| queue.take(1, 1, slowly));
            both.wait();
            let other = queue.take(1, 1, |_| unreachable!("the only group is open")).expect("an item");
            [opener.join().expect("no panic").expect("an item"), other]
        });
        assert_eq!(taken, [[7], [7]]);
    }

    #[test]
    fn nobody_waits_for_one_who_has_failed() {
        let failing = Queue::new([7]);
        let error = failing.take(1, 1, |_: u32| Err::<Vec<u32>, _>(Error::invalid("group", 7, "even")));
        assert!(error.is_err());
        assert!(failing.take(1, 1, twice).expect("nothing").is_empty());

        let panicking = Queue::new([7]);
        let open = |_: u32| -> Result<Vec<u32>> { panic!("opened") };
        assert!(catch_unwind(|| panicking.take(1, 1, open)).is_err());
        assert!(panicking.take(1, 1, twice).expect("nothing").is_empty());

        let stopped = Queue::new([7]);
        stopped.stop();
        assert!(stopped.take(1, 1, twice).expect("nothing").is_empty());
    }
}
