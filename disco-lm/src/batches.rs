//! How much is worked on at once, and by how many threads.

use rayon::prelude::*;

use crate::{Result, TokenModel};

/// From this width on, the products of a batch keep all threads busy by themselves.
const WIDE: usize = 512;

/// The parts into which the sequences of a narrow model are cut.
const PARTS: usize = 4;

fn is_narrow(width: usize) -> bool {
    width < WIDE
}

/// Does `work` on batches of `size` items: side by side for a model of a narrow `width`, one after the other for a wide
/// one. The results are in order.
pub(crate) fn in_batches<T: Send, R: Send>(
    width: usize,
    items: &mut [T],
    size: usize,
    work: impl Fn(&mut [T]) -> Result<R> + Sync + Send,
) -> Result<Vec<R>> {
    if is_narrow(width) {
        items.par_chunks_mut(size).map(work).collect()
    } else {
        items.chunks_mut(size).map(work).collect()
    }
}

impl TokenModel {
    /// How many of `count` sequences are worked on by one thread.
    ///
    /// Burn's `flex` shares a matrix product among threads from a certain size on, and element-wise work never:
    /// a narrow model leaves all cores but one idle. So its sequences are cut into parts instead. The number
    /// of parts is fixed, for the sums over them not to depend on the machine.
    pub(crate) fn part(&self, count: usize) -> usize {
        let parts = if self.is_narrow() { PARTS } else { 1 };
        count.div_ceil(parts).max(1)
    }

    /// Whether parts of a batch are worked on side by side, rather than one after the other.
    pub(crate) fn is_narrow(&self) -> bool {
        is_narrow(self.frame.spec.width)
    }

    /// Does `work` on batches of items, as [`in_batches`], each of at most `most` and
    /// [`Generation::batch`](crate::Generation::batch).
    pub(crate) fn in_batches<T: Send, R: Send>(
        &self,
        items: &mut [T],
        most: usize,
        work: impl Fn(&mut [T]) -> Result<R> + Sync + Send,
    ) -> Result<Vec<R>> {
        let size = self.part(items.len()).min(self.generation.batch).min(most);
        in_batches(self.frame.spec.width, items, size, work)
    }
}
