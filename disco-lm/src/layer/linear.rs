//! Products, and the low-rank products beside them.

use std::collections::BTreeMap;

use burn::tensor::Tensor;

use crate::{host::product, sums::Sums};

pub(crate) struct Linear {
    /// The slot of the weight; that of the bias is the next.
    slot: usize,
    /// `[out, in]`.
    weight: Tensor<2>,
    bias: Option<Tensor<2>>,
    side: Option<Side>,
}

/// A product of low rank beside a matrix: `x down^T up^T` is added to `x weight^T`. The dense product of the two
/// is never formed.
///
/// - down: `[rank, in]`
/// - up: `[out, rank]`
#[derive(Clone, Debug)]
pub(crate) struct Side {
    pub(crate) down: Tensor<2>,
    pub(crate) up: Tensor<2>,
}

impl Side {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        product(product(x, self.down.clone().transpose()), self.up.clone().transpose())
    }

    /// The gradient of `x`, from that of `y`.
    fn through(&self, of_y: Tensor<2>) -> Tensor<2> {
        product(product(of_y, self.up.clone()), self.down.clone())
    }

    /// The gradients of its two matrices.
    fn gradient(&self, x: Tensor<2>, of_y: Tensor<2>) -> Self {
        let narrow = product(x.clone(), self.down.clone().transpose());
        let of_narrow = product(of_y.clone(), self.up.clone());
        Self { down: product(of_narrow.transpose(), x), up: product(of_y.transpose(), narrow) }
    }
}

impl Linear {
    /// `[n, in]` to `[n, out]`.
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let side = self.side.as_ref().map(|side| side.forward(x.clone()));
        let y = product(x, self.weight.clone().transpose());
        let y = match side {
            Some(side) => y + side,
            None => y,
        };
        match &self.bias {
            Some(bias) => y + bias.clone(),
            None => y,
        }
    }

    /// The gradient of `x`, `[n, in]`, from that of what [`forward`](Self::forward) makes of it, `[n, out]`; those of the
    /// parameters are added to `sums`.
    pub(super) fn backward(&self, x: Tensor<2>, of_y: Tensor<2>, sums: &mut Sums<'_>) -> Tensor<2> {
        let of_x = self.through(of_y.clone());
        self.parameters_backward(x, of_y, sums);
        of_x
    }

    /// The gradient of `x` alone.
    pub(super) fn through(&self, of_y: Tensor<2>) -> Tensor<2> {
        let of_x = product(of_y.clone(), self.weight.clone());
        match &self.side {
            Some(side) => of_x + side.through(of_y),
            None => of_x,
        }
    }

    /// The gradients of the parameters alone.
    pub(super) fn parameters_backward(&self, x: Tensor<2>, of_y: Tensor<2>, sums: &mut Sums<'_>) {
        if let Some(side) = &self.side {
            sums.add_side(self.slot, side.gradient(x, of_y));
        } else if sums.wants_weights() {
            sums.add_product(self.slot, of_y.clone().transpose(), x);
            if self.bias.is_some() {
                sums.add(self.slot + 1, of_y.sum_dim(0));
            }
        }
    }
}

/// Tensors in the order of the slots, each to be taken once.
pub(crate) struct Supply<'a> {
    tensors: &'a [Tensor<2>],
    sides: &'a BTreeMap<usize, Side>,
    next: usize,
}

impl<'a> Supply<'a> {
    /// `sides` are by index of the slot.
    pub(crate) fn new(tensors: &'a [Tensor<2>], sides: &'a BTreeMap<usize, Side>) -> Self {
        Self { tensors, sides, next: 0 }
    }

    /// The slot of the tensor that is next.
    pub(crate) fn slot(&self) -> usize {
        self.next
    }

    /// # Panics
    /// If there are fewer tensors than slots.
    pub(crate) fn tensor(&mut self) -> Tensor<2> {
        self.next += 1;
        self.tensors[self.next - 1].clone()
    }

    pub(crate) fn linear(&mut self, bias: bool) -> Linear {
        let slot = self.slot();
        let side = self.sides.get(&slot).cloned();
        Linear { slot, weight: self.tensor(), bias: bias.then(|| self.tensor()), side }
    }
}
