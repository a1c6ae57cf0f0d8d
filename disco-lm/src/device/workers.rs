//! How much is worked on at once, and by how many threads.

use std::{panic::resume_unwind, sync::Mutex, thread};

use burn::tensor::Device;
use disco_core::Error as CoreError;
use rayon::{ThreadPool, ThreadPoolBuilder, prelude::*};

use crate::{Result, device::host::is_host};

/// The fewest sequences that are worth a worker of their own: two workers of 32 draw as fast as one of 64, of SmolLM2-135M on
/// two cores, and two of 16 no faster than one of 32.
const WORKER_SEQUENCES: usize = 32;

/// Does `work` on batches of at most `size` items, of which at most `at_once` are in work at a time. The results are in
/// order.
///
/// Threads that share one matrix product wait for each other at the end of each, and do all that lies between products
/// alone. So each takes batches of its own, in a *worker* in which no other thread works, as long as there are items
/// enough: two processes of one thread each drew 128 sequences of SmolLM2-135M 1.13 times, and scored them 1.18 times as fast
/// as one process whose two threads shared each product. Other devices than the host's share work in their own ways.
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
    // All workers have as many batches.
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

/// How many workers are worth while for so many items that are in work at a time.
pub(crate) fn workers(device: &Device, items: usize) -> usize {
    let most = if is_host(device) { rayon::current_num_threads() } else { 1 };
    most.min(items / WORKER_SEQUENCES).max(1)
}

/// Does `work` in each of so many workers, by their numbers, each with its share of the threads; a single one on those that are
/// there.
pub(crate) fn on_workers(workers: usize, work: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    if workers == 1 {
        return work(0);
    }
    let threads = rayon::current_num_threads() / workers;
    let pools: Vec<ThreadPool> = (0..workers).map(|_| pool(threads)).collect::<Result<_>>()?;
    let work = &work;
    thread::scope(|scope| {
        let worker = |(number, pool): (usize, &ThreadPool)| pool.install(|| work(number));
        let spawn = |strand_of| scope.spawn(move || worker(strand_of));
        let workers: Vec<_> = pools.iter().enumerate().map(spawn).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

/// What `work` makes of each item, in order: on all threads where they are the ones that compute.
pub(crate) fn map_items<T: Sync, R: Send>(
    device: &Device,
    items: &[T],
    work: impl Fn(&T) -> R + Sync + Send,
) -> Vec<R> {
    if is_host(device) { items.par_iter().map(work).collect() } else { items.iter().map(work).collect() }
}

pub(crate) fn pool(threads: usize) -> Result<ThreadPool> {
    let pool = ThreadPoolBuilder::new().num_threads(threads).build();
    pool.map_err(|source| CoreError::failed("starting a thread", source).into())
}
