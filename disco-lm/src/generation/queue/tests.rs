//! The queue with one and with several workers.

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
fn groups_join_an_open_queue_and_one_is_prefilled_at_a_time() {
    let queue = Queue::open();
    let taken = thread::scope(|scope| {
        let idle = scope.spawn(|| queue.take(9, true, any, twice));
        thread::sleep(Duration::from_millis(20));
        queue.add(7, 1).expect("there is room");
        idle.join().expect("no panic").expect("items")
    });
    assert_eq!(taken, [7, 7]);
    (1..5).for_each(|group| queue.add(group, 4).expect("there is room"));
    assert_eq!(queue.add(5, 4), Err(RequestProblem::QueueFull { waiting: 4 }));
    assert!(queue.has_arrivals());
    assert_eq!(queue.take(9, false, any, twice).expect("items"), [1, 1]);
    queue.retain(&|group| *group != 3);
    assert_eq!(queue.waiting(), 2);
    // Groups that give no item do not end an idle worker.
    let only_four = |group: u32| Ok(vec![group; usize::from(group == 4)]);
    assert_eq!(queue.take(9, true, any, only_four).expect("items"), [4]);
    queue.close();
    assert_eq!(queue.add(5, 4), Err(RequestProblem::Stopped));
    assert!(queue.take(9, true, any, twice).expect("nothing").is_empty() && !queue.has_arrivals());
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
