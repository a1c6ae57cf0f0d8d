//! One step of Adam or AdamW on one parameter, on any device.

use burn::tensor::Tensor;

use crate::{
    device::{host::is_in_cpu_memory, transfer::take},
    kernels::adam::{AdamStep, adam},
};

/// The parameter after the step; `first` and `second`, its optimizer state, are replaced. [`AdamStep`] has the formula.
pub(crate) fn apply(
    step: &AdamStep,
    old: Tensor<2>,
    gradient: Tensor<2>,
    first: &mut Tensor<2>,
    second: &mut Tensor<2>,
) -> Tensor<2> {
    if is_in_cpu_memory(&old) {
        let [new, new_first, new_second] = adam(step, [old, take(first), take(second)], gradient);
        (*first, *second) = (new_first, new_second);
        return new;
    }
    let gradient = penalised(gradient.mul_scalar(step.scale), &old, step.penalty);
    let square = gradient.clone() * gradient.clone();
    *first = take(first).mul_scalar(step.beta1) + gradient.mul_scalar(1.0 - step.beta1);
    *second = take(second).mul_scalar(step.beta2) + square.mul_scalar(1.0 - step.beta2);
    let root = second.clone().sqrt().mul_scalar(step.second_correction) + step.epsilon;
    let moved = first.clone().mul_scalar(step.first_correction) / root;
    old.mul_scalar(step.keep) - moved.mul_scalar(step.rate)
}

/// The gradient of the loss with `weight_decay / 2 * |parameter|^2` added to it: L2 regularisation.
pub(crate) fn penalised(gradient: Tensor<2>, parameter: &Tensor<2>, weight_decay: f64) -> Tensor<2> {
    if weight_decay == 0.0 { gradient } else { gradient + parameter.clone().mul_scalar(weight_decay) }
}
