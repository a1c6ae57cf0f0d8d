//! Weighted sums of score functions, `sum_i w_i grad log pi(x_i | c_i)`.
//!
//! The layers' gradient comes from Burn's automatic differentiation, the output layer's is formed by hand: it
//! is known in closed form, and this way no tensor over all tokens and the whole vocabulary exists.

use std::collections::HashMap;

use burn::tensor::Tensor;

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

impl TokenModel {
    /// The parameters as leaves of a graph of their own.
    pub(crate) fn tracked(&self) -> Vec<Tensor<2>> {
        self.tensors.iter().map(|tensor| tensor.clone().autodiff().require_grad()).collect()
    }

    /// Adds `sum_i w_i grad log pi(x_i | c_i)` to `gradient`, where `weigh` gives the `w_i` once it knows the
    /// log-probabilities. Every sequence must be an event of the model.
    pub(crate) fn accumulate(
        &self,
        sequences: &[Sequence<'_>],
        weigh: &mut dyn FnMut(&[f64]) -> Result<Vec<f64>>,
        gradient: &mut Gradient,
    ) -> Result<()> {
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
        self.backward(&tracked, hidden, &targets, sequences.len(), weigh, gradient)
    }

    /// The backward pass from hidden states that `tracked` produced.
    pub(crate) fn backward(
        &self,
        tracked: &[Tensor<2>],
        hidden: Tensor<2>,
        targets: &[Vec<Target>],
        sequences: usize,
        weigh: &mut dyn FnMut(&[f64]) -> Result<Vec<f64>>,
        gradient: &mut Gradient,
    ) -> Result<()> {
        // The slot of the output matrix: the last, or the embedding it is tied to.
        let head_slot = if self.frame.spec.tied { 0 } else { self.tensors.len() - 1 };
        let head = Head::new(self.tensors[head_slot].clone(), &self.generation.decoding);
        let states = hidden.clone().inner();
        let mut log_probs = vec![0.0; sequences];
        for (targets, row) in targets.iter().zip(head.log_probs(&states, targets)?) {
            for (target, log_prob) in targets.iter().zip(row) {
                log_probs[target.sequence] += log_prob;
            }
        }
        let weights = weigh(&log_probs)?;
        disco_core::Error::check_length("weights of a batch", sequences, weights.len())?;
        if weights.iter().all(|weight| *weight == 0.0) {
            return Ok(());
        }
        let (of_hidden, of_head) = head.gradient(&states, targets, &weights)?;
        // The sum of hidden * of_hidden has of_hidden as its gradient: the chain rule, begun by hand.
        let gradients = (hidden * Tensor::from_inner(of_hidden)).sum().backward();
        for (slot, leaf) in tracked.iter().enumerate() {
            if let Some(part) = leaf.grad(&gradients) {
                add(&mut gradient[slot], part);
            }
        }
        add(&mut gradient[head_slot], of_head);
        Ok(())
    }
}

fn add(sum: &mut Option<Tensor<2>>, part: Tensor<2>) {
    *sum = Some(match sum.take() {
        Some(sum) => sum + part,
        None => part,
    });
}
