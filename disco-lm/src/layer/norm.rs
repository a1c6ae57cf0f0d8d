//! Norms: each row by itself.

use burn::tensor::Tensor;

use super::Supply;
use crate::{
    host,
    spec::{Norm, Spec},
    sums::Sums,
};

pub(crate) struct NormWeights {
    /// The slot of the scale; that of the bias is the next.
    slot: usize,
    scale: Tensor<2>,
    bias: Option<Tensor<2>>,
}

impl NormWeights {
    pub(crate) fn assemble(spec: &Spec, from: &mut Supply<'_>) -> Self {
        let slot = from.slot();
        let scale = from.tensor();
        Self { slot, scale, bias: (spec.norm == Norm::Layer).then(|| from.tensor()) }
    }

    /// - x, returns: `[rows, width]`
    pub(crate) fn forward(&self, spec: &Spec, x: Tensor<2>) -> Tensor<2> {
        let scale = self.scale(spec);
        if spec.norm != Norm::Layer && host::holds(&x) && host::holds(&scale) {
            return host::rms_norm(x, &scale, spec.norm_epsilon);
        }
        let (normal, _) = normalised(spec, x);
        match &self.bias {
            Some(bias) => normal * scale + bias.clone(),
            None => normal * scale,
        }
    }

    /// The gradient of `x`, from that of what [`forward`](Self::forward) makes of it, added to `sum`; those of the
    /// parameters are added to `sums`.
    ///
    /// With `n` what has been normalised, `r` what it was multiplied by for that, and `h` the gradient of `n`, that of `x`
    /// is `r (h - n mean(h n))`; less `r mean(h)` where the mean has been taken off.
    pub(crate) fn backward(
        &self,
        spec: &Spec,
        x: Tensor<2>,
        of_y: Tensor<2>,
        sum: Tensor<2>,
        sums: &mut Sums<'_>,
    ) -> Tensor<2> {
        let scale = self.scale(spec);
        if spec.norm != Norm::Layer && host::holds(&x) {
            let (of_x, of_scale) = host::rms_norm_gradient(x, &scale, spec.norm_epsilon, of_y, sum);
            if sums.wants_weights() {
                sums.add(self.slot, of_scale);
            }
            return of_x;
        }
        let (normal, factor) = normalised(spec, x);
        if sums.wants_weights() {
            sums.add(self.slot, (of_y.clone() * normal.clone()).sum_dim(0));
            if self.bias.is_some() {
                sums.add(self.slot + 1, of_y.clone().sum_dim(0));
            }
        }
        let of_normal = of_y * scale;
        let along = (of_normal.clone() * normal.clone()).mean_dim(1);
        let of_centred = match spec.norm {
            Norm::Layer => of_normal.clone() - of_normal.mean_dim(1),
            Norm::Rms | Norm::RmsFromOne => of_normal,
        };
        sum + (of_centred - normal * along) * factor
    }

    /// What is normalised is multiplied by it.
    fn scale(&self, spec: &Spec) -> Tensor<2> {
        match spec.norm {
            Norm::RmsFromOne => self.scale.clone() + 1.0,
            Norm::Rms | Norm::Layer => self.scale.clone(),
        }
    }

    /// Normalises each head by itself (Qwen3): `[tokens, heads, head_width]`.
    pub(crate) fn forward_heads(&self, spec: &Spec, x: Tensor<3>) -> Tensor<3> {
        let shape = x.dims();
        self.forward(spec, as_rows(x)).reshape(shape)
    }

    /// The gradient of `x`, from that of what [`forward_heads`](Self::forward_heads) makes of it.
    pub(crate) fn backward_heads(
        &self,
        spec: &Spec,
        x: Tensor<3>,
        of_y: Tensor<3>,
        sums: &mut Sums<'_>,
    ) -> Tensor<3> {
        let shape = x.dims();
        let x = as_rows(x);
        let zeros = x.zeros_like();
        self.backward(spec, x, as_rows(of_y), zeros, sums).reshape(shape)
    }
}

fn as_rows(x: Tensor<3>) -> Tensor<2> {
    let [tokens, heads, width] = x.dims();
    x.reshape([tokens * heads, width])
}

/// Rows of mean square one, and what each was multiplied by for that.
fn normalised(spec: &Spec, x: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    let x = match spec.norm {
        Norm::Layer => x.clone() - x.mean_dim(1),
        Norm::Rms | Norm::RmsFromOne => x,
    };
    let mean_square = (x.clone() * x.clone()).mean_dim(1);
    let factor = (mean_square + spec.norm_epsilon).sqrt().recip();
    (x * factor.clone(), factor)
}
