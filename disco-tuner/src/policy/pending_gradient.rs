//! Policies whose pending gradient can be read and replaced.

use std::collections::BTreeMap;

use disco_core::Result;

use crate::workers::Workers;

/// A gradient or parameter by the name of its tensor, flattened in row-major order.
pub type Tensors<T = f32> = BTreeMap<String, Vec<T>>;

/// A policy whose pending gradient can be read and replaced, for runs that several workers share.
///
/// Between [`Policy::accumulate`](crate::Policy::accumulate) and [`Policy::step`](crate::Policy::step) each worker's
/// gradient is replaced by the sum over all workers. Needed by [`Tuner::start_shared`](crate::Tuner::start_shared) only.
pub trait PendingGradient {
    /// The number type of the gradient: `f32` for a network, `f64` for a table. Nothing is rounded on the way.
    type Scalar: GradientScalar;

    /// The pending gradient, by parameter. All parameters are present, those with a gradient of zero too.
    fn pending(&self) -> Result<Tensors<Self::Scalar>>;

    /// Replaces the pending gradient.
    ///
    /// # Errors
    /// For tensors of other names or lengths than [`pending`](Self::pending) gives.
    fn replace_pending(&mut self, gradient: Tensors<Self::Scalar>) -> Result<()>;
}

/// A number type of gradients, which workers can sum: `f32` or `f64`.
pub trait GradientScalar: Copy + Into<f64> + Send + Sync + 'static {
    /// Replaces `values` by the element-wise sum over all workers.
    ///
    /// # Errors
    /// Errors of [`Workers::sum`] or [`Workers::sum_f32`].
    fn sum(workers: &dyn Workers, values: &mut [Self]) -> Result<()>;
}

impl GradientScalar for f64 {
    fn sum(workers: &dyn Workers, values: &mut [Self]) -> Result<()> {
        workers.sum(values)
    }
}

impl GradientScalar for f32 {
    fn sum(workers: &dyn Workers, values: &mut [Self]) -> Result<()> {
        workers.sum_f32(values)
    }
}
