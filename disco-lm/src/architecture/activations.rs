//! The names of activations in configurations, for [`ConfigReader::choice`](super::config_reader::ConfigReader::choice).

use super::model_config::Activation;

/// Names and the activation that each stands for; transformers computes some each of them in another way, with the same result up to rounding.
type Names = &'static [(&'static str, Activation)];

/// The names of all activations that a feed-forward block may have.
pub(super) const ALL: Names = &[
    ("gelu", Activation::Gelu),
    ("gelu_new", Activation::GeluTanh),
    ("gelu_python", Activation::Gelu),
    ("gelu_pytorch_tanh", Activation::GeluTanh),
    ("gelu_python_tanh", Activation::GeluTanh),
    ("gelu_fast", Activation::GeluTanh),
    ("gelu_accurate", Activation::GeluTanh),
    ("relu", Activation::Relu),
    ("silu", Activation::Silu),
    ("swish", Activation::Silu),
    ("tanh", Activation::Tanh),
];

/// The names of the activation of Llama and its relatives.
pub(super) const SILU: Names = &[("silu", Activation::Silu), ("swish", Activation::Silu)];
