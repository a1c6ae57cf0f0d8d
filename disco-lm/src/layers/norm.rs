//! Layer norm and RMS norm; each row is normalised independently of the others.

use burn::tensor::Tensor;

use crate::{
    architecture::model_config::{ModelConfig, Norm},
    device::host::is_in_cpu_memory,
    kernels::{rms_norm, rms_norm_backward},
    layers::{gradients::GradientAccumulator, reader::ParameterReader},
};

/// The parameters of a norm.
pub(crate) struct NormWeights {
    /// The index of the scale among the parameters; the bias has the next index.
    parameter: usize,
    scale: Tensor<2>,
    bias: Option<Tensor<2>>,
}

impl NormWeights {
    pub(crate) fn assemble(config: &ModelConfig, from: &mut ParameterReader<'_>) -> Self {
        let parameter = from.index();
        let scale = from.elements();
        Self { parameter, scale, bias: (config.norm == Norm::Layer).then(|| from.elements()) }
    }

    /// - x, returns: `[rows, hidden_size]`
    pub(crate) fn forward(&self, config: &ModelConfig, x: Tensor<2>) -> Tensor<2> {
        let scale = self.scale(config);
        if config.norm != Norm::Layer && is_in_cpu_memory(&x) && is_in_cpu_memory(&scale) {
            return rms_norm(x, &scale, config.norm_epsilon);
        }
        let (normalised, _) = normalise(config, x);
        match &self.bias {
            Some(bias) => normalised * scale + bias.clone(),
            None => normalised * scale,
        }
    }

    /// The gradient of `x`, from `grad_y`, the gradient of the output of [`forward`](Self::forward), plus `grad_residual`, the
    /// gradient that reaches `x` through the residual connection; the gradients of the parameters are added to `gradients`.
    ///
    /// Let `n` be the normalised `x` before the scale, `r` the factor that normalised it, and `h` the gradient of `n`. The
    /// gradient of `x` is `r (h - n mean(h n))` for RMS norms, and `r (h - mean(h) - n mean(h n))` for a layer norm, which subtracts
    /// the mean of `x`.
    pub(crate) fn backward(
        &self,
        config: &ModelConfig,
        x: Tensor<2>,
        grad_y: Tensor<2>,
        grad_residual: Tensor<2>,
        gradients: &mut GradientAccumulator<'_>,
    ) -> Tensor<2> {
        let scale = self.scale(config);
        if config.norm != Norm::Layer && is_in_cpu_memory(&x) {
            let (grad_x, grad_scale) =
                rms_norm_backward(x, &scale, config.norm_epsilon, grad_y, grad_residual);
            if gradients.wants_weights() {
                gradients.add(self.parameter, grad_scale);
            }
            return grad_x;
        }
        let (normalised, factor) = normalise(config, x);
        if gradients.wants_weights() {
            gradients.add(self.parameter, (grad_y.clone() * normalised.clone()).sum_dim(0));
            if self.bias.is_some() {
                gradients.add(self.parameter + 1, grad_y.clone().sum_dim(0));
            }
        }
        let grad_normalised = grad_y * scale;
        let mean_along = (grad_normalised.clone() * normalised.clone()).mean_dim(1);
        let grad_centred = match config.norm {
            Norm::Layer => grad_normalised.clone() - grad_normalised.mean_dim(1),
            Norm::Rms | Norm::RmsFromOne => grad_normalised,
        };
        grad_residual + (grad_centred - normalised * mean_along) * factor
    }

    /// The factor of each normalised element: the stored scale, or one plus it (`Norm::RmsFromOne`).
    fn scale(&self, config: &ModelConfig) -> Tensor<2> {
        match config.norm {
            Norm::RmsFromOne => self.scale.clone() + 1.0,
            Norm::Rms | Norm::Layer => self.scale.clone(),
        }
    }

    /// Normalises heads, `[tokens, heads, head_dim]`: each head by itself if the scale has the size of one head (Qwen3), or all
    /// heads of a token together (OLMo 2).
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

    /// One row for each run of elements that is normalised together.
    fn as_rows(&self, x: Tensor<3>) -> Tensor<2> {
        let [_, size] = self.scale.dims();
        let [tokens, heads, head_dim] = x.dims();
        x.reshape([tokens * heads * head_dim / size, size])
    }
}

/// The normalised rows, and the factor `r` of each row: `r x` with `r = 1 / sqrt(mean(x^2) + epsilon)`, where a layer norm first
/// subtracts the mean of the row from `x`.
fn normalise(config: &ModelConfig, x: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    let x = match config.norm {
        Norm::Layer => x.clone() - x.mean_dim(1),
        Norm::Rms | Norm::RmsFromOne => x,
    };
    let mean_square = (x.clone() * x.clone()).mean_dim(1);
    let factor = (mean_square + config.norm_epsilon).sqrt().recip();
    (x * factor.clone(), factor)
}
