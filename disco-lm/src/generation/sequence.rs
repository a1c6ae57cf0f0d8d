//! A sequence while it is being sampled, and the choice of its next token.

use std::sync::Arc;

use disco_core::StreamRng;
use rand::RngExt;

use crate::{
    Decoding, FinishReason, Result, TokenLogProb, TokenModel,
    decoding::{DEAD_END, History, NextToken},
    generation::reply::Listener,
    grammar::{compiled::CompiledGrammar, mask::Mask, state::GrammarState},
};

/// How the sequences of a request are drawn.
#[derive(Debug)]
pub(crate) struct SequenceSettings {
    pub(crate) decoding: Decoding,
    /// A sequence is cut after this many tokens.
    pub(crate) max_new_tokens: usize,
    /// How many of the most probable tokens are reported beside each token.
    pub(crate) alternatives: usize,
}

/// A sequence while it is being sampled.
pub(crate) struct Sequence {
    /// The index of its context, and its own index among the sequences of that context.
    pub(crate) index: [usize; 2],
    /// `None` for greedy decoding: every token is the most probable one.
    rng: Option<StreamRng>,
    pub(crate) settings: Arc<SequenceSettings>,
    pub(crate) tokens: Vec<u32>,
    pub(crate) log_prob: f64,
    /// Made when it is first needed, and gone with the last token: many sequences may wait.
    grammar: Option<GrammarState>,
    /// The receiver of each token; `None` if the whole sequence is the result, and after its end.
    listener: Option<Listener>,
}

impl Sequence {
    pub(crate) fn new(index: [usize; 2], rng: Option<StreamRng>, settings: Arc<SequenceSettings>) -> Self {
        Self { index, rng, settings, tokens: Vec::new(), log_prob: 0.0, grammar: None, listener: None }
    }

    /// The same sequence, each token of which `listener` hears of.
    pub(crate) fn heard_by(self, listener: Listener) -> Self {
        Self { listener: Some(listener), ..self }
    }

    /// The uniform number in [0, 1) that decides the next token; `None` for greedy decoding.
    pub(crate) fn uniform(&mut self) -> Option<f64> {
        self.rng.as_mut().map(RngExt::random)
    }

    /// Adds a token, and tells the listener.
    pub(crate) fn push(&mut self, token: TokenLogProb, model: &TokenModel) {
        self.tokens.push(token.id);
        self.log_prob += token.log_prob;
        let Some(listener) = &self.listener else { return };
        if token.id != DEAD_END {
            listener.hear(token);
        }
        if let Some(reason) = self.finish_reason(model) {
            self.finish(reason);
        }
    }

    /// Why no token follows; `None` for a sequence that goes on.
    pub(crate) fn finish_reason(&self, model: &TokenModel) -> Option<FinishReason> {
        let by_tokens = model.finish_reason(&self.tokens, self.settings.max_new_tokens);
        by_tokens
            .or_else(|| self.listener.as_ref().filter(|one| one.has_left()).map(|_| FinishReason::Cancelled))
    }

    /// The last token, as an input of the model: 0 in the place of one that stands for none.
    pub(crate) fn last_input(&self) -> u32 {
        self.tokens.last().copied().filter(|token| *token != DEAD_END).unwrap_or(0)
    }

    /// The tokens that the grammar allows next.
    pub(crate) fn mask(&mut self, grammar: &Arc<CompiledGrammar>) -> Result<Mask> {
        let number = self.index[0].wrapping_add(self.index[1]);
        self.grammar.get_or_insert_with(|| GrammarState::new(grammar, number)).mask_after(&self.tokens)
    }

    /// Tells the listener of the end, and frees the state that only further tokens would need.
    pub(crate) fn finish(&mut self, reason: FinishReason) {
        self.grammar = None;
        if let Some(listener) = self.listener.take() {
            listener.finish(reason);
        }
    }

    /// Tells the listener that an error ended the sequence.
    pub(crate) fn fail(self, error: &crate::Error) {
        if let Some(listener) = self.listener {
            listener.fail(error);
        }
    }

    /// The tokens before its next one. On some devices a finished row stays in its batch, and its history is asked for too: what stands for
    /// no token is left out.
    pub(crate) fn history<'a>(&'a self, context: &'a [u32]) -> History<'a> {
        let generated = self.tokens.strip_suffix(&[DEAD_END]).unwrap_or(&self.tokens);
        History { context, generated }
    }
}

/// The token that a uniform number in [0, 1) selects, or the most probable one for `None`, with its log-probability (nats) and those of
/// the most probable tokens.
pub(crate) fn choose(next: &NextToken<'_>, uniform: Option<f64>, alternatives: usize) -> TokenLogProb {
    let id = uniform.map_or_else(|| next.mode(), |uniform| next.at(uniform));
    TokenLogProb::of(next, id, alternatives)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{config, random};

    #[test]
    fn the_history_of_a_dead_end_is_its_tokens() {
        let settings = SequenceSettings { decoding: Decoding::default(), max_new_tokens: 9, alternatives: 0 };
        let model = random(&config(json!({"model_type": "llama"})), Decoding::default());
        let mut sequence = Sequence::new([0, 0], None, settings.into());
        for id in [4, 7, DEAD_END] {
            assert_eq!(sequence.finish_reason(&model), None);
            sequence.push(TokenLogProb { id, log_prob: -1.0, alternatives: Vec::new() }, &model);
        }
        assert_eq!(sequence.finish_reason(&model), Some(FinishReason::DeadEnd));
        assert_eq!(sequence.history(&[1]).generated, [4, 7]);
        assert_eq!(sequence.last_input(), 0);
    }
}
