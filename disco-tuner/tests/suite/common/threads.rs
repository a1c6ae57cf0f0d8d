//! Workers that are threads of this process.

use std::sync::{Arc, Condvar, Mutex};

use disco_core::{Error, Result};
use disco_tuner::Workers;

/// One of several threads that share a run.
#[derive(Clone, Debug)]
pub(crate) struct Thread {
    rank: usize,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    count: usize,
    calls: Mutex<Calls>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Calls {
    /// The numbers of the workers that have made the current call.
    given: Vec<Option<Vec<f64>>>,
    /// The numbers of all workers in the last call that is complete, and how many workers have yet to take them.
    done: Arc<Vec<Vec<f64>>>,
    to_take: usize,
    /// How many calls were completed.
    completed: u64,
    /// The call that fails on every worker, for tests.
    fails_at: Option<u64>,
    /// A worker has ended: it will make no further call.
    ended: bool,
}

impl Thread {
    /// The workers of a run of `count` threads.
    pub(crate) fn all(count: usize) -> Vec<Self> {
        Self::failing(count, None)
    }

    /// Workers whose call number `fails_at` fails.
    pub(crate) fn failing(count: usize, fails_at: Option<u64>) -> Vec<Self> {
        let calls = Calls { given: vec![None; count], fails_at, ..Calls::default() };
        let shared = Arc::new(Shared { count, calls: Mutex::new(calls), changed: Condvar::new() });
        (0..count).map(|rank| Self { rank, shared: Arc::clone(&shared) }).collect()
    }

    /// Runs `work` on as many threads, each with its worker; the results are in the order of the ranks.
    pub(crate) fn run<T: Send>(workers: Vec<Self>, work: impl Fn(&Self) -> T + Sync) -> Vec<T> {
        let work = &work;
        std::thread::scope(|scope| {
            let threads: Vec<_> = workers
                .into_iter()
                .map(|worker| {
                    scope.spawn(move || {
                        // Also in a panic: the others would wait for ever.
                        let _ending = Ending(&worker);
                        work(&worker)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    /// How many calls were completed.
    pub(crate) fn completed(&self) -> u64 {
        self.shared.calls.lock().unwrap().completed
    }
}

struct Ending<'a>(&'a Thread);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if let Ok(mut calls) = self.0.shared.calls.lock() {
            calls.ended = true;
        }
        self.0.shared.changed.notify_all();
    }
}

impl Workers for Thread {
    fn rank(&self) -> usize {
        self.rank
    }

    fn count(&self) -> usize {
        self.shared.count
    }

    fn sum(&self, numbers: &mut [f64]) -> Result<()> {
        // In the order of the ranks, on each worker by itself: all have the same bits.
        let all = self.gather(numbers.to_vec())?;
        assert!(all.iter().all(|other| other.len() == numbers.len()), "sums of lists of different lengths");
        for (at, number) in numbers.iter_mut().enumerate() {
            *number = all.iter().map(|other| other[at]).sum();
        }
        Ok(())
    }

    fn gather(&self, numbers: Vec<f64>) -> Result<Vec<Vec<f64>>> {
        let Shared { count, calls, changed } = &*self.shared;
        let lost = || Error::failed("threads", "a worker has ended");
        let mut calls = calls.lock().unwrap();
        // The results of the last call are still to be taken.
        while calls.to_take > 0 {
            calls = changed.wait(calls).unwrap();
        }
        let call = calls.completed;
        calls.given[self.rank] = Some(numbers);
        if calls.given.iter().all(Option::is_some) {
            calls.done = Arc::new(calls.given.iter_mut().filter_map(Option::take).collect());
            (calls.to_take, calls.completed) = (*count, call + 1);
            changed.notify_all();
        }
        while calls.completed == call {
            if calls.ended {
                return Err(lost());
            }
            calls = changed.wait(calls).unwrap();
        }
        let done = Arc::clone(&calls.done);
        calls.to_take -= 1;
        let failed = calls.fails_at == Some(call);
        drop(calls);
        changed.notify_all();
        if failed { Err(Error::failed("network", "cable pulled")) } else { Ok(done.to_vec()) }
    }
}
