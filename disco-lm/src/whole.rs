//! One graph through the whole model: for windows of a corpus, since with dropout a layer cannot be run twice,
//! and for models with an encoder, all of whose decoder's layers see the encoder's last.

use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::{
    Result, TokenModel,
    attention::Causal,
    gradient::distinct,
    layer::Mode,
    optimizer::{Gradient, add},
    rows::{Row, Rows, Sequence, add_up, read, run},
    sums::Shared,
};

/// A forward pass that waits for the weights of its sequences.
pub(crate) struct Pass<'a> {
    model: &'a TokenModel,
    /// What is trained, one leaf per slot of the model or of its adapter.
    leaves: Vec<Tensor<2>>,
    /// Of the graph.
    hidden: Tensor<2>,
    rows: Vec<Row<'a>>,
    /// One per sequence.
    pub(crate) log_probs: Vec<f64>,
}

/// Adds `sum_i w_i grad log pi(x_i | c_i)` to `gradient`, as [`TokenModel::accumulate`].
pub(crate) fn accumulate(
    model: &TokenModel,
    sequences: &[Sequence<'_>],
    weigh: &mut dyn FnMut(&[f64]) -> Result<Vec<f64>>,
    gradient: &mut Gradient,
) -> Result<()> {
    let size = model.part(sequences.len());
    let passes: Vec<Pass<'_>> =
        sequences.par_chunks(size).map(|part| Pass::of_sequences(model, part)).collect::<Result<_>>()?;
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

impl<'a> Pass<'a> {
    /// Sequences of `time` tokens each, all of `ids`; `rows` say what each token predicts.
    pub(crate) fn of_windows(
        model: &'a TokenModel,
        ids: &[u32],
        time: usize,
        rows: Vec<Row<'a>>,
        mode: &mut Mode<'_>,
    ) -> Result<Self> {
        let batch = ids.len() / time;
        let places: Vec<usize> = (0..batch).flat_map(|_| 0..time).collect();
        let (decoder, leaves) = model.tracked();
        let mut attention = Causal::new(&model.frame.spec, batch, time, None, false, &model.frame.device);
        let hidden = decoder.hidden(ids, &places, &mut attention, mode);
        Self::new(model, leaves, Rows { hidden, rows }, batch)
    }

    /// Sequences after their contexts.
    fn of_sequences(model: &'a TokenModel, sequences: &[Sequence<'a>]) -> Result<Self> {
        let (contexts, which) = distinct(sequences);
        let tokens: Vec<&'a [u32]> = sequences.iter().map(|sequence| sequence.tokens).collect();
        let (decoder, leaves) = model.tracked();
        let (spec, device) = (&model.frame.spec, &model.frame.device);
        let read = read(&decoder, spec, &contexts, device);
        let rows = run(&decoder, spec, &read, &which, &tokens, device);
        Self::new(model, leaves, rows, sequences.len())
    }

    fn new(
        model: &'a TokenModel,
        leaves: Vec<Tensor<2>>,
        Rows { hidden, rows }: Rows<'a>,
        sequences: usize,
    ) -> Result<Self> {
        let mut log_probs = vec![0.0; sequences];
        let of_rows = model.head().log_probs(&hidden.clone().inner(), &rows)?;
        add_up(&mut log_probs, &rows, of_rows);
        Ok(Self { model, leaves, hidden, rows, log_probs })
    }

    /// The gradient of `sum_i weights[i] * log_probs[i]`, one entry per leaf.
    pub(crate) fn backward(self, weights: &[f64]) -> Result<Gradient> {
        let states = self.hidden.clone().inner();
        let sums = Shared::new(self.model, vec![None; self.leaves.len()], 1);
        let of_hidden = self.model.head().gradient(&states, &self.rows, weights, None, &mut sums.part(0))?;
        // The sum of hidden * of_hidden has of_hidden as its gradient: the chain rule, begun by hand.
        let gradients = (self.hidden * Tensor::from_inner(of_hidden)).sum().backward();
        let mut gradient: Gradient = self.leaves.iter().map(|leaf| leaf.grad(&gradients)).collect();
        gradient.iter_mut().zip(sums.into_gradient()).for_each(|(sum, of_head)| add(sum, of_head));
        Ok(gradient)
    }
}
