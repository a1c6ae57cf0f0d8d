//! What is tuned: the one trait between the tuner and a model.

use std::{collections::BTreeMap, path::Path};

use disco_core::{Distribution, Result};

use crate::Update;

/// One sample of a batch, in its context.
#[derive(Debug)]
pub struct Item<'a, C, X> {
    /// The context.
    pub context: &'a C,
    /// The sample.
    pub sample: &'a X,
}

impl<C, X> Clone for Item<'_, C, X> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C, X> Copy for Item<'_, C, X> {}

/// Turns the log-probabilities of a batch (nats, one per item) into the weights of its gradients.
pub type Weigh<'a> = dyn FnMut(&[f64]) -> Result<Vec<f64>> + 'a;

/// A gradient or parameter by the name of its tensor, flattened in row-major order; `T` is the policy's
/// own [`Scalar`](Policy::Scalar), so that nothing is rounded on the way.
pub type Tensors<T = f32> = BTreeMap<String, Vec<T>>;

/// What one update did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Updated {
    /// The L2 norm of the whole gradient, before clipping.
    pub gradient_norm: f64,
}

/// A distribution with parameters `theta` that can follow a weighted sum of its score functions.
///
/// The tuner never sees a tensor. A step of it is: any number of [`accumulate`](Self::accumulate), which
/// add to the *pending gradient*, then one [`step`](Self::step), which follows and clears it.
pub trait Policy<C, X>: Distribution<C, X> {
    /// A frozen copy, to draw from while the policy moves on.
    type Frozen: Distribution<C, X>;

    /// The number type of its parameters and gradients: `f32` for a network, `f64` for a table.
    type Scalar: Copy + Into<f64> + Send + Sync + 'static;

    /// The policy as it is now.
    fn freeze(&self) -> Result<Self::Frozen>;

    /// Adds `sum_i w_i grad log pi(x_i | c_i)` to the pending gradient.
    ///
    /// `weigh` is to be called with the log-probabilities of `batch` in its order, all at once or some of them at a time,
    /// from the same forward pass as the gradient; it returns one weight per item. An item of weight zero adds nothing,
    /// and costs no backward pass. The batch is never empty.
    ///
    /// # Errors
    /// Those of the model and of `weigh`; the pending gradient is then unspecified until
    /// [`clear`](Self::clear).
    fn accumulate(&mut self, batch: &[Item<'_, C, X>], weigh: &mut Weigh<'_>) -> Result<()>;

    /// The pending gradient, by parameter. Here parallel workers meet: each reads its own, and replaces it by
    /// the sum over all.
    fn pending(&self) -> Result<Tensors<Self::Scalar>>;

    /// Replaces the pending gradient.
    fn replace_pending(&mut self, gradient: Tensors<Self::Scalar>) -> Result<()>;

    /// Forgets the pending gradient.
    fn clear(&mut self);

    /// Descends the pending gradient by one step of the optimiser, and clears it. Where nothing was
    /// accumulated the gradient is zero, and the optimiser's momentum still moves the parameters.
    ///
    /// # Errors
    /// If the gradient is not finite: parameters and optimiser state are then untouched.
    fn step(&mut self, update: &Update) -> Result<Updated>;

    /// A copy to go back to, with parameters and optimiser state; `None`, as here, for a policy of which a second
    /// copy in memory is too much.
    ///
    /// The tuner asks for one before a step of several epochs, whose first updates are made before it is known that
    /// the last can be.
    fn snapshot(&self) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }

    /// Writes parameters and optimiser state into `folder`, so that [`load`](Self::load) continues to the bit.
    ///
    /// The tuner hands it an empty folder that exists, flushes what was written to the disk, and keeps checksums of it.
    fn save(&self, folder: &Path) -> Result<()>;

    /// Reads what [`save`](Self::save) wrote.
    fn load(&mut self, folder: &Path) -> Result<()>;
}
