//! Policies: the traits between the tuner and a model.

mod checkpointed;
mod pending_gradient;
mod softmax_table;

use disco_core::{Distribution, Result};

use crate::optimizer::Update;

pub use checkpointed::Checkpointed;
pub use pending_gradient::{GradientScalar, PendingGradient, Tensors};
pub use softmax_table::SoftmaxTable;

/// One sample of a batch, in its context.
#[derive(Debug)]
pub struct BatchItem<'a, C, X> {
    /// The context.
    pub context: &'a C,
    /// The sample.
    pub sample: &'a X,
}

impl<C, X> Clone for BatchItem<'_, C, X> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C, X> Copy for BatchItem<'_, C, X> {}

/// A function from the log-probabilities (nats) of the next items of a batch to the weights of their gradients, one per item.
/// Over its calls it gets each item of the batch once, in order.
pub type WeightFn<'a> = dyn FnMut(&[f64]) -> Result<Vec<f64>> + 'a;

/// Statistics of one update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UpdateStats {
    /// The L2 norm of the whole gradient, before clipping.
    pub gradient_norm: f64,
}

/// A distribution with parameters `theta` that can follow a weighted sum of its score functions `grad_theta log pi(x|c)`.
///
/// The tuner never sees a tensor. A step of it is: any number of [`accumulate`](Self::accumulate), which
/// add to the *pending gradient*, then one [`step`](Self::step), which follows and clears it.
///
/// This is all that a step needs. Checkpoints also need [`Checkpointed`], and runs that several workers share also need
/// [`PendingGradient`].
pub trait Policy<C, X>: Distribution<C, X> {
    /// A frozen copy, to draw from while the policy moves on.
    type Frozen: Distribution<C, X>;

    /// A copy of the policy with its current parameters, which later steps of the policy do not change.
    ///
    /// # Errors
    /// An error ends the run.
    fn freeze(&self) -> Result<Self::Frozen>;

    /// Adds `sum_i w_i grad log pi(x_i | c_i)` to the pending gradient.
    ///
    /// Call `weigh` with the log-probabilities of `batch` in its order, all at once or some of them at a time, from the
    /// same forward pass as the gradient. It returns one weight `w_i` per log-probability. An item of weight zero adds
    /// nothing, and needs no backward pass. The batch is never empty.
    ///
    /// # Errors
    /// Errors of the model and of `weigh`; the pending gradient is then unspecified until
    /// [`clear`](Self::clear).
    fn accumulate(&mut self, batch: &[BatchItem<'_, C, X>], weigh: &mut WeightFn<'_>) -> Result<()>;

    /// Sets the pending gradient to zero.
    fn clear(&mut self);

    /// Makes one step of the optimizer *against* the pending gradient, and clears it. If nothing was accumulated, the
    /// gradient is zero, and the optimizer's momentum still moves the parameters.
    ///
    /// # Errors
    /// If the gradient is not finite: parameters and optimizer state are then untouched.
    fn step(&mut self, update: &Update) -> Result<UpdateStats>;

    /// A copy to return to, with parameters and optimizer state. The default, `None`, is for a policy of which a second
    /// copy does not fit into memory.
    ///
    /// The tuner asks for one before a step of several epochs. If a later epoch fails, the updates of the earlier ones
    /// are undone with it.
    fn snapshot(&self) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }
}
