//! What stands between the two products of a feed-forward block.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use burn::tensor::{Tensor, activation};

use crate::{
    architecture::model_config::{Activation, ModelConfig},
    device::host::holds,
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

/// What enters the second product, from what has left the first, which is handed back.
///
/// - up: `[tokens, intermediate_size]`, or twice as wide if it is gated
/// - returns: `[tokens, intermediate_size]`, and `up`
pub(crate) fn inner(config: &ModelConfig, up: Tensor<2>) -> [Tensor<2>; 2] {
    let kind = config.feed_forward.activation;
    if !config.feed_forward.gated {
        return [activate(kind, up.clone()), up];
    }
    if kind == Activation::Silu && holds(&up) {
        return gated_silu(up);
    }
    let [gate, ungated] = halves(config, up.clone());
    [activate(kind, gate) * ungated, up]
}

/// The same again, and the gradient of `up` from that of the result.
pub(crate) fn inner_backward(config: &ModelConfig, up: Tensor<2>, grad_inner: Tensor<2>) -> [Tensor<2>; 2] {
    let kind = config.feed_forward.activation;
    if !config.feed_forward.gated {
        return [activate(kind, up.clone()), derivative(kind, up) * grad_inner];
    }
    if kind == Activation::Silu && holds(&up) {
        return gated_silu_backward(up, grad_inner);
    }
    let [gate, up] = halves(config, up);
    let active = activate(kind, gate.clone());
    let grad_gate = derivative(kind, gate) * up.clone() * grad_inner.clone();
    let grad_up = grad_inner * active.clone();
    [active * up, Tensor::cat(vec![grad_gate, grad_up], 1)]
}

fn halves(config: &ModelConfig, both: Tensor<2>) -> [Tensor<2>; 2] {
    let half = config.intermediate_size;
    [both.clone().narrow(1, 0, half), both.narrow(1, half, half)]
}

/// The derivative of an activation.
fn derivative(kind: Activation, x: Tensor<2>) -> Tensor<2> {
    match kind {
        Activation::Silu => {
            let sigmoid = activation::sigmoid(x.clone());
            (x * (sigmoid.clone().neg() + 1.0) + 1.0) * sigmoid
        }
        // Phi(x) + x phi(x), with the distribution and density of a standard normal variable.
        Activation::Gelu => {
            let distribution = (x.clone().mul_scalar(FRAC_1_SQRT_2).erf() + 1.0).mul_scalar(0.5);
            let density =
                (x.clone() * x.clone()).mul_scalar(-0.5).exp().mul_scalar((2.0 * PI).sqrt().recip());
            distribution + x * density
        }
        Activation::GeluTanh => {
            let (tanh, square) = (gelu_tanh_inner(x.clone()).tanh(), x.clone() * x.clone());
            let grad_inner = (square.mul_scalar(3.0 * CUBIC) + 1.0).mul_scalar((2.0 / PI).sqrt());
            let grad_tanh = (tanh.clone() * tanh.clone()).neg() + 1.0;
            (tanh + 1.0 + x * grad_tanh * grad_inner).mul_scalar(0.5)
        }
        Activation::Relu => x.greater_elem(0.0).float(),
        Activation::Tanh => {
            let tanh = x.tanh();
            (tanh.clone() * tanh).neg() + 1.0
        }
    }
}

const CUBIC: f64 = 0.044715;

/// `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`: Burn's own takes a general power, which is slow.
fn gelu_tanh(x: Tensor<2>) -> Tensor<2> {
    x.clone().mul_scalar(0.5) * (gelu_tanh_inner(x).tanh() + 1.0)
}

fn gelu_tanh_inner(x: Tensor<2>) -> Tensor<2> {
    let cube = x.clone() * x.clone() * x.clone();
    (x + cube.mul_scalar(CUBIC)).mul_scalar((2.0 / PI).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Backend, device::transfer::download};

    /// In f32, of numbers of size one.
    const TOLERANCE: f32 = 2e-6;

    #[test]
    fn slopes_are_those_of_automatic_differentiation() {
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
