//! Workers: threads that each process batches of their own, and how many items they process at a time.

use std::{panic::resume_unwind, sync::Mutex, thread};

use burn::tensor::Device;
use disco_core::Error as CoreError;
use rayon::{ThreadPool, ThreadPoolBuilder, prelude::*};

use crate::{Result, device::host::is_cpu};

/// The fewest sequences that are worth a worker of their own: with fewer, two workers are no faster than one that has the
/// sequences of both.
const WORKER_SEQUENCES: usize = 32;

/// Calls `work` on batches of at most `size` items, with at most `at_once` items in progress at a time. The results are in the
/// order of the batches.
///
/// Threads that share one matmul wait for each other at its end, and a single thread does all the work between two matmuls.
/// So, if there are enough items, they are divided among *workers*: each takes whole batches and has threads of its own.
/// That is faster for drawing and for scoring. On a device other than the CPU there is one worker; the device parallelises
/// in its own way.
pub(crate) fn in_batches<T: Send, R: Send>(
    device: &Device,
    items: &mut [T],
    size: usize,
    at_once: usize,
    work: impl Fn(&mut [T]) -> Result<R> + Sync + Send,
) -> Result<Vec<R>> {
    let workers = workers(device, items.len().min(at_once));
    let size = size.min(at_once / workers).max(1);
    if workers == 1 {
        return items.chunks_mut(size).map(work).collect();
    }
    // The number of batches is a multiple of the number of workers, so that all have the same amount of work.
    let batches = items.len().div_ceil(size).next_multiple_of(workers);
    let size = items.len().div_ceil(batches);
    let mut done: Vec<Option<Result<R>>> = Vec::new();
    done.resize_with(items.len().div_ceil(size), || None);
    let queue = Mutex::new(items.chunks_mut(size).zip(&mut done));
    let next = || queue.lock().expect("no worker panics while it takes a batch").next();
    on_workers(workers, |_| {
        while let Some((batch, done)) = next() {
            *done = Some(work(batch));
        }
        Ok(())
    })?;
    done.into_iter().map(|result| result.expect("every batch was taken")).collect()
}

/// The number of workers that are worthwhile for `items` items in progress at a time.
pub(crate) fn workers(device: &Device, items: usize) -> usize {
    let most = if is_cpu(device) { rayon::current_num_threads() } else { 1 };
    most.min(items / WORKER_SEQUENCES).max(1)
}

/// Calls `work(i)` for each worker `i` of `workers`, each in a thread pool of its own with an equal part of the threads. A
/// single worker runs in the current pool.
pub(crate) fn on_workers(workers: usize, work: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    if workers == 1 {
        return work(0);
    }
    let threads = rayon::current_num_threads() / workers;
    let pools: Vec<ThreadPool> = (0..workers).map(|_| pool(threads)).collect::<Result<_>>()?;
    let work = &work;
    thread::scope(|scope| {
        let run = |(index, pool): (usize, &ThreadPool)| pool.install(|| work(index));
        let spawn = |worker| scope.spawn(move || run(worker));
        let workers: Vec<_> = pools.iter().enumerate().map(spawn).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

/// Calls `work` on each item and returns the results in order; in parallel if the device computes on rayon's threads.
pub(crate) fn map_items<T: Sync, R: Send>(
    device: &Device,
    items: &[T],
    work: impl Fn(&T) -> R + Sync + Send,
) -> Vec<R> {
    if is_cpu(device) { items.par_iter().map(work).collect() } else { items.iter().map(work).collect() }
}

/// A pool of `threads` threads.
pub(crate) fn pool(threads: usize) -> Result<ThreadPool> {
    let pool = ThreadPoolBuilder::new().num_threads(threads).build();
    pool.map_err(|source| CoreError::failed("starting a thread", source).into())
}
