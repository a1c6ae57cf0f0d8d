//! Layers: one block of a transformer, forward and backward. Linear layers, norms, activations, and the stacks made of them.

pub(crate) mod activation;
pub(crate) mod block;
mod block_backward;
pub(crate) mod gradients;
pub(crate) mod linear;
pub(crate) mod low_rank;
pub(crate) mod norm;
pub(crate) mod reader;
pub(crate) mod rotary;
pub(crate) mod saved;
pub(crate) mod stack;
pub(crate) mod transformer;
pub(crate) mod weight;
