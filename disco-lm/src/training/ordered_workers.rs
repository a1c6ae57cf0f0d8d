//! Ordered workers: items run at once on several workers, and each asks the calling thread one question, in the items' order.

use std::{
    panic::resume_unwind,
    sync::mpsc::{self, Receiver, Sender},
    thread,
};

use disco_core::Error as CoreError;
use rayon::ThreadPool;

use crate::{Result, device::workers::pool};

/// The channel through which an item asks its question and receives the answer.
struct Channel {
    item: usize,
    ask: Sender<Vec<f64>>,
    answer: Receiver<Vec<f64>>,
}

impl Channel {
    fn ask(&self, question: &[f64]) -> Result<Vec<f64>> {
        let stopped =
            || CoreError::failed("a micro-batch", "another micro-batch of the same batch has failed");
        self.ask.send(question.to_vec()).map_err(|_| stopped())?;
        Ok(self.answer.recv().map_err(|_| stopped())?)
    }
}

/// Does `work` on each of `count` items; worker `w` takes the items `w`, `w + workers` and so on, in order. Each item asks one
/// question, which `decide` answers on the calling thread, in the order of the items. The results are in the order of the items.
///
/// After an error no thread waits for a message that does not come: a worker that stops drops its ends of the channels, and
/// so does the calling thread when it leaves its loop.
///
/// # Errors
/// The error of `decide`, or else that of the first item that failed.
pub(crate) fn in_ordered_workers<R: Send>(
    workers: usize,
    count: usize,
    decide: &mut dyn FnMut(&[f64]) -> Result<Vec<f64>>,
    work: impl Fn(usize, &mut dyn FnMut(&[f64]) -> Result<Vec<f64>>) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let threads = (rayon::current_num_threads() / workers).max(1);
    let pools: Vec<ThreadPool> = (0..workers).map(|_| pool(threads)).collect::<Result<_>>()?;
    let mut worker_channels: Vec<Vec<Channel>> = (0..workers).map(|_| Vec::new()).collect();
    let mut questions = Vec::with_capacity(count);
    for item in 0..count {
        let (ask, asked) = mpsc::channel();
        let (reply, answer) = mpsc::channel();
        worker_channels[item % workers].push(Channel { item, ask, answer });
        questions.push((asked, reply));
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
        for (asked, reply) in questions {
            // An item that does not ask has failed. Later items might wait for it; they are stopped when they ask.
            let Ok(question) = asked.recv() else { break };
            match decide(&question) {
                // The item that has asked is waiting for the answer.
                Ok(decision) => drop(reply.send(decision)),
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
        // The first item that failed is the cause: later ones may have been stopped because of it.
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
    fn the_first_error_is_returned_and_no_worker_waits() {
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
