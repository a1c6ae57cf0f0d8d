//! The choices of one context with their probabilities.

use std::sync::Arc;

use disco_core::{Table, numerics::log_sum_exp};

use super::{
    cache::Key,
    listed::{Listed, refused},
};
use crate::{Completion, Generation, Result, TokenModel, error::ChoiceProblem};

/// The choices of one context with their probabilities under a model.
#[derive(Debug)]
pub(crate) struct Scored {
    pub(crate) listed: Arc<Listed>,
    /// `ln a` of each sequence (nats).
    log_sequences: Vec<f64>,
    /// `ln a(x|c)` of each choice.
    log_choices: Vec<f64>,
    /// The distribution over the choices: `a(x|c)` divided by its sum.
    pub(crate) table: Table<Completion>,
}

impl Scored {
    /// Scores the choices: a forward pass over the context and all sequences, once for each entry of
    /// [`by_maximum`](Listed::by_maximum).
    pub(crate) fn new(model: &TokenModel, listed: Arc<Listed>, (context, _): &Key) -> Result<Self> {
        let mut log_sequences = vec![f64::NEG_INFINITY; listed.sequences.len()];
        for (&max_new_tokens, positions) in &listed.by_maximum {
            // The settings of generation were checked with the model. Only its maximum is another: that of the list.
            let generation = Generation { max_new_tokens, ..model.generation.clone() };
            let model = TokenModel { generation, ..model.clone() };
            let sequences: Vec<&[u32]> =
                positions.iter().map(|&position| listed.sequences[position].as_slice()).collect();
            let rows = model.token_log_probs(&listed.context, &sequences)?;
            for (&position, row) in positions.iter().zip(rows) {
                log_sequences[position] = row.map_or(f64::NEG_INFINITY, |row| row.iter().sum());
            }
        }
        let log_choices: Vec<f64> = log_sequences.chunks(listed.per_choice).map(log_sum_exp).collect();
        if log_choices.iter().all(|score| *score == f64::NEG_INFINITY) {
            return Err(refused(context, ChoiceProblem::Impossible { count: log_choices.len() }));
        }
        let table = Table::from_log_scores(listed.space.clone(), log_choices.clone())?;
        Ok(Self { listed, log_sequences, log_choices, table })
    }

    /// `ln sum_x a(x|c)`.
    pub(crate) fn log_mass(&self) -> f64 {
        log_sum_exp(&self.log_choices)
    }

    /// The weights of the sequences in `sum_x w_x grad ln q(x|c)`, given one weight `w_x` per choice.
    ///
    /// `grad ln q(x) = grad ln a(x) - sum_y q(y) grad ln a(y)`, so that a choice has the weight `w_x - q(x) sum_y w_y`, of which each of its
    /// sequences `s` has the share `a(s) / a(x)`.
    pub(crate) fn sequence_weights(&self, weights: &[f64]) -> Vec<f64> {
        let total: f64 = weights.iter().sum();
        let centred = weights.iter().zip(self.table.probabilities()).map(|(weight, q)| weight - q * total);
        let sequences = self.log_sequences.chunks(self.listed.per_choice);
        let parts =
            centred.zip(&self.log_choices).zip(sequences).flat_map(|((weight, &log_choice), logs)| {
                logs.iter().map(move |&log_sequence| match log_sequence {
                    // A sequence of probability zero has no gradient.
                    f64::NEG_INFINITY => 0.0,
                    log_sequence => weight * (log_sequence - log_choice).exp(),
                })
            });
        parts.collect()
    }
}
