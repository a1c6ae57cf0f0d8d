//! Loops compiled for each generation of vector instructions.

/// Runs `work` with the widest vector instructions that this machine has: `work` is compiled once for each generation.
///
/// Every function that `work` calls must be inlined into it; otherwise that function is compiled only once, for the oldest
/// machine. Sums have the same order on all machines, since the compiler reorders no operation that rounds.
#[inline]
pub(crate) fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// The dot product of two vectors. It is summed in lanes, so that it becomes vector instructions; the order of addition is
/// fixed.
#[inline(always)]
pub(crate) fn dot(x: &[f32], y: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0.0f32; LANES];
    let (xs, rest) = x.as_chunks::<LANES>();
    let (ys, y_rest) = y.as_chunks::<LANES>();
    for (x, y) in xs.iter().zip(ys) {
        for lane in 0..LANES {
            sums[lane] += x[lane] * y[lane];
        }
    }
    let rest: f32 = rest.iter().zip(y_rest).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f32>() + rest
}
