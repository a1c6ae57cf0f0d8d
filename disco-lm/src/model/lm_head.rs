//! The output layer: from hidden states to distributions of the next token, in chunks, so that no tensor over all rows and the
//! whole vocabulary exists.

use std::{ops::Range, sync::Arc};

use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use crate::{
    Decoding, Result, TokenModel,
    decoding::{History, NextToken},
    device::transfer::fetch,
    grammar::{compiled::CompiledGrammar, mask::Mask, state::GrammarState},
    kernels::values_mut,
    layers::{gradients::GradientAccumulator, weight::Weight},
    model::forward::PredictionRow,
};

/// How many logits are in memory at once: 25 MB. The C library takes each larger block (beyond 32 MB) anew from the system, page
/// by page, which is slow.
const CHUNK: usize = 6 << 20;

/// How many logits are in memory at once in training: 134 MB.
const BACKWARD_CHUNK: usize = 32 << 20;

/// The output layer: the matrix `[vocabulary, hidden_size]`, and the decoding that turns its logits into distributions.
pub(crate) struct LmHead<'a> {
    /// Not part of an autodiff graph: the gradient of the output layer is written by hand.
    weight: Weight,
    /// The index of the weight among the parameters.
    parameter: usize,
    decoding: &'a Decoding,
    end_tokens: &'a [u32],
    grammar: Option<&'a Arc<CompiledGrammar>>,
}

impl TokenModel {
    /// The index of the output matrix among the parameters: the last, or the embedding that it is tied to.
    pub(crate) fn head_parameter(&self) -> usize {
        if self.shared.config.tied { 0 } else { self.weights.len() - 1 }
    }

    /// The output layer with the model's decoding and grammar.
    pub(crate) fn lm_head(&self) -> LmHead<'_> {
        LmHead { grammar: self.grammar.as_ref(), ..self.lm_head_with(&self.generation.decoding) }
    }

    /// The output layer with another decoding and no grammar.
    pub(crate) fn lm_head_with<'a>(&'a self, decoding: &'a Decoding) -> LmHead<'a> {
        let parameter = self.head_parameter();
        LmHead {
            weight: self.weights[parameter].clone(),
            parameter,
            decoding,
            end_tokens: &self.shared.end_tokens,
            grammar: None,
        }
    }
}

impl LmHead<'_> {
    fn vocabulary(&self) -> usize {
        self.weight.shape()[0]
    }

    /// Ranges of rows whose logits have at most `elements` elements; at least one row each.
    fn chunks(&self, rows: usize, elements: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let size = (elements / self.vocabulary()).max(1);
        (0..rows).step_by(size).map(move |start| start..(start + size).min(rows))
    }

    /// The logits of some rows: `[rows, hidden_size]` to `[rows, vocabulary]`.
    pub(crate) fn logits(&self, hidden: Tensor<2>) -> Result<TensorData> {
        fetch(self.weight.matmul_transposed(hidden))
    }

    /// Calls `work` with the index of each hidden state and the distribution of the token after it, given its history and its mask
    /// in the grammar: `masks` has one for each, or none for a model without a grammar.
    pub(crate) fn each_next<'h, R: Send>(
        &self,
        hidden: Tensor<2>,
        history: impl Fn(usize) -> History<'h> + Sync,
        masks: &[Mask],
        work: impl Fn(usize, NextToken<'_>) -> R + Sync,
    ) -> Result<Vec<R>> {
        self.each_decoded(hidden, |row| (self.decoding, history(row)), masks, work)
    }

    /// As [`each_next`](Self::each_next), where each hidden state has a decoding of its own, in the place of the model's.
    pub(crate) fn each_decoded<'h, R: Send>(
        &self,
        hidden: Tensor<2>,
        row_of: impl Fn(usize) -> (&'h Decoding, History<'h>) + Sync,
        masks: &[Mask],
        work: impl Fn(usize, NextToken<'_>) -> R + Sync,
    ) -> Result<Vec<R>> {
        let rows = hidden.dims()[0];
        debug_assert!(masks.is_empty() || masks.len() == rows, "{} masks for {rows} rows", masks.len());
        let mut results = Vec::with_capacity(rows);
        for range in self.chunks(rows, CHUNK) {
            let start = range.start;
            let mut logits = self.logits(hidden.clone().narrow(0, start, range.len()))?;
            results.extend(self.each(
                &mut logits,
                |row| row_of(start + row),
                masks.get(range).unwrap_or_default(),
                |row, next| work(start + row, next),
            )?);
        }
        Ok(results)
    }

    /// As [`each_decoded`](Self::each_decoded), from the logits of each row, which are changed.
    fn each<'h, R: Send>(
        &self,
        logits: &mut TensorData,
        row_of: impl Fn(usize) -> (&'h Decoding, History<'h>) + Sync,
        masks: &[Mask],
        work: impl Fn(usize, NextToken<'_>) -> R + Sync,
    ) -> Result<Vec<R>> {
        let rows = values_mut(logits).par_chunks_mut(self.vocabulary()).enumerate();
        debug_assert!(
            masks.is_empty() || masks.len() == rows.len(),
            "{} masks for {} rows",
            masks.len(),
            rows.len()
        );
        let each = |(row, logits)| {
            let (decoding, history) = row_of(row);
            let next = decoding.next_token(logits, history, self.end_tokens, masks.get(row))?;
            Ok(work(row, next))
        };
        rows.map(each).collect()
    }

    /// The log-probability (nats) of every target of every row.
    pub(crate) fn log_probs(&self, hidden: &Tensor<2>, rows: &[PredictionRow<'_>]) -> Result<Vec<Vec<f64>>> {
        let mut log_probs = Vec::with_capacity(rows.len());
        for range in self.chunks(rows.len(), CHUNK) {
            let mut logits = self.logits(hidden.clone().narrow(0, range.start, range.len()))?;
            log_probs.extend(self.target_log_probs(&mut logits, &rows[range])?);
        }
        Ok(log_probs)
    }

    /// As [`log_probs`](Self::log_probs), and the logits for [`gradient`](Self::gradient) if they are few enough to be saved and
    /// decoding and grammar leave them unchanged.
    pub(crate) fn log_probs_and_logits(
        &self,
        hidden: &Tensor<2>,
        rows: &[PredictionRow<'_>],
    ) -> Result<(Vec<Vec<f64>>, Option<TensorData>)> {
        let leaves_logits = self.decoding.leaves_logits() && self.grammar.is_none();
        if rows.len() * self.vocabulary() > BACKWARD_CHUNK || !leaves_logits {
            return Ok((self.log_probs(hidden, rows)?, None));
        }
        let mut logits = self.logits(hidden.clone())?;
        Ok((self.target_log_probs(&mut logits, rows)?, Some(logits)))
    }

    /// The log-probability (nats) of every target of rows, from their logits.
    fn target_log_probs(&self, logits: &mut TensorData, rows: &[PredictionRow<'_>]) -> Result<Vec<Vec<f64>>> {
        self.each(
            logits,
            |row| (self.decoding, rows[row].history),
            &self.masks(rows)?,
            |row, next| rows[row].targets.iter().map(|target| next.log_prob(target.token)).collect(),
        )
    }

    /// The mask of each row; none for a model without a grammar.
    fn masks(&self, rows: &[PredictionRow<'_>]) -> Result<Vec<Mask>> {
        let Some(grammar) = self.grammar else { return Ok(Vec::new()) };
        // The rows of a sequence follow each other, and one state goes through them.
        let sequences: Vec<&[PredictionRow<'_>]> = rows
            .chunk_by(|row, next| {
                let before = next.history.generated.split_last().map(|(_, before)| before);
                before == Some(row.history.generated) && !row.history.generated.is_empty()
            })
            .collect();
        let masks = sequences.par_iter().enumerate().map(|(number, rows)| {
            let mut state = GrammarState::new(grammar, number);
            rows.iter().map(|row| state.mask_after(row.history.generated)).collect::<Result<Vec<Mask>>>()
        });
        Ok(masks.collect::<Result<Vec<Vec<Mask>>>>()?.concat())
    }

    /// The gradient of `sum_targets weight[sequence] * log_prob(target)` with respect to the hidden states,
    /// `[rows, hidden_size]`.
    ///
    /// The gradient with respect to the output matrix is added to `gradients`. Logits that were not saved are recomputed.
    pub(crate) fn gradient(
        &self,
        hidden: &Tensor<2>,
        rows: &[PredictionRow<'_>],
        weights: &[f64],
        mut logits: Option<TensorData>,
        gradients: &mut GradientAccumulator<'_>,
    ) -> Result<Tensor<2>> {
        let mut grad_hidden = Vec::new();
        for range in self.chunks(rows.len(), BACKWARD_CHUNK) {
            let states = hidden.clone().narrow(0, range.start, range.len());
            let mut logits = match logits.take() {
                Some(logits) => logits,
                None => self.logits(states.clone())?,
            };
            let rows = &rows[range];
            self.each(
                &mut logits,
                |row| (self.decoding, rows[row].history),
                &self.masks(rows)?,
                |row, next| {
                    let targets = rows[row].targets.iter();
                    next.into_gradient(targets.map(|target| (target.token, weights[target.sequence])));
                },
            )?;
            let grad_logits: Tensor<2> = Tensor::from_data(logits, &hidden.device());
            grad_hidden.push(self.weight.matmul(grad_logits.clone()));
            gradients.add_matmul(self.parameter, grad_logits.transpose(), states);
        }
        Ok(Tensor::cat(grad_hidden, 0))
    }
}
