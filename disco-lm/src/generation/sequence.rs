//! A sequence while it is being sampled, and the choice of its next token.

use disco_core::StreamRng;
use rand::RngExt;

use crate::decoding::{History, NextToken};

/// A sequence while it is being sampled.
pub(crate) struct Sequence {
    /// The index of its context, and its own index among the sequences of that context.
    pub(crate) index: [usize; 2],
    /// `None` for greedy decoding: every token is the most probable one.
    rng: Option<StreamRng>,
    pub(crate) tokens: Vec<u32>,
    pub(crate) log_prob: f64,
}

impl Sequence {
    pub(crate) fn new(index: [usize; 2], rng: Option<StreamRng>) -> Self {
        Self { index, rng, tokens: Vec::new(), log_prob: 0.0 }
    }

    /// The uniform number in [0, 1) that decides the next token; `None` for greedy decoding.
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

/// The token that a uniform number in [0, 1) selects, or the most probable one for `None`, with its log-probability (nats).
pub(crate) fn choose(next: &NextToken<'_>, uniform: Option<f64>) -> (u32, f64) {
    let token = uniform.map_or_else(|| next.mode(), |uniform| next.at(uniform));
    (token, next.log_prob(token))
}
