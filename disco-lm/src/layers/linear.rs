//! Linear layers: a matmul by a weight, a bias, and the low-rank update (LoRA) beside the weight.

use burn::tensor::Tensor;

use crate::layers::{gradients::GradientAccumulator, low_rank::LowRank, weight::Weight};

/// A linear layer: `y = x W^T + b`, plus a low-rank update if the weight has one.
pub(crate) struct Linear {
    /// The index of the weight among the parameters; the bias has the next index.
    pub(super) parameter: usize,
    /// `[out, in]`.
    pub(super) weight: Weight,
    pub(super) bias: Option<Tensor<2>>,
    pub(super) low_rank: Option<LowRank>,
}

impl Linear {
    /// `y = x W^T + b`: `[n, in]` to `[n, out]`.
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let low_rank = self.low_rank.as_ref().map(|low_rank| low_rank.forward(x.clone()));
        let y = self.weight.matmul_transposed(x);
        let y = match low_rank {
            Some(low_rank) => y + low_rank,
            None => y,
        };
        match &self.bias {
            Some(bias) => y + bias.clone(),
            None => y,
        }
    }

    /// The gradient of the input, `[n, in]`, from the gradient of the output, `[n, out]`; the gradients of the parameters are added
    /// to `gradients`.
    pub(crate) fn backward(
        &self,
        x: Tensor<2>,
        grad_y: Tensor<2>,
        gradients: &mut GradientAccumulator<'_>,
    ) -> Tensor<2> {
        let grad_x = self.backward_input(grad_y.clone());
        self.backward_parameters(x, grad_y, gradients);
        grad_x
    }

    /// The gradient of the input alone.
    pub(crate) fn backward_input(&self, grad_y: Tensor<2>) -> Tensor<2> {
        let grad_x = self.weight.matmul(grad_y.clone());
        match &self.low_rank {
            Some(low_rank) => grad_x + low_rank.backward_input(grad_y),
            None => grad_x,
        }
    }

    /// The gradients of the parameters alone.
    pub(crate) fn backward_parameters(
        &self,
        x: Tensor<2>,
        grad_y: Tensor<2>,
        gradients: &mut GradientAccumulator<'_>,
    ) {
        if let Some(low_rank) = &self.low_rank {
            gradients.add_low_rank(self.parameter, low_rank.gradient(x, grad_y));
        } else if gradients.wants_weights() {
            gradients.add_matmul(self.parameter, grad_y.clone().transpose(), x);
            if self.bias.is_some() {
                gradients.add(self.parameter + 1, grad_y.sum_dim(0));
            }
        }
    }
}
