//! The activation between the two matmuls of a feed-forward block: forward pass, backward pass and derivatives.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use burn::tensor::{Tensor, activation};

use crate::{
    architecture::model_config::{Activation, ModelConfig},
    device::host::is_in_cpu_memory,
    kernels::{gated_silu, gated_silu_backward},
};

pub(crate) fn activate(kind: Activation, x: Tensor<2>) -> Tensor<2> {
    match kind {
        Activation::Silu => activation::silu(x),
        Activation::Gelu => activation::gelu(x),
        Activation::GeluTanh => gelu_tanh(x),
        Activation::Relu => activation::relu(x),
        Activation::Tanh => x.tanh(),
    }
}

/// The input of the second matmul, from `up`, the output of the first; `up` is returned too, for the backward pass.
///
/// - up: `[tokens, intermediate_size]`, or `[tokens, 2 * intermediate_size]` if it is gated: the gate, then what it gates
/// - returns: `[tokens, intermediate_size]`, and `up`
pub(crate) fn forward(config: &ModelConfig, up: Tensor<2>) -> [Tensor<2>; 2] {
    let kind = config.feed_forward.activation;
    if !config.feed_forward.gated {
        return [activate(kind, up.clone()), up];
    }
    if kind == Activation::Silu && is_in_cpu_memory(&up) {
        return gated_silu(up);
    }
    let [gate, ungated] = halves(config, up.clone());
    [activate(kind, gate) * ungated, up]
}

/// Backward pass of [`forward`]: its result, recomputed, and the gradient of `up` from `grad_inner`, the gradient of that result.
pub(crate) fn backward(config: &ModelConfig, up: Tensor<2>, grad_inner: Tensor<2>) -> [Tensor<2>; 2] {
    let kind = config.feed_forward.activation;
    if !config.feed_forward.gated {
        return [activate(kind, up.clone()), derivative(kind, up) * grad_inner];
    }
    if kind == Activation::Silu && is_in_cpu_memory(&up) {
        return gated_silu_backward(up, grad_inner);
    }
    let [gate, up] = halves(config, up);
    let active = activate(kind, gate.clone());
    let grad_gate = derivative(kind, gate) * up.clone() * grad_inner.clone();
    let grad_up = grad_inner * active.clone();
    [active * up, Tensor::cat(vec![grad_gate, grad_up], 1)]
}

/// The gate and the elements that it gates, `[tokens, intermediate_size]` each.
fn halves(config: &ModelConfig, up: Tensor<2>) -> [Tensor<2>; 2] {
    let half = config.intermediate_size;
    [up.clone().narrow(1, 0, half), up.narrow(1, half, half)]
}

/// The derivative of an activation, element by element.
fn derivative(kind: Activation, x: Tensor<2>) -> Tensor<2> {
    match kind {
        Activation::Silu => {
            let sigmoid = activation::sigmoid(x.clone());
            (x * (sigmoid.clone().neg() + 1.0) + 1.0) * sigmoid
        }
        // Phi(x) + x phi(x), with the distribution function and the density of the standard normal distribution.
        Activation::Gelu => {
            let distribution = (x.clone().mul_scalar(FRAC_1_SQRT_2).erf() + 1.0).mul_scalar(0.5);
            let density =
                (x.clone() * x.clone()).mul_scalar(-0.5).exp().mul_scalar((2.0 * PI).sqrt().recip());
            distribution + x * density
        }
        Activation::GeluTanh => {
            let (tanh, square) = (gelu_tanh_argument(x.clone()).tanh(), x.clone() * x.clone());
            let argument_derivative = (square.mul_scalar(3.0 * CUBIC) + 1.0).mul_scalar((2.0 / PI).sqrt());
            let tanh_derivative = (tanh.clone() * tanh.clone()).neg() + 1.0;
            (tanh + 1.0 + x * tanh_derivative * argument_derivative).mul_scalar(0.5)
        }
        Activation::Relu => x.greater_elem(0.0).float(),
        Activation::Tanh => {
            let tanh = x.tanh();
            (tanh.clone() * tanh).neg() + 1.0
        }
    }
}

/// The factor of the cube in [`gelu_tanh`].
const CUBIC: f64 = 0.044715;

/// `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`. Burn's own function computes the cube as a general power, which is slow.
fn gelu_tanh(x: Tensor<2>) -> Tensor<2> {
    x.clone().mul_scalar(0.5) * (gelu_tanh_argument(x).tanh() + 1.0)
}

/// The argument of the tanh in [`gelu_tanh`].
fn gelu_tanh_argument(x: Tensor<2>) -> Tensor<2> {
    let cube = x.clone() * x.clone() * x.clone();
    (x + cube.mul_scalar(CUBIC)).mul_scalar((2.0 / PI).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Backend, device::transfer::download};

    /// Rounding in f32, of derivatives of magnitude one.
    const TOLERANCE: f32 = 2e-6;

    #[test]
    fn derivatives_equal_those_of_autodiff() {
        let device = Backend::ALL.into_iter().find_map(|backend| backend.device().ok()).expect("a backend");
        let x = Tensor::<2>::from_floats([[-9.0, -1.3, -0.2, 0.4, 1.0, 2.5, 8.0]], &device);
        let kinds =
            [Activation::Silu, Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Tanh];
        for kind in kinds {
            let leaf = x.clone().autodiff().require_grad();
            let gradients = activate(kind, leaf.clone()).sum().backward();
            let expected = download(leaf.grad(&gradients).expect("a leaf")).expect("readable");
            for (derivative, expected) in
                download(derivative(kind, x.clone())).expect("readable").iter().zip(expected)
            {
                assert!(
                    (derivative - expected).abs() < TOLERANCE,
                    "{kind:?}: {derivative} is not {expected}"
                );
            }
        }
    }
}
