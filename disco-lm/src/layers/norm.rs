//! Norms: each row by itself.

use burn::tensor::Tensor;

use crate::{
    architecture::model_config::{ModelConfig, Norm},
    device::host::holds,
    kernels::{rms_norm, rms_norm_backward},
    layers::{gradients::GradientAccumulator, reader::ParameterReader},
};

pub(crate) struct NormWeights {
    /// The parameter of the scale; that of the bias is the next.
    parameter: usize,
    scale: Tensor<2>,
    bias: Option<Tensor<2>>,
}

impl NormWeights {
    pub(crate) fn assemble(config: &ModelConfig, from: &mut ParameterReader<'_>) -> Self {
        let parameter = from.index();
        let scale = from.vector();
        Self { parameter, scale, bias: (config.norm == Norm::Layer).then(|| from.vector()) }
    }

    /// - x, returns: `[rows, hidden_size]`
    pub(crate) fn forward(&self, config: &ModelConfig, x: Tensor<2>) -> Tensor<2> {
        let scale = self.scale(config);
        if config.norm != Norm::Layer && holds(&x) && holds(&scale) {
            return rms_norm(x, &scale, config.norm_epsilon);
        }
        let (normal, _) = normalised(config, x);
        match &self.bias {
            Some(bias) => normal * scale + bias.clone(),
            None => normal * scale,
        }
    }

    /// The gradient of `x`, from that of what [`forward`](Self::forward) makes of it, added to `sum`; those of the
    /// parameters are added to `gradients`.
    ///
    /// With `n` what has been normalised, `r` what it was multiplied by for that, and `h` the gradient of `n`, that of `x`
    /// is `r (h - n mean(h n))`; less `r mean(h)` where the mean has been taken off.
    pub(crate) fn backward(
        &self,
        config: &ModelConfig,
        x: Tensor<2>,
        grad_y: Tensor<2>,
        sum: Tensor<2>,
        gradients: &mut GradientAccumulator<'_>,
    ) -> Tensor<2> {
        let scale = self.scale(config);
        if config.norm != Norm::Layer && holds(&x) {
            let (grad_x, grad_scale) = rms_norm_backward(x, &scale, config.norm_epsilon, grad_y, sum);
            if gradients.wants_weights() {
                gradients.add(self.parameter, grad_scale);
            }
            return grad_x;
        }
        let (normal, factor) = normalised(config, x);
        if gradients.wants_weights() {
            gradients.add(self.parameter, (grad_y.clone() * normal.clone()).sum_dim(0));
            if self.bias.is_some() {
                gradients.add(self.parameter + 1, grad_y.clone().sum_dim(0));
            }
        }
        let grad_normal = grad_y * scale;
        let along = (grad_normal.clone() * normal.clone()).mean_dim(1);
        let grad_centred = match config.norm {
            Norm::Layer => grad_normal.clone() - grad_normal.mean_dim(1),
            Norm::Rms | Norm::RmsFromOne => grad_normal,
        };
        sum + (grad_centred - normal * along) * factor
    }

    /// What is normalised is multiplied by it.
    fn scale(&self, config: &ModelConfig) -> Tensor<2> {
        match config.norm {
            Norm::RmsFromOne => self.scale.clone() + 1.0,
            Norm::Rms | Norm::Layer => self.scale.clone(),
        }
    }

    /// Normalises heads, `[tokens, heads, head_dim]`: each by itself if the scale has the size of one (Qwen3), or all heads of a
    /// token together (OLMo 2).
    pub(crate) fn forward_heads(&self, config: &ModelConfig, x: Tensor<3>) -> Tensor<3> {
        let shape = x.dims();
        self.forward(config, self.as_rows(x)).reshape(shape)
    }

    /// The gradient of the input of [`forward_heads`](Self::forward_heads), from the gradient of its output.
    pub(crate) fn backward_heads(
        &self,
        config: &ModelConfig,
        x: Tensor<3>,
        grad_y: Tensor<3>,
        gradients: &mut GradientAccumulator<'_>,
    ) -> Tensor<3> {
        let shape = x.dims();
        let x = self.as_rows(x);
        let zeros = x.zeros_like();
        self.backward(config, x, self.as_rows(grad_y), zeros, gradients).reshape(shape)
    }

    /// One row for each run of elements that is normalised by itself.
    fn as_rows(&self, x: Tensor<3>) -> Tensor<2> {
        let [_, size] = self.scale.dims();
        let [tokens, heads, head_dim] = x.dims();
        x.reshape([tokens * heads * head_dim / size, size])
    }
}

/// Rows of mean square one, and what each was multiplied by for that.
fn normalised(config: &ModelConfig, x: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    let x = match config.norm {
        Norm::Layer => x.clone() - x.mean_dim(1),
        Norm::Rms | Norm::RmsFromOne => x,
    };
    let mean_square = (x.clone() * x.clone()).mean_dim(1);
    let factor = (mean_square + config.norm_epsilon).sqrt().recip();
    (x * factor.clone(), factor)
}
