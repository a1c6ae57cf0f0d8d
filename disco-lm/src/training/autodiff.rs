//! One graph through the whole model: for windows of a corpus, since with dropout a layer cannot be run twice,
//! and for models with an encoder, all of whose decoder's layers see the encoder's last.

use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::{
    Result, TokenModel,
    attention::CausalAttention,
    kernels::add,
    layers::{
        block::Mode,
        gradients::{Gradient, SharedGradient},
    },
    model::forward::{
        PredictionRow, PredictionRows, SequenceInContext, add_log_probs, distinct, forward_sequences, prefill,
    },
};

/// A forward pass that waits for the weights of its sequences.
pub(crate) struct AutodiffPass<'a> {
    model: &'a TokenModel,
    /// What is trained, one leaf per parameter of the model or of its adapter.
    leaves: Vec<Tensor<2>>,
    /// Of the graph.
    hidden: Tensor<2>,
    rows: Vec<PredictionRow<'a>>,
    /// One per sequence.
    pub(crate) log_probs: Vec<f64>,
}

/// Adds `sum_i w_i grad log pi(x_i | c_i)` to `gradient`, as [`TokenModel::accumulate`].
pub(crate) fn accumulate(
    model: &TokenModel,
    sequences: &[SequenceInContext<'_>],
    weigh: &mut dyn FnMut(&[f64]) -> Result<Vec<f64>>,
    gradient: &mut Gradient,
) -> Result<()> {
    let size = model.part(sequences.len());
    let passes: Vec<AutodiffPass<'_>> = sequences
        .par_chunks(size)
        .map(|part| AutodiffPass::from_sequences(model, part))
        .collect::<Result<_>>()?;
    let log_probs: Vec<f64> = passes.iter().flat_map(|pass| &pass.log_probs).copied().collect();
    let weights = weigh(&log_probs)?;
    disco_core::Error::check_length("weights of a batch", sequences.len(), weights.len())?;
    let parts: Vec<Gradient> = passes
        .into_par_iter()
        .zip(weights.par_chunks(size))
        .filter(|(_, weights)| weights.iter().any(|weight| *weight != 0.0))
        .map(|(pass, weights)| pass.backward(weights))
        .collect::<Result<_>>()?;
    // In order, so that the sum does not depend on who was first.
    for (sum, part) in parts.into_iter().flat_map(|part| part.into_iter().enumerate()) {
        add(&mut gradient[sum], part);
    }
    Ok(())
}

impl<'a> AutodiffPass<'a> {
    /// Sequences of `time` tokens each, all of `ids`; `rows` say what each token predicts.
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
        let hidden = transformer.hidden(ids, &positions, &mut attention, mode);
        Self::new(model, leaves, PredictionRows { hidden, rows }, batch)
    }

    /// Sequences after their contexts.
    fn from_sequences(model: &'a TokenModel, sequences: &[SequenceInContext<'a>]) -> Result<Self> {
        let (contexts, which) = distinct(sequences);
        let tokens: Vec<&'a [u32]> = sequences.iter().map(|sequence| sequence.tokens).collect();
        let (transformer, leaves) = model.tracked();
        let (config, device) = (&model.shared.config, &model.shared.device);
        let read = prefill(&transformer, config, &contexts, device);
        let rows = forward_sequences(&transformer, config, &read, &which, &tokens, device);
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
        let grad_hidden =
            self.model.lm_head().gradient(&states, &self.rows, weights, None, &mut head_gradient.part(0))?;
        // The sum of hidden * grad_hidden has grad_hidden as its gradient: the chain rule, begun by hand.
        let gradients = (self.hidden * Tensor::from_inner(grad_hidden)).sum().backward();
        let mut gradient: Gradient = self.leaves.iter().map(|leaf| leaf.grad(&gradients)).collect();
        gradient
            .iter_mut()
            .zip(head_gradient.into_gradient())
            .for_each(|(sum, head_gradient)| add(sum, head_gradient));
        Ok(gradient)
    }
}
