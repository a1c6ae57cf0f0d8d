//! Work on parts of a batch, each on threads of its own, that asks one thread for a decision on the way.

use std::{
    panic::resume_unwind,
    sync::mpsc::{self, Receiver, Sender},
    thread,
};

use disco_core::Error as CoreError;
use rayon::ThreadPool;

use crate::{Result, device::workers::pool};

/// Where an item asks, and hears the answer.
struct Channel {
    item: usize,
    ask: Sender<Vec<f64>>,
    answer: Receiver<Vec<f64>>,
}

impl Channel {
    fn ask(&self, question: &[f64]) -> Result<Vec<f64>> {
        let stopped = || CoreError::failed("a part of a batch", "another part has failed");
        self.ask.send(question.to_vec()).map_err(|_| stopped())?;
        Ok(self.answer.recv().map_err(|_| stopped())?)
    }
}

/// Does `work` on each of `count` items: worker `s` of them on items `s`, `s + workers` and so on, in order. Each asks once, and is
/// answered by `decide`, on this thread and in the order of the items.
///
/// After an error nobody waits for what does not come: the ends of a channel are dropped with the worker that has stopped, and
/// with this thread's loop.
pub(crate) fn in_ordered_workers<R: Send>(
    workers: usize,
    count: usize,
    decide: &mut dyn FnMut(&[f64]) -> Result<Vec<f64>>,
    work: impl Fn(usize, &mut dyn FnMut(&[f64]) -> Result<Vec<f64>>) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let threads = (rayon::current_num_threads() / workers).max(1);
    let pools: Vec<ThreadPool> = (0..workers).map(|_| pool(threads)).collect::<Result<_>>()?;
    let mut worker_channels: Vec<Vec<Channel>> = (0..workers).map(|_| Vec::new()).collect();
    let mut ends = Vec::with_capacity(count);
    for item in 0..count {
        let (ask, asked) = mpsc::channel();
        let (say, answer) = mpsc::channel();
        worker_channels[item % workers].push(Channel { item, ask, answer });
        ends.push((asked, say));
    }
    let work = &work;
    let worker = |pool: &ThreadPool, channels: Vec<Channel>| {
        let mut done: Vec<(usize, Result<R>)> = Vec::with_capacity(channels.len());
        for channel in channels {
            let item = channel.item;
            let result = pool.install(move || work(item, &mut |question| channel.ask(question)));
            let has_failed = result.is_err();
            done.push((item, result));
            if has_failed {
                break;
            }
        }
        done
    };
    thread::scope(|scope| {
        let workers: Vec<_> = pools
            .iter()
            .zip(worker_channels)
            .map(|(pool, channels)| scope.spawn(move || worker(pool, channels)))
            .collect();
        let mut decided = Ok(());
        for (asked, say) in ends {
            // Who does not ask has failed. What comes after it might wait for it, and is stopped when it asks.
            let Ok(question) = asked.recv() else { break };
            match decide(&question) {
                // Whoever has asked waits for it.
                Ok(decision) => drop(say.send(decision)),
                Err(error) => {
                    decided = Err(error);
                    break;
                }
            }
        }
        let done =
            workers.into_iter().flat_map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)));
        let mut done: Vec<(usize, Result<R>)> = done.collect();
        decided?;
        // The first that failed is the one for which others were stopped.
        done.sort_by_key(|(item, _)| *item);
        done.into_iter().map(|(_, result)| result).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn twice(item: usize, ask: &mut dyn FnMut(&[f64]) -> Result<Vec<f64>>) -> Result<f64> {
        Ok(2.0 * ask(&[item as f64])?[0])
    }

    #[test]
    fn questions_are_answered_in_order_and_results_are_too() {
        let mut asked = Vec::new();
        let mut decide = |question: &[f64]| {
            asked.push(question[0]);
            Ok(vec![question[0] + 0.5])
        };
        let done = in_ordered_workers(3, 8, &mut decide, twice).expect("results");
        assert_eq!(done, [1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.0]);
        assert_eq!(asked, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        assert!(in_ordered_workers(2, 0, &mut |_| Ok(Vec::new()), twice).expect("nothing").is_empty());
    }

    #[test]
    fn the_error_that_came_first_is_told_and_nobody_waits() {
        for failing in [0, 3, 7] {
            let work = |item: usize, ask: &mut dyn FnMut(&[f64]) -> Result<Vec<f64>>| {
                if item == failing {
                    Err(CoreError::failed("item", item.to_string()).into())
                } else {
                    twice(item, ask)
                }
            };
            let mut decide = |question: &[f64]| Ok(question.to_vec());
            let error = in_ordered_workers(3, 8, &mut decide, work).expect_err("an item fails").to_string();
            assert!(error.contains(&failing.to_string()), "{error}");
            let mut refuse = |_: &[f64]| Err(CoreError::failed("decision", "refused").into());
            let error = in_ordered_workers(3, 8, &mut refuse, twice).expect_err("no decision").to_string();
            assert!(error.contains("refused"), "{error}");
        }
    }
}
