//! An adapter: the low-rank updates beside a model's frozen matrices, and their parameters.

use std::sync::Arc;

use burn::tensor::Tensor;

use crate::{
    Lora,
    architecture::{modules::Module, parameters::Parameter},
    layers::low_rank::LowRankLayout,
};

/// An adapter: two matrices per module.
///
/// `model/adapted.rs` makes, loads, saves and merges it; `lora/peft.rs` has the method that gives its `adapter_config.json`.
#[derive(Clone, Debug)]
pub(crate) struct Adapter {
    pub(crate) lora: Lora,
    /// The module that each of its tensors belongs to.
    pub(crate) layout: Arc<LowRankLayout>,
    /// Two per module, `A` then `B`, with their names in PEFT's files.
    pub(crate) parameters: Arc<Vec<Parameter>>,
    // Invariant: one tensor per parameter, of the parameter's shape.
    pub(crate) tensors: Vec<Tensor<2>>,
}

impl Adapter {
    pub(crate) fn new(lora: Lora, modules: Vec<Module>, tensors: Vec<Tensor<2>>) -> Self {
        let parameters = modules.iter().flat_map(|module| module.factors(lora.rank)).collect();
        let layout = LowRankLayout { modules, rank: lora.rank, scale: lora.scale() };
        Self { lora, layout: Arc::new(layout), parameters: Arc::new(parameters), tensors }
    }
}
