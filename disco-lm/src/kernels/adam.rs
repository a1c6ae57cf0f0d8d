//! The Adam and AdamW update of one parameter.
//!
//! Written in Burn's operations, the update takes twenty passes over the memory of each tensor, each on one thread, and
//! four copies of the largest tensor exist at once. The kernel takes one pass on all threads.

use burn::tensor::Tensor;
use disco_tuner::{Adam, Update};
use rayon::prelude::*;

use crate::kernels::{BLOCK, simd::vectorised, values, values_mut};

/// One step of Adam or AdamW on each element `w` of a parameter, given its gradient `g`, as PyTorch computes it (Kingma and
/// Ba 2015, algorithm 1; Loshchilov and Hutter 2019, algorithm 2):
///
/// ```text
/// g' = scale g + penalty w
/// m' = beta1 m + (1 - beta1) g'
/// v' = beta2 v + (1 - beta2) g'^2
/// w' = keep w - rate (m' first_correction) / (sqrt(v') second_correction + epsilon)
/// ```
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdamStep {
    pub(crate) scale: f64,
    pub(crate) penalty: f64,
    pub(crate) keep: f64,
    pub(crate) rate: f64,
    pub(crate) beta1: f64,
    pub(crate) beta2: f64,
    pub(crate) epsilon: f64,
    /// `1 / (1 - beta1^steps)`.
    pub(crate) first_correction: f64,
    /// `1 / sqrt(1 - beta2^steps)`.
    pub(crate) second_correction: f64,
}

impl AdamStep {
    /// Step number `steps`, from 1, of gradients that clipping scales by `scale`; without weight decay.
    pub(crate) fn new(adam: &Adam, update: &Update, scale: f64, steps: u64) -> Self {
        let correction = |beta: f64| (1.0 - beta.powf(steps as f64)).recip();
        Self {
            scale,
            penalty: 0.0,
            keep: 1.0,
            rate: update.learning_rate,
            beta1: adam.beta1,
            beta2: adam.beta2,
            epsilon: adam.epsilon,
            first_correction: correction(adam.beta1),
            second_correction: correction(adam.beta2).sqrt(),
        }
    }

    /// This step with `weight_decay / 2 * |w|^2` added to the loss (Adam).
    pub(crate) fn penalised(self, weight_decay: f64) -> Self {
        Self { penalty: weight_decay, ..self }
    }

    /// This step with decoupled weight decay: it also multiplies the parameter by `1 - rate * weight_decay` (AdamW).
    pub(crate) fn decayed(self, weight_decay: f64) -> Self {
        Self { keep: 1.0 - self.rate * weight_decay, ..self }
    }
}

/// Applies `step` to a parameter and its optimizer state in one pass; in place if no other handle to their memory exists.
///
/// - tensors, returns: `w`, `m` and `v` of [`AdamStep`], each of the shape of `gradient`
pub(crate) fn adam(step: &AdamStep, tensors: [Tensor<2>; 3], gradient: Tensor<2>) -> [Tensor<2>; 3] {
    let device = gradient.device();
    let gradient = gradient.into_data();
    let mut tensors = tensors.map(Tensor::into_data);
    let [parameter, first, second] = tensors.each_mut().map(|data| values_mut(data).par_chunks_mut(BLOCK));
    let blocks = parameter.zip(first).zip(second).zip(values(&gradient).par_chunks(BLOCK));
    blocks.for_each(|(((parameter, first), second), gradient)| {
        vectorised(
            #[inline(always)]
            || block(step, parameter, first, second, gradient),
        );
    });
    tensors.map(|data| Tensor::from_data(data, &device))
}

#[inline(always)]
fn block(step: &AdamStep, parameter: &mut [f32], first: &mut [f32], second: &mut [f32], gradient: &[f32]) {
    let [scale, penalty, keep, rate] = [step.scale, step.penalty, step.keep, step.rate].map(|x| x as f32);
    let [beta1, rest1] = [step.beta1, 1.0 - step.beta1].map(|x| x as f32);
    let [beta2, rest2] = [step.beta2, 1.0 - step.beta2].map(|x| x as f32);
    let [correct1, correct2, epsilon] =
        [step.first_correction, step.second_correction, step.epsilon].map(|x| x as f32);
    for (((w, m), v), g) in parameter.iter_mut().zip(first).zip(second).zip(gradient) {
        let g = g * scale + *w * penalty;
        *m = *m * beta1 + g * rest1;
        *v = *v * beta2 + g * g * rest2;
        *w = *w * keep - *m * correct1 / (v.sqrt() * correct2 + epsilon) * rate;
    }
}
