//! How much is worked on at once, and by how many threads.

use std::{panic::resume_unwind, sync::Mutex, thread};

use burn::tensor::Device;
use disco_core::Error as CoreError;
use rayon::{ThreadPool, ThreadPoolBuilder, prelude::*};

use crate::{Result, TokenModel, host};

/// From this width on, the products of a batch keep all threads busy by themselves.
const WIDE: usize = 512;

/// The parts into which the sequences of a narrow model are cut for its gradient.
const PARTS: usize = 4;

/// The fewest sequences that are worth a strand of their own: two strands of 32 draw as fast as one of 64, of SmolLM2-135M on
/// two cores, and two of 16 no faster than one of 32.
const STRAND: usize = 32;

/// Does `work` on batches of at most `size` items, of which at most `at_once` are in work at a time. The results are in
/// order.
///
/// Threads that share one matrix product wait for each other at the end of each, and do all that lies between products
/// alone. So each takes batches of its own, in a *strand* in which no other thread works, as long as there are items
/// enough: two processes of one thread each drew 128 sequences of SmolLM2-135M 1.13 times, and scored them 1.18 times as fast
/// as one process whose two threads shared each product. Other devices than the host's share work in their own ways.
pub(crate) fn in_batches<T: Send, R: Send>(
    device: &Device,
    items: &mut [T],
    size: usize,
    at_once: usize,
    work: impl Fn(&mut [T]) -> Result<R> + Sync + Send,
) -> Result<Vec<R>> {
    let strands = strands(device, items.len().min(at_once));
    let size = size.min(at_once / strands).max(1);
    if strands == 1 {
        return items.chunks_mut(size).map(work).collect();
    }
    // All strands have as many batches.
    let batches = items.len().div_ceil(size).next_multiple_of(strands);
    let size = items.len().div_ceil(batches);
    let mut done: Vec<Option<Result<R>>> = Vec::new();
    done.resize_with(items.len().div_ceil(size), || None);
    let queue = Mutex::new(items.chunks_mut(size).zip(&mut done));
    let next = || queue.lock().expect("no strand panics while it takes a batch").next();
    on_strands(strands, |_| {
        while let Some((batch, done)) = next() {
            *done = Some(work(batch));
        }
        Ok(())
    })?;
    done.into_iter().map(|result| result.expect("every batch was taken")).collect()
}

/// How many strands are worth while for so many items that are in work at a time.
pub(crate) fn strands(device: &Device, items: usize) -> usize {
    let most = if host::is_host(device) { rayon::current_num_threads() } else { 1 };
    most.min(items / STRAND).max(1)
}

/// Does `work` in each of so many strands, by their numbers, each with its share of the threads; a single one on those that are
/// there.
pub(crate) fn on_strands(strands: usize, work: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    if strands == 1 {
        return work(0);
    }
    let threads = rayon::current_num_threads() / strands;
    let pools: Vec<ThreadPool> = (0..strands).map(|_| pool(threads)).collect::<Result<_>>()?;
    let work = &work;
    thread::scope(|scope| {
        let strand = |(number, pool): (usize, &ThreadPool)| pool.install(|| work(number));
        let spawn = |strand_of| scope.spawn(move || strand(strand_of));
        let strands: Vec<_> = pools.iter().enumerate().map(spawn).collect();
        strands.into_iter().try_for_each(|strand| strand.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

/// What `work` makes of each item, in order: on all threads where they are the ones that compute.
pub(crate) fn side_by_side<T: Sync, R: Send>(
    device: &Device,
    items: &[T],
    work: impl Fn(&T) -> R + Sync + Send,
) -> Vec<R> {
    if host::is_host(device) {
        items.par_iter().map(work).collect()
    } else {
        items.iter().map(work).collect()
    }
}

pub(crate) fn pool(threads: usize) -> Result<ThreadPool> {
    let pool = ThreadPoolBuilder::new().num_threads(threads).build();
    pool.map_err(|source| CoreError::failed("starting a thread", source).into())
}

impl TokenModel {
    /// How many of `count` sequences are of one forward and backward pass.
    ///
    /// A narrow model's products are too small to be shared among threads, so its sequences are cut into parts instead.
    /// The number of parts is fixed, for the sums over them not to depend on the machine.
    pub(crate) fn part(&self, count: usize) -> usize {
        let parts = if self.frame.spec.width < WIDE { PARTS } else { 1 };
        count.div_ceil(parts).max(1)
    }

    /// Does `work` on batches of items, as [`in_batches`], each of at most `most`, and
    /// [`Generation::batch`](crate::Generation::batch) at a time.
    pub(crate) fn in_batches<T: Send, R: Send>(
        &self,
        items: &mut [T],
        most: usize,
        work: impl Fn(&mut [T]) -> Result<R> + Sync + Send,
    ) -> Result<Vec<R>> {
        in_batches(&self.frame.device, items, most, self.generation.batch, work)
    }
}
