//! Where the gradients of parameters are added up.

use burn::tensor::{IndexingUpdateOp, Int, Tensor};

use crate::{
    TokenModel,
    adapter::Adapter,
    layer::Side,
    optimizer::{Gradient, add},
};

/// A gradient that grows: one entry per trained slot. What is not trained is left out.
pub(crate) struct Sums<'a> {
    adapter: Option<&'a Adapter>,
    gradient: &'a mut Gradient,
}

impl<'a> Sums<'a> {
    pub(crate) fn new(model: &'a TokenModel, gradient: &'a mut Gradient) -> Self {
        Self { adapter: model.adapter.as_ref(), gradient }
    }

    /// Whether the weights are trained, and not an adapter.
    pub(crate) fn wants_weights(&self) -> bool {
        self.adapter.is_none()
    }

    /// Where the gradient of a weight is added up, if weights are wanted.
    pub(crate) fn of_weight(&mut self, slot: usize) -> Option<&mut Option<Tensor<2>>> {
        self.wants_weights().then(|| &mut self.gradient[slot])
    }

    /// Adds to the gradient of a weight. To be called only if weights are wanted.
    pub(crate) fn add(&mut self, slot: usize, part: Tensor<2>) {
        add(&mut self.gradient[slot], Some(part));
    }

    /// Adds to the gradient of rows of a weight: row `i` of `part` to row `rows[i]`.
    pub(crate) fn add_rows(&mut self, slot: usize, rows: Tensor<1, Int>, part: Tensor<2>, like: &Tensor<2>) {
        let sum = self.gradient[slot].take().unwrap_or_else(|| like.zeros_like());
        self.gradient[slot] = Some(sum.select_assign(0, rows, part, IndexingUpdateOp::Add));
    }

    /// Adds to the gradient of what stands beside the matrix of `slot`.
    pub(crate) fn add_side(&mut self, slot: usize, of_side: Side) {
        let Some(adapter) = self.adapter else { return };
        for (at, part) in adapter.parts(slot, of_side) {
            add(&mut self.gradient[at], Some(part));
        }
    }
}
