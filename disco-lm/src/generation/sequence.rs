//! A sequence while it is being sampled, and the choice of its next token.

use std::sync::Arc;

use disco_core::StreamRng;
use rand::RngExt;

use crate::{
    Result,
    decoding::{DEAD_END, History, NextToken},
    grammar::{compiled::CompiledGrammar, mask::Mask, state::GrammarState},
};

/// A sequence while it is being sampled.
pub(crate) struct Sequence {
    /// The index of its context, and its own index among the sequences of that context.
    pub(crate) index: [usize; 2],
    /// `None` for greedy decoding: every token is the most probable one.
    rng: Option<StreamRng>,
    pub(crate) tokens: Vec<u32>,
    pub(crate) log_prob: f64,
    /// Made when it is first needed, and gone with the last token: many sequences may wait.
    grammar: Option<GrammarState>,
}

impl Sequence {
    pub(crate) fn new(index: [usize; 2], rng: Option<StreamRng>) -> Self {
        Self { index, rng, tokens: Vec::new(), log_prob: 0.0, grammar: None }
    }

    /// The uniform number in [0, 1) that decides the next token; `None` for greedy decoding.
    pub(crate) fn uniform(&mut self) -> Option<f64> {
        self.rng.as_mut().map(RngExt::random)
    }

    pub(crate) fn push(&mut self, (token, log_prob): (u32, f64)) {
        self.tokens.push(token);
        self.log_prob += log_prob;
    }

    /// The last token, as an input of the model: 0 in the place of one that stands for none.
    pub(crate) fn last_input(&self) -> u32 {
        self.tokens.last().copied().filter(|token| *token != DEAD_END).unwrap_or(0)
    }

    /// The tokens that the grammar allows next.
    pub(crate) fn mask(&mut self, grammar: &Arc<CompiledGrammar>) -> Result<Mask> {
        let number = self.index[1];
        self.grammar.get_or_insert_with(|| GrammarState::new(grammar, number)).mask_after(&self.tokens)
    }

    /// Frees the state that only further tokens would need.
    pub(crate) fn finish(&mut self) {
        self.grammar = None;
    }

    /// The tokens before its next one. On some devices a finished row stays in its batch, and its history is asked for too: what stands for
    /// no token is left out.
    pub(crate) fn history<'a>(&'a self, context: &'a [u32]) -> History<'a> {
        let generated = self.tokens.strip_suffix(&[DEAD_END]).unwrap_or(&self.tokens);
        History { context, generated }
    }
}

/// The token that a uniform number in [0, 1) selects, or the most probable one for `None`, with its log-probability (nats).
pub(crate) fn choose(next: &NextToken<'_>, uniform: Option<f64>) -> (u32, f64) {
    let token = uniform.map_or_else(|| next.mode(), |uniform| next.at(uniform));
    (token, next.log_prob(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_history_of_a_dead_end_is_its_tokens() {
        let mut sequence = Sequence::new([0, 0], None);
        for token in [4, 7, DEAD_END] {
            sequence.push((token, -1.0));
        }
        assert_eq!(sequence.history(&[1]).generated, [4, 7]);
        assert_eq!(sequence.last_input(), 0);
    }
}
