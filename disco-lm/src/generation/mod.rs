//! How are sequences produced? Sampling, greedy decoding and beam search: methods of [`TokenModel`] and
//! [`LanguageModel`](crate::LanguageModel).

pub(crate) mod beam_search;
pub(crate) mod continuous_batching;
mod group;
mod kv_budget;
pub(crate) mod queue;
mod reply;
mod request;
pub(crate) mod sequence;
mod service;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use disco_core::{Sampled, StreamRng, Streams};

use crate::{
    Completion, Generation, LanguageModel, Result, TokenModel,
    attention::kv_cache::{DeviceCache, HostCache, is_by_row},
    decoding::DEAD_END,
    generation::{
        continuous_batching::draw_all,
        group::ContextSequences,
        sequence::{Sequence, SequenceSettings},
    },
    grammar::mask::Mask,
};

pub use beam_search::{BeamSearch, EarlyStopping, Hypothesis};
pub use request::{FinishReason, GenerationEvent, GenerationRequest, TokenLogProb};
pub use service::{GenerationHandle, GenerationService, RequestGuard, ServiceLimits, ServiceLoad};

impl TokenModel {
    /// Draws one sequence per stream in each context: `streams[k]` belong to `contexts[k]`.
    ///
    /// Each context is prefilled once and shared by its sequences. Each sequence uses one number of its stream per
    /// token, so that neither the batch nor the number of threads changes it.
    pub(crate) fn draw(
        &self,
        contexts: &[&[u32]],
        streams: &[Streams],
    ) -> Result<Vec<Vec<Sampled<Vec<u32>>>>> {
        let rngs = streams.iter().map(|streams| streams.iter().map(Some).collect());
        self.complete(contexts, rngs.collect())
    }

    /// Greedy decoding of each context: the sequence whose every token is the most probable one after the tokens before
    /// it, with its log-probability (nats). Of equally probable tokens it takes the one with the smallest id.
    ///
    /// It is not always the most probable sequence: see [`beam_search`](Self::beam_search).
    ///
    /// # Errors
    /// For a context: [`Error::EmptyContext`](crate::Error::EmptyContext),
    /// [`Error::TooLong`](crate::Error::TooLong) or [`Error::TokenId`](crate::Error::TokenId).
    /// [`Error::NotFinite`](crate::Error::NotFinite) for a model that gives NaN.
    ///
    /// # Cost
    /// The cost of drawing one sample per context.
    pub fn greedy(&self, contexts: &[&[u32]]) -> Result<Vec<Sampled<Vec<u32>>>> {
        let completed = self.complete(contexts, contexts.iter().map(|_| vec![None]).collect())?;
        Ok(completed.into_iter().flatten().collect())
    }

    /// Completes each context once per generator in `rngs`; `None` stands for greedy decoding.
    fn complete(
        &self,
        contexts: &[&[u32]],
        rngs: Vec<Vec<Option<StreamRng>>>,
    ) -> Result<Vec<Vec<Sampled<Vec<u32>>>>> {
        for context in contexts {
            self.check_context(context)?;
        }
        let counts: Vec<usize> = rngs.iter().map(Vec::len).collect();
        let Generation { decoding, max_new_tokens, .. } = self.generation.clone();
        let settings = Arc::new(SequenceSettings { decoding, max_new_tokens, alternatives: 0 });
        let sequences = rngs.into_iter().enumerate().map(|(context, rngs)| {
            let sequence = |(number, rng)| Sequence::new([context, number], rng, settings.clone());
            ContextSequences {
                context: contexts[context].into(),
                sequences: rngs.into_iter().enumerate().map(sequence).collect(),
            }
        });
        let sequences: Vec<ContextSequences> = sequences.collect();
        let mut drawn = match is_by_row(&self.shared.config, &self.shared.device) {
            true => draw_all::<HostCache>(self, sequences)?,
            false => draw_all::<DeviceCache>(self, sequences)?,
        };
        drawn.sort_unstable_by_key(|sequence| sequence.index);
        let mut drawn = drawn.into_iter();
        let sampled = |Sequence { mut tokens, log_prob, .. }: Sequence| {
            tokens.pop_if(|token| *token == DEAD_END);
            Sampled { value: tokens, log_prob }
        };
        Ok(counts.into_iter().map(|count| drawn.by_ref().take(count).map(sampled).collect()).collect())
    }

    /// Whether a sequence ends with an end token, has come to a dead end, or has the maximal length.
    pub(crate) fn is_complete(&self, tokens: &[u32]) -> bool {
        self.finish_reason(tokens, self.generation.max_new_tokens).is_some()
    }

    /// Why no token follows a sequence of at most `max_new_tokens`; `None` if one does.
    pub(crate) fn finish_reason(&self, tokens: &[u32], max_new_tokens: usize) -> Option<FinishReason> {
        match tokens.last() {
            Some(&DEAD_END) => Some(FinishReason::DeadEnd),
            Some(&token) if self.is_end(token) => Some(FinishReason::EndToken),
            _ => (tokens.len() == max_new_tokens).then_some(FinishReason::Length),
        }
    }

    /// The masks of the first tokens after some contexts; none for a model without a grammar.
    pub(crate) fn first_masks(&self, contexts: usize) -> Vec<Mask> {
        self.grammar.as_ref().map_or_else(Vec::new, |grammar| vec![grammar.first.clone(); contexts])
    }
}

impl LanguageModel {
    /// Greedy decoding of each context: see [`TokenModel::greedy`].
    ///
    /// # Errors
    /// As [`TokenModel::greedy`] and [`encode`](Self::encode).
    pub fn greedy(&self, contexts: &[&str]) -> Result<Vec<Sampled<Completion>>> {
        let contexts = self.encode_all(contexts)?;
        let found = self.tokens().greedy(&slices(&contexts))?;
        let complete = |(context, Sampled { value, log_prob }): (&Vec<u32>, _)| {
            Ok(Sampled { value: self.completion_after(context, value)?, log_prob })
        };
        contexts.iter().zip(found).map(complete).collect()
    }

    pub(crate) fn encode_all(&self, contexts: &[&str]) -> Result<Vec<Vec<u32>>> {
        contexts.iter().map(|context| self.encode(context)).collect()
    }
}

pub(crate) fn slices(contexts: &[Vec<u32>]) -> Vec<&[u32]> {
    contexts.iter().map(Vec::as_slice).collect()
}
