//! Loops for each generation of vector instructions.

/// Runs `work` with the widest vector instructions that this machine has: it is compiled for each of them.
///
/// What `work` calls must be inlined into it, or it is compiled once, for the oldest machine. The order of its sums is the
/// same everywhere, since nothing is reordered that rounds.
#[inline]
pub(crate) fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// GradientAccumulator of products, in lanes, so that they become vector instructions; the order of addition is fixed.
#[inline(always)]
pub(crate) fn dot(one: &[f32], other: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0.0f32; LANES];
    let (ones, rest) = one.as_chunks::<LANES>();
    let (others, other_rest) = other.as_chunks::<LANES>();
    for (one, other) in ones.iter().zip(others) {
        for lane in 0..LANES {
            sums[lane] += one[lane] * other[lane];
        }
    }
    let rest: f32 = rest.iter().zip(other_rest).map(|(one, other)| one * other).sum();
    sums.iter().sum::<f32>() + rest
}
