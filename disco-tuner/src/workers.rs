//! Workers that share a run.

use disco_core::Result;

/// The collective operations by which several workers share a run: processes on several machines (MPI), or threads.
///
/// Each worker has the whole policy and calls [`Tuner::start_shared`](crate::Tuner::start_shared) with the same settings
/// and an equal problem. A step's samples are numbered; each worker draws, scores and differentiates its part of each
/// context's samples. The log-probabilities, scores and feature values of all samples are gathered in the order of
/// their numbers, so that every worker makes the same decisions from the same numbers. The gradient is summed before
/// each update.
///
/// # Contract
/// - `sum`, `sum_f32` and `gather` are *collective*: a call returns after all workers have made the same call. All workers
///   make their calls in the same order.
/// - All workers receive the same bits. Otherwise their parameters drift apart.
/// - If a call fails on one worker, it fails on all of them, for example because the implementation aborts the others'
///   calls. The error ends the run on every worker.
///
/// # Cost
/// A step makes fewer than ten calls of `gather`, with some 16 bytes per sample each, and one sum per tensor of the
/// gradient.
pub trait Workers: std::fmt::Debug {
    /// The number of this worker, from 0 to [`count`](Self::count)` - 1`.
    fn rank(&self) -> usize;

    /// Number of workers, at least 1.
    fn count(&self) -> usize;

    /// Replaces `numbers` by the element-wise sum over all workers. The lists of all workers are equally long.
    fn sum(&self, numbers: &mut [f64]) -> Result<()>;

    /// As [`sum`](Self::sum), in `f32`. By default the sum is made in `f64` and rounded once.
    fn sum_f32(&self, numbers: &mut [f32]) -> Result<()> {
        const CHUNK: usize = 1 << 16;
        for chunk in numbers.chunks_mut(CHUNK) {
            let mut wide: Vec<f64> = chunk.iter().map(|number| f64::from(*number)).collect();
            self.sum(&mut wide)?;
            chunk.iter_mut().zip(wide).for_each(|(to, from)| *to = from as f32);
        }
        Ok(())
    }

    /// The numbers of every worker, in the order of the ranks. The lists may differ in length.
    fn gather(&self, numbers: Vec<f64>) -> Result<Vec<Vec<f64>>>;
}

/// The only worker of a run that is not shared: rank 0 of 1. Its sums and gathered numbers are its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Single;

impl Workers for Single {
    fn rank(&self) -> usize {
        0
    }

    fn count(&self) -> usize {
        1
    }

    fn sum(&self, _: &mut [f64]) -> Result<()> {
        Ok(())
    }

    fn sum_f32(&self, _: &mut [f32]) -> Result<()> {
        Ok(())
    }

    fn gather(&self, numbers: Vec<f64>) -> Result<Vec<Vec<f64>>> {
        Ok(vec![numbers])
    }
}

/// The part of `0..total` that belongs to one of `count` workers.
///
/// The parts are consecutive and cover `0..total`. `offset` moves the remainder of the division from worker to worker,
/// so that no worker has the smaller part in every context.
pub(crate) fn part(total: usize, rank: usize, count: usize, offset: usize) -> std::ops::Range<usize> {
    let bound = |rank: usize| match rank {
        0 => 0,
        rank if rank == count => total,
        rank => (rank * total + offset % count) / count,
    };
    bound(rank)..bound(rank + 1)
}

#[cfg(test)]
mod tests {
    use super::part;

    #[test]
    fn parts_are_consecutive_cover_everything_and_differ_by_one() {
        for total in 0..20 {
            for count in 1..6 {
                for offset in 0..7 {
                    let parts: Vec<_> = (0..count).map(|rank| part(total, rank, count, offset)).collect();
                    let all: Vec<usize> = parts.iter().cloned().flatten().collect();
                    assert_eq!(all, (0..total).collect::<Vec<_>>());
                    let sizes = parts.iter().map(ExactSizeIterator::len);
                    assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1, "{parts:?}");
                }
            }
        }
    }
}
