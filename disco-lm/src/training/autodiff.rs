//! The gradient by automatic differentiation, with one graph through the whole model.
//!
//! Pretraining uses it, since a layer with dropout cannot be recomputed. So do models with an encoder, since all layers of
//! their decoder attend to the encoder's output, and models with norms behind their residual sums.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::{
    Result, TokenModel,
    attention::CausalAttention,
    kernels::add,
    layers::{
        block::Mode,
        gradients::{Gradient, SharedGradient},
        transformer::Transformer,
        weight::Weight,
    },
    model::forward::{
        PredictionRow, PredictionRows, SequenceInContext, add_log_probs, distinct, forward_sequences, prefill,
    },
};

/// A finished forward pass, whose backward pass waits for the weights of the sequences.
pub(crate) struct AutodiffPass<'a> {
    model: &'a TokenModel,
    /// The trained parameters of the model or of its adapter, one leaf of the graph each.
    leaves: Vec<Tensor<2>>,
    /// The hidden states behind `rows`, tracked by the graph: `[rows, hidden_size]`.
    hidden: Tensor<2>,
    rows: Vec<PredictionRow<'a>>,
    /// One per sequence.
    pub(crate) log_probs: Vec<f64>,
}

/// Adds `sum_i w_i grad log pi(x_i | c_i)` to `gradient`: see [`TokenModel::accumulate`].
pub(crate) fn accumulate(
    model: &TokenModel,
    sequences: &[SequenceInContext<'_>],
    weigh: &mut dyn FnMut(&[f64]) -> Result<Vec<f64>>,
    gradient: &mut Gradient,
) -> Result<()> {
    let size = model.sequences_per_pass(sequences.len());
    let passes: Vec<AutodiffPass<'_>> = sequences
        .par_chunks(size)
        .map(|micro_batch| AutodiffPass::from_sequences(model, micro_batch))
        .collect::<Result<_>>()?;
    let log_probs: Vec<f64> = passes.iter().flat_map(|pass| &pass.log_probs).copied().collect();
    let weights = weigh(&log_probs)?;
    disco_core::Error::check_length("weights of a batch", sequences.len(), weights.len())?;
    let micro_gradients: Vec<Gradient> = passes
        .into_par_iter()
        .zip(weights.par_chunks(size))
        .filter(|(_, weights)| weights.iter().any(|weight| *weight != 0.0))
        .map(|(pass, weights)| pass.backward(weights))
        .collect::<Result<_>>()?;
    // In order, so that the sum does not depend on which micro-batch came first.
    let summands = micro_gradients.into_iter().flat_map(|gradient| gradient.into_iter().enumerate());
    for (parameter, summand) in summands {
        add(&mut gradient[parameter], summand);
    }
    Ok(())
}

impl<'a> AutodiffPass<'a> {
    /// Runs windows of `seq_len` tokens each, which `ids` holds one after the other; `rows` holds the targets of each token.
    pub(crate) fn from_windows(
        model: &'a TokenModel,
        ids: &[u32],
        seq_len: usize,
        rows: Vec<PredictionRow<'a>>,
        mode: &mut Mode<'_>,
    ) -> Result<Self> {
        let batch = ids.len() / seq_len;
        let positions: Vec<usize> = (0..batch).flat_map(|_| 0..seq_len).collect();
        let (transformer, leaves) = model.tracked();
        let mut attention =
            CausalAttention::new(&model.shared.config, batch, seq_len, None, false, &model.shared.device);
        let hidden = transformer.hidden_states(ids, &positions, &mut attention, mode);
        Self::new(model, leaves, PredictionRows { hidden, rows }, batch)
    }

    /// Runs sequences after their contexts.
    fn from_sequences(model: &'a TokenModel, sequences: &[SequenceInContext<'a>]) -> Result<Self> {
        let (contexts, which) = distinct(sequences);
        let tokens: Vec<&'a [u32]> = sequences.iter().map(|sequence| sequence.tokens).collect();
        let (transformer, leaves) = model.tracked();
        let (config, device) = (&model.shared.config, &model.shared.device);
        let prefilled = prefill(&transformer, config, &contexts, device);
        let rows = forward_sequences(&transformer, config, &prefilled, &which, &tokens, device);
        Self::new(model, leaves, rows, sequences.len())
    }

    fn new(
        model: &'a TokenModel,
        leaves: Vec<Tensor<2>>,
        PredictionRows { hidden, rows }: PredictionRows<'a>,
        sequences: usize,
    ) -> Result<Self> {
        let mut log_probs = vec![0.0; sequences];
        let row_log_probs = model.lm_head().log_probs(&hidden.clone().inner(), &rows)?;
        add_log_probs(&mut log_probs, &rows, row_log_probs);
        Ok(Self { model, leaves, hidden, rows, log_probs })
    }

    /// The gradient of `sum_i weights[i] * log_probs[i]`, one entry per leaf.
    pub(crate) fn backward(self, weights: &[f64]) -> Result<Gradient> {
        let states = self.hidden.clone().inner();
        let head_gradient =
            SharedGradient::new(self.model.adapter_layout(), vec![None; self.leaves.len()], 1);
        let grad_hidden = self.model.lm_head().gradient(
            &states,
            &self.rows,
            weights,
            None,
            &mut head_gradient.accumulator(0),
        )?;
        // The gradient of sum(hidden * grad_hidden) by hidden is grad_hidden: the chain rule continues from the hand-written head.
        let gradients = (self.hidden * Tensor::from_inner(grad_hidden)).sum().backward();
        let mut gradient: Gradient = self.leaves.iter().map(|leaf| leaf.grad(&gradients)).collect();
        gradient
            .iter_mut()
            .zip(head_gradient.into_gradient())
            .for_each(|(sum, head_gradient)| add(sum, head_gradient));
        Ok(gradient)
    }
}

impl TokenModel {
    /// A transformer whose trained parameters are leaves of a new automatic-differentiation graph, and those leaves in the order
    /// of the trained parameters.
    fn tracked(&self) -> (Transformer, Vec<Tensor<2>>) {
        let leaves: Vec<Tensor<2>> =
            self.trained_elements().into_iter().map(|tensor| tensor.autodiff().require_grad()).collect();
        let transformer = match &self.adapter {
            Some(adapter) => self
                .transformer_with(&self.weights, &adapter.layout.updates(&self.shared.parameters, &leaves)),
            None => {
                let weights: Vec<Weight> = leaves.iter().cloned().map(Weight::F32).collect();
                self.transformer_with(&weights, &BTreeMap::new())
            }
        };
        (transformer, leaves)
    }
}
