//! Adam and AdamW on one parameter.

use burn::tensor::Tensor;
use disco_tuner::{Adam, Update};

use crate::{
    host,
    optimizer::{penalised, take},
};

/// What a step does to each number `w` of a parameter, given its gradient `g`, as PyTorch computes it (Kingma and Ba 2015,
/// algorithm 1; Loshchilov and Hutter 2019, algorithm 2):
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

    /// With the gradient of `weight_decay / 2 * |w|^2` added (Adam).
    pub(crate) fn penalised(self, weight_decay: f64) -> Self {
        Self { penalty: weight_decay, ..self }
    }

    /// With the parameter shrunk beside the step (AdamW).
    pub(crate) fn decayed(self, weight_decay: f64) -> Self {
        Self { keep: 1.0 - self.rate * weight_decay, ..self }
    }

    /// The parameter after the step; its moments are replaced.
    pub(crate) fn apply(
        &self,
        old: Tensor<2>,
        gradient: Tensor<2>,
        first: &mut Tensor<2>,
        second: &mut Tensor<2>,
    ) -> Tensor<2> {
        if host::holds(&old) {
            let [new, new_first, new_second] = host::adam(self, [old, take(first), take(second)], gradient);
            (*first, *second) = (new_first, new_second);
            return new;
        }
        let gradient = penalised(gradient.mul_scalar(self.scale), &old, self.penalty);
        let square = gradient.clone() * gradient.clone();
        *first = take(first).mul_scalar(self.beta1) + gradient.mul_scalar(1.0 - self.beta1);
        *second = take(second).mul_scalar(self.beta2) + square.mul_scalar(1.0 - self.beta2);
        let root = second.clone().sqrt().mul_scalar(self.second_correction) + self.epsilon;
        let moved = first.clone().mul_scalar(self.first_correction) / root;
        old.mul_scalar(self.keep) - moved.mul_scalar(self.rate)
    }
}
