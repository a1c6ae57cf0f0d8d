//! Work that waits for others, done side by side.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// The results of `work` on each of `jobs`, in order, on as many threads as there are `connections`. Each thread takes the next job
/// that none has taken.
///
/// # Errors
/// Of several errors, that of the first job: it does not depend on the number of threads. No job behind it is begun.
pub(crate) fn in_order<J: Sync, T: Send, E: Send>(
    jobs: &[J],
    connections: usize,
    work: impl Fn(usize, &J) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let next = AtomicUsize::new(0);
    let failed = AtomicUsize::new(usize::MAX);
    let take_jobs = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::SeqCst);
            // A job before a failed one is still done, so that the error does not depend on the number of threads.
            if index >= jobs.len() || index > failed.load(Ordering::SeqCst) {
                return done;
            }
            let result = work(index, &jobs[index]);
            if result.is_err() {
                failed.fetch_min(index, Ordering::SeqCst);
            }
            done.push((index, result));
        }
    };
    let busy = connections.max(1).min(jobs.len());
    let mut done = thread::scope(|scope| {
        let others: Vec<_> = (1..busy).map(|_| scope.spawn(take_jobs)).collect();
        let mut done = if busy > 0 { take_jobs() } else { Vec::new() };
        // A panic of another thread is this thread's.
        others.into_iter().for_each(|other| {
            done.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        });
        done
    });
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_and_the_first_error_do_not_depend_on_the_number_of_connections() {
        let jobs: Vec<u32> = (0..50).collect();
        for connections in [0, 1, 3, 64] {
            let doubled = in_order(&jobs, connections, |_, job| Ok::<_, ()>(2 * job));
            assert_eq!(doubled, Ok(jobs.iter().map(|job| 2 * job).collect()), "{connections}");
        }
        for connections in [1, 3, 64] {
            let failing = in_order(&jobs, connections, |_, job| if *job < 20 { Ok(()) } else { Err(*job) });
            assert_eq!(failing, Err(20), "{connections}");
        }
    }
}
