//! How much is worked on at once, and by how many threads.

use std::{
    sync::{
        Mutex,
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

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
    let threads = rayon::current_num_threads();
    let most = if host::is_host(device) { threads } else { 1 };
    let strands = most.min(items.len().min(at_once) / STRAND).max(1);
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
    let pools: Vec<ThreadPool> = (0..strands).map(|_| pool(threads / strands)).collect::<Result<_>>()?;
    thread::scope(|scope| {
        for pool in &pools {
            scope.spawn(|| {
                while let Some((batch, done)) = next() {
                    *done = Some(pool.install(|| work(batch)));
                }
            });
        }
    });
    done.into_iter().map(|result| result.expect("every batch was taken")).collect()
}

/// Does `work` on each of `count` items, in order in each of some strands, which take turns with them. What an item asks is answered
/// by `decide`, on this thread and in the order of the items.
pub(crate) fn in_strands<R: Send>(
    strands: usize,
    count: usize,
    decide: &mut dyn FnMut(&[f64]) -> Result<Vec<f64>>,
    work: impl Fn(usize, &mut dyn FnMut(&[f64]) -> Result<Vec<f64>>) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let threads = rayon::current_num_threads();
    let pools: Vec<ThreadPool> =
        (0..strands).map(|_| pool((threads / strands).max(1))).collect::<Result<_>>()?;
    // Both ends are dropped with the strand that has stopped, or with this thread's loop: nobody waits for what does not come.
    let mut of_strands: Vec<Vec<_>> = (0..strands).map(|_| Vec::new()).collect();
    let mut exchanges = Vec::with_capacity(count);
    for index in 0..count {
        let (ask, asked) = mpsc::channel::<Vec<f64>>();
        let (answer, answered) = mpsc::channel::<Vec<f64>>();
        of_strands[index % strands].push((index, ask, answered));
        exchanges.push((asked, answer));
    }
    let work = &work;
    let strand = |(pool, items): (&ThreadPool, Vec<(usize, Sender<Vec<f64>>, Receiver<Vec<f64>>)>)| {
        let one = |(index, ask, answered): (usize, Sender<Vec<f64>>, Receiver<Vec<f64>>)| {
            let done = pool.install(move || {
                work(index, &mut |question| {
                    let stopped = || CoreError::failed("a part of a batch", "another part has failed");
                    ask.send(question.to_vec()).map_err(|_| stopped())?;
                    Ok(answered.recv().map_err(|_| stopped())?)
                })
            });
            (index, done)
        };
        let mut done: Vec<(usize, Result<R>)> = Vec::with_capacity(items.len());
        for item in items {
            done.push(one(item));
            if done.last().is_some_and(|(_, result)| result.is_err()) {
                break;
            }
        }
        done
    };
    thread::scope(|scope| {
        let strands: Vec<_> =
            pools.iter().zip(of_strands).map(|strand_of| scope.spawn(move || strand(strand_of))).collect();
        let mut decided = Ok(());
        for (asked, answer) in exchanges {
            let Ok(question) = asked.recv() else { break };
            match decide(&question) {
                // Whoever has asked waits for it.
                Ok(decision) => drop(answer.send(decision)),
                Err(error) => {
                    decided = Err(error);
                    break;
                }
            }
        }
        let done = strands.into_iter().flat_map(|strand| match strand.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        // The first that failed is the one for which others were stopped.
        let mut done: Vec<(usize, Result<R>)> = done.collect();
        decided?;
        done.sort_by_key(|(index, _)| *index);
        done.into_iter().map(|(_, result)| result).collect()
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

fn pool(threads: usize) -> Result<ThreadPool> {
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
