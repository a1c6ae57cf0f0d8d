//! What stands between the two products of a feed-forward block.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use burn::tensor::{Tensor, activation};

use crate::{
    host,
    spec::{Activation, Spec},
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
/// - up: `[tokens, feed_forward_width]`, or twice as wide if it is gated
/// - returns: `[tokens, feed_forward_width]`, and `up`
pub(super) fn inner(spec: &Spec, up: Tensor<2>) -> [Tensor<2>; 2] {
    let kind = spec.feed_forward.activation;
    if !spec.feed_forward.gated {
        return [activate(kind, up.clone()), up];
    }
    if kind == Activation::Silu && host::holds(&up) {
        return host::gated_silu(up);
    }
    let [gate, ungated] = halves(spec, up.clone());
    [activate(kind, gate) * ungated, up]
}

/// The same again, and the gradient of `up` from that of the result.
pub(super) fn inner_backward(spec: &Spec, up: Tensor<2>, of_inner: Tensor<2>) -> [Tensor<2>; 2] {
    let kind = spec.feed_forward.activation;
    if !spec.feed_forward.gated {
        return [activate(kind, up.clone()), slope(kind, up) * of_inner];
    }
    if kind == Activation::Silu && host::holds(&up) {
        return host::gated_silu_gradient(up, of_inner);
    }
    let [gate, up] = halves(spec, up);
    let active = activate(kind, gate.clone());
    let of_gate = slope(kind, gate) * up.clone() * of_inner.clone();
    let of_up = of_inner * active.clone();
    [active * up, Tensor::cat(vec![of_gate, of_up], 1)]
}

fn halves(spec: &Spec, both: Tensor<2>) -> [Tensor<2>; 2] {
    let half = spec.feed_forward_width;
    [both.clone().narrow(1, 0, half), both.narrow(1, half, half)]
}

/// The derivative of an activation.
fn slope(kind: Activation, x: Tensor<2>) -> Tensor<2> {
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
            let of_inner = (square.mul_scalar(3.0 * CUBIC) + 1.0).mul_scalar((2.0 / PI).sqrt());
            let of_tanh = (tanh.clone() * tanh.clone()).neg() + 1.0;
            (tanh + 1.0 + x * of_tanh * of_inner).mul_scalar(0.5)
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
    use crate::{Backend, token_model::download};

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
            for (slope, expected) in download(slope(kind, x.clone())).expect("readable").iter().zip(expected)
            {
                assert!((slope - expected).abs() < TOLERANCE, "{kind:?}: {slope} is not {expected}");
            }
        }
    }
}
