//! Drawing sequences, token by token.

use disco_core::{Sampled, StreamRng, Streams};
use rand::RngExt;

use crate::{
    Result, TokenModel,
    cache::{Cache, is_by_row},
    decoding::{History, NextToken},
    drawing::draw_all,
    host::HostCache,
};

/// A sequence on its way.
pub(crate) struct Sequence {
    /// The place of its context among all, and its own among those of its context.
    pub(crate) place: [usize; 2],
    /// None for a sequence whose every token is the most probable one.
    rng: Option<StreamRng>,
    pub(crate) tokens: Vec<u32>,
    log_prob: f64,
}

impl Sequence {
    pub(crate) fn new(place: [usize; 2], rng: Option<StreamRng>) -> Self {
        Self { place, rng, tokens: Vec::new(), log_prob: 0.0 }
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

impl TokenModel {
    /// Draws one sequence per stream in each context: `streams[k]` belong to `contexts[k]`.
    ///
    /// Each context is read once and shared by its sequences. Each sequence uses one number of its stream per
    /// token, so that neither the batch nor the number of threads changes it.
    pub(crate) fn draw(
        &self,
        contexts: &[&[u32]],
        streams: &[Streams],
    ) -> Result<Vec<Vec<Sampled<Vec<u32>>>>> {
        let rngs = streams.iter().map(|streams| streams.iter().map(Some).collect());
        self.complete(contexts, rngs.collect())
    }

    /// The sequence whose every token is the most probable one after those before it, in each context, with
    /// its log-probability (nats). Of tokens that are equally probable it takes the one with the smallest id.
    ///
    /// It is not always the most probable sequence: see [`beam_search`](Self::beam_search).
    ///
    /// # Errors
    /// Of a context ([`Error::EmptyContext`](crate::Error::EmptyContext),
    /// [`Error::TooLong`](crate::Error::TooLong), [`Error::TokenId`](crate::Error::TokenId)), or
    /// [`Error::NotFinite`](crate::Error::NotFinite) for a model that gives NaN.
    ///
    /// # Cost
    /// That of drawing one sample per context.
    pub fn greedy(&self, contexts: &[&[u32]]) -> Result<Vec<Sampled<Vec<u32>>>> {
        let completed = self.complete(contexts, contexts.iter().map(|_| vec![None]).collect())?;
        Ok(completed.into_iter().flatten().collect())
    }

    /// Completes each context as often as there are generators for it.
    fn complete(
        &self,
        contexts: &[&[u32]],
        rngs: Vec<Vec<Option<StreamRng>>>,
    ) -> Result<Vec<Vec<Sampled<Vec<u32>>>>> {
        for context in contexts {
            self.check_context(context)?;
        }
        let counts: Vec<usize> = rngs.iter().map(Vec::len).collect();
        let sequences = rngs.into_iter().enumerate().map(|(context, rngs)| {
            let sequence = |(number, rng)| Sequence::new([context, number], rng);
            (contexts[context], rngs.into_iter().enumerate().map(sequence).collect())
        });
        let sequences: Vec<(&[u32], Vec<Sequence>)> = sequences.collect();
        let mut drawn = match is_by_row(&self.frame.spec, &self.frame.device) {
            true => draw_all::<HostCache>(self, sequences)?,
            false => draw_all::<Cache>(self, sequences)?,
        };
        drawn.sort_unstable_by_key(|sequence| sequence.place);
        let mut drawn = drawn.into_iter();
        let sampled = |sequence: Sequence| Sampled { value: sequence.tokens, log_prob: sequence.log_prob };
        Ok(counts.into_iter().map(|count| drawn.by_ref().take(count).map(sampled).collect()).collect())
    }

    /// Whether a sequence has ended, or is as long as one may be.
    pub(crate) fn is_complete(&self, tokens: &[u32]) -> bool {
        tokens.len() == self.generation.max_new_tokens
            || tokens.last().is_some_and(|token| self.is_end(*token))
    }
}
