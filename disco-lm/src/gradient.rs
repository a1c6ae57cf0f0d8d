//! Weighted sums of score functions, `sum_i w_i grad log pi(x_i | c_i)`.
//!
//! The layers' gradient comes from Burn's automatic differentiation, the output layer's is formed by hand: it
//! is known in closed form, and this way no tensor over all tokens and the whole vocabulary exists.

use std::collections::HashMap;

use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::{
    Result, TokenModel,
    head::Head,
    optimizer::Gradient,
    rows::{Rows, Target, read, run},
};

/// A sequence to be scored, in its context.
pub(crate) struct Sequence<'a> {
    pub(crate) context: &'a [u32],
    pub(crate) tokens: &'a [u32],
}

/// A forward pass that waits for the weights of its sequences.
pub(crate) struct Pass<'a> {
    model: &'a TokenModel,
    tracked: Vec<Tensor<2>>,
    /// Of the graph.
    hidden: Tensor<2>,
    targets: Vec<Vec<Target>>,
    /// One per sequence.
    pub(crate) log_probs: Vec<f64>,
}

impl TokenModel {
    /// The parameters as leaves of a graph of their own.
    pub(crate) fn tracked(&self) -> Vec<Tensor<2>> {
        self.tensors.iter().map(|tensor| tensor.clone().autodiff().require_grad()).collect()
    }

    /// The slot of the output matrix: the last, or the embedding it is tied to.
    fn head_slot(&self) -> usize {
        if self.frame.spec.tied { 0 } else { self.tensors.len() - 1 }
    }

    fn head(&self) -> Head<'_> {
        Head::new(self.tensors[self.head_slot()].clone(), &self.generation.decoding)
    }

    /// Adds `sum_i w_i grad log pi(x_i | c_i)` to `gradient`, where `weigh` gives the `w_i` once it knows the
    /// log-probabilities. Every sequence must be an event of the model.
    pub(crate) fn accumulate(
        &self,
        sequences: &[Sequence<'_>],
        weigh: &mut dyn FnMut(&[f64]) -> Result<Vec<f64>>,
        gradient: &mut Gradient,
    ) -> Result<()> {
        let parts = sequences.par_chunks(self.part(sequences.len()));
        let passes: Vec<Pass<'_>> = parts.map(|part| self.forward(part)).collect::<Result<_>>()?;
        let log_probs: Vec<f64> = passes.iter().flat_map(|pass| &pass.log_probs).copied().collect();
        let weights = weigh(&log_probs)?;
        disco_core::Error::check_length("weights of a batch", sequences.len(), weights.len())?;
        let mut start = 0;
        let weighted: Vec<(Pass<'_>, &[f64])> = passes
            .into_iter()
            .map(|pass| {
                let end = start + pass.log_probs.len();
                let weights = &weights[std::mem::replace(&mut start, end)..end];
                (pass, weights)
            })
            .collect();
        let parts: Vec<Gradient> =
            weighted.into_par_iter().map(|(pass, weights)| pass.backward(weights)).collect::<Result<_>>()?;
        // In order, so that the sum does not depend on who was first.
        for part in parts {
            for (sum, part) in gradient.iter_mut().zip(part) {
                add(sum, part);
            }
        }
        Ok(())
    }

    fn forward(&self, sequences: &[Sequence<'_>]) -> Result<Pass<'_>> {
        let tracked = self.tracked();
        let decoder = self.decoder_with(&tracked);
        let frame = &self.frame;
        let mut contexts: Vec<&[u32]> = Vec::new();
        let mut known: HashMap<&[u32], usize> = HashMap::new();
        let which: Vec<usize> = sequences
            .iter()
            .map(|sequence| {
                *known.entry(sequence.context).or_insert_with(|| {
                    contexts.push(sequence.context);
                    contexts.len() - 1
                })
            })
            .collect();
        let tokens: Vec<&[u32]> = sequences.iter().map(|sequence| sequence.tokens).collect();
        let read = read(&decoder, &frame.spec, &contexts, &frame.device);
        let Rows { hidden, targets } = run(&decoder, &frame.spec, &read, &which, &tokens, &frame.device);
        self.pass(tracked, hidden, targets, sequences.len())
    }

    /// A pass from hidden states that `tracked` produced.
    pub(crate) fn pass(
        &self,
        tracked: Vec<Tensor<2>>,
        hidden: Tensor<2>,
        targets: Vec<Vec<Target>>,
        sequences: usize,
    ) -> Result<Pass<'_>> {
        let mut log_probs = vec![0.0; sequences];
        for (targets, row) in targets.iter().zip(self.head().log_probs(&hidden.clone().inner(), &targets)?) {
            for (target, log_prob) in targets.iter().zip(row) {
                log_probs[target.sequence] += log_prob;
            }
        }
        Ok(Pass { model: self, tracked, hidden, targets, log_probs })
    }
}

impl Pass<'_> {
    /// The gradient of `sum_i weights[i] * log_probs[i]`, one entry per slot.
    pub(crate) fn backward(self, weights: &[f64]) -> Result<Gradient> {
        if weights.iter().all(|weight| *weight == 0.0) {
            return Ok(vec![None; self.tracked.len()]);
        }
        let states = self.hidden.clone().inner();
        let (of_hidden, of_head) = self.model.head().gradient(&states, &self.targets, weights)?;
        // The sum of hidden * of_hidden has of_hidden as its gradient: the chain rule, begun by hand.
        let gradients = (self.hidden * Tensor::from_inner(of_hidden)).sum().backward();
        let mut gradient: Gradient = self.tracked.iter().map(|leaf| leaf.grad(&gradients)).collect();
        add(&mut gradient[self.model.head_slot()], Some(of_head));
        Ok(gradient)
    }
}

fn add(sum: &mut Option<Tensor<2>>, part: Option<Tensor<2>>) {
    *sum = match (sum.take(), part) {
        (Some(sum), Some(part)) => Some(sum + part),
        (sum, part) => sum.or(part),
    };
}
