//! Scores: the log-probability of every token of given sequences, and raw logits.

use std::borrow::Cow;

use crate::{
    Error, Result, TokenModel,
    kernels::values,
    model::forward::{PredictionRows, forward_sequences, hidden_states, prefill},
};

/// How many tokens are scored at once. More do not make the matmuls faster.
const TOKENS: usize = 384;

impl TokenModel {
    /// The log-probability of every token of `samples` (nats), given `context`.
    ///
    /// A sample that is not a sequence of this model has `None`: it is empty, longer than the maximum, has an end token
    /// before its end, or is cut before the maximum; the first and the last are sequences where a grammar leaves no token. The
    /// context is prefilled once, and sequences of similar length are scored together; a score depends on neither.
    ///
    /// # Errors
    /// [`Error::EmptyContext`] or [`Error::TooLong`] for the context, [`Error::TokenId`] for an id outside of the vocabulary, or
    /// [`Error::NotFinite`] for a model that computes NaN.
    ///
    /// # Cost
    /// One forward pass over the context and over all tokens but the last of each sequence.
    pub fn token_log_probs(&self, context: &[u32], samples: &[&[u32]]) -> Result<Vec<Option<Vec<f64>>>> {
        self.check_context(context)?;
        for sample in samples {
            self.check_ids(sample)?;
        }
        let events: Vec<Option<Cow<'_, [u32]>>> = samples.iter().map(|sample| self.event(sample)).collect();
        let tokens = |i: usize| events[i].as_deref().unwrap_or_default();
        let mut order: Vec<usize> = (0..samples.len()).filter(|&i| events[i].is_some()).collect();
        let mut scored: Vec<Option<Vec<f64>>> = vec![None; samples.len()];
        if order.is_empty() {
            return Ok(scored);
        }
        // Longest first: the largest batch comes first, and the other batches reuse its memory.
        order.sort_by_key(|&i| std::cmp::Reverse(tokens(i).len()));
        let transformer = self.transformer();
        let shared = &self.shared;
        let head = self.lm_head();
        let prefilled = prefill(&transformer, &shared.config, &[context], &shared.device);
        let most = (TOKENS / tokens(order[0]).len()).max(1);
        let batches = self.in_batches(&mut order, most, |batch| {
            let sequences: Vec<&[u32]> = batch.iter().map(|&i| tokens(i)).collect();
            let context_of = vec![0; batch.len()];
            let PredictionRows { hidden, rows } = forward_sequences(
                &transformer,
                &shared.config,
                &prefilled,
                &context_of,
                &sequences,
                &shared.device,
            );
            let mut scored = vec![Vec::new(); batch.len()];
            for (row, log_probs) in rows.iter().zip(head.log_probs(&hidden, &rows)?) {
                for (target, log_prob) in row.targets.iter().zip(log_probs) {
                    scored[target.sequence].push(log_prob);
                }
            }
            Ok(scored)
        })?;
        for (&i, mut row) in order.iter().zip(batches.into_iter().flatten()) {
            // A sequence that could have gone on is not one of the model's.
            let could_go_on = row.len() > samples[i].len() && row.pop() != Some(0.0);
            scored[i] = Some(row).filter(|_| !could_go_on);
        }
        Ok(scored)
    }

    /// The raw logits of the next token after each of `ids`: one row of the vocabulary's size per id. They are for
    /// inspection and for comparison with other programs; the settings of decoding do not change them.
    ///
    /// # Errors
    /// As [`token_log_probs`](Self::token_log_probs), but `ids` may fill all positions; [`Error::Invalid`]
    /// for a model that reads its context with an encoder: see [`next_logits`](Self::next_logits).
    pub fn logits(&self, ids: &[u32]) -> Result<Vec<Vec<f32>>> {
        if self.shared.config.encoder.is_some() {
            return Err(Error::invalid("logits", "of an encoder-decoder", "next_logits, with a context"));
        }
        self.check_fits(ids, 0)?;
        let transformer = self.transformer();
        let hidden = hidden_states(&transformer, &self.shared.config, ids, &self.shared.device);
        let logits = self.lm_head().logits(hidden)?;
        Ok(values(&logits).chunks(self.vocabulary()).map(<[f32]>::to_vec).collect())
    }

    /// The raw logits that predict each of `tokens` after `context`: one row of the vocabulary's size per
    /// token. As [`logits`](Self::logits), but for every kind of model.
    ///
    /// # Errors
    /// As [`token_log_probs`](Self::token_log_probs), but the tokens may fill all positions.
    pub fn next_logits(&self, context: &[u32], tokens: &[u32]) -> Result<Vec<Vec<f32>>> {
        self.check_fits(context, tokens.len())?;
        self.check_ids(tokens)?;
        if tokens.is_empty() {
            return Ok(Vec::new());
        }
        let transformer = self.transformer();
        let (config, device) = (&self.shared.config, &self.shared.device);
        let prefilled = prefill(&transformer, config, &[context], device);
        let logits = self
            .lm_head()
            .logits(forward_sequences(&transformer, config, &prefilled, &[0], &[tokens], device).hidden)?;
        Ok(values(&logits).chunks(self.vocabulary()).map(<[f32]>::to_vec).collect())
    }
}
