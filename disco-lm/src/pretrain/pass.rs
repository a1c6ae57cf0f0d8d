//! One graph through the whole model, for windows of a corpus: with dropout a layer cannot be run twice.

use burn::tensor::Tensor;
use std::collections::BTreeMap;

use crate::{
    Result, TokenModel,
    attention::Causal,
    decoder::Branch,
    optimizer::{Gradient, add},
    rows::Target,
};

/// A forward pass that waits for the weights of its sequences.
pub(super) struct Pass<'a> {
    model: &'a TokenModel,
    tracked: Vec<Tensor<2>>,
    /// Of the graph.
    hidden: Tensor<2>,
    targets: Vec<Vec<Target>>,
    /// One per sequence.
    pub(super) log_probs: Vec<f64>,
}

impl<'a> Pass<'a> {
    /// Sequences of `time` tokens each, all of `ids`; `targets` is what each token predicts.
    pub(super) fn new(
        model: &'a TokenModel,
        ids: &[u32],
        time: usize,
        targets: Vec<Vec<Target>>,
        branch: &mut Branch<'_>,
    ) -> Result<Self> {
        let batch = ids.len() / time;
        let places: Vec<usize> = (0..batch).flat_map(|_| 0..time).collect();
        let tracked: Vec<Tensor<2>> =
            model.tensors.iter().map(|tensor| tensor.clone().autodiff().require_grad()).collect();
        let mut attention = Causal::new(&model.frame.spec, batch, time, None, false, &model.frame.device);
        let decoder = model.decoder_with(&tracked, &BTreeMap::new());
        let hidden = decoder.hidden(ids, &places, &mut attention, branch);
        let mut log_probs = vec![0.0; batch];
        let rows = model.head().log_probs(&hidden.clone().inner(), &targets)?;
        for (target, log_prob) in targets.iter().flatten().zip(rows.into_iter().flatten()) {
            log_probs[target.sequence] += log_prob;
        }
        Ok(Self { model, tracked, hidden, targets, log_probs })
    }

    /// The gradient of `sum_i weights[i] * log_probs[i]`, one entry per slot.
    pub(super) fn backward(self, weights: &[f64]) -> Result<Gradient> {
        let states = self.hidden.clone().inner();
        let head = self.model.head().gradient(&states, &self.targets, weights, true)?;
        // The sum of hidden * of_hidden has of_hidden as its gradient: the chain rule, begun by hand.
        let gradients = (self.hidden * Tensor::from_inner(head.of_hidden)).sum().backward();
        let mut gradient: Gradient = self.tracked.iter().map(|leaf| leaf.grad(&gradients)).collect();
        add(&mut gradient[self.model.head_slot()], head.of_weight);
        Ok(gradient)
    }
}
