//! A sequence while it is drawn, and the choice of its next token.

use disco_core::StreamRng;
use rand::RngExt;

use crate::decoding::{History, NextToken};

/// A sequence on its way.
pub(crate) struct Sequence {
    /// The place of its context among all, and its own among those of its context.
    pub(crate) index: [usize; 2],
    /// None for a sequence whose every token is the most probable one.
    rng: Option<StreamRng>,
    pub(crate) tokens: Vec<u32>,
    pub(crate) log_prob: f64,
}

impl Sequence {
    pub(crate) fn new(index: [usize; 2], rng: Option<StreamRng>) -> Self {
        Self { index, rng, tokens: Vec::new(), log_prob: 0.0 }
    }

    /// The number that decides the next token.
    pub(crate) fn uniform(&mut self) -> Option<f64> {
        self.rng.as_mut().map(RngExt::random)
    }

    pub(crate) fn push(&mut self, (token, log_prob): (u32, f64)) {
        self.tokens.push(token);
        self.log_prob += log_prob;
    }

    pub(crate) fn history<'a>(&'a self, context: &'a [u32]) -> History<'a> {
        History { context, generated: &self.tokens }
    }
}

/// The token that a number in [0, 1) decides on, or the most probable one, with its log-probability.
pub(crate) fn choose(next: &NextToken<'_>, uniform: Option<f64>) -> (u32, f64) {
    let token = uniform.map_or_else(|| next.mode(), |uniform| next.at(uniform));
    (token, next.log_prob(token))
}
