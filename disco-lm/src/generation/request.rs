//! Requests to a generation service, and the events that answer them.

use disco_core::Streams;

use crate::{Decoding, Error, Result, TokenModel, decoding::NextToken};

/// A request to a [`GenerationService`](crate::GenerationService): sequences after one context, each with a random stream of its own.
///
/// | field | set by [`new`](Self::new) to | range |
/// |---|---|---|
/// | `context` | as given | ids of the vocabulary, at least one |
/// | `streams` | as given | one for each sequence, at most [`ServiceLimits::sequences`](crate::ServiceLimits::sequences) |
/// | `decoding` | the model's own distribution | see [`Decoding`] |
/// | `max_new_tokens` | 40 | at least 1, or 0 with `context_log_probs`; at most [`ServiceLimits::max_new_tokens`](crate::ServiceLimits::max_new_tokens); context and new tokens together fit into the model's positions |
/// | `greedy` | `false` | |
/// | `alternatives` | 0 | at most the vocabulary's size |
/// | `context_log_probs` | `false` | decoder-only models |
#[derive(Clone, Debug)]
pub struct GenerationRequest {
    /// The token ids that the sequences follow.
    pub context: Vec<u32>,
    /// The random stream of each sequence. A sequence is the sample that [`TokenModel`] draws with this stream, whatever else
    /// the service does.
    pub streams: Streams,
    /// How logits become the distribution of the next token.
    pub decoding: Decoding,
    /// A sequence is cut after this many tokens; 0: there are no sequences.
    pub max_new_tokens: usize,
    /// Whether each token is the most probable one, in the place of a draw. The streams then give the number of sequences only.
    pub greedy: bool,
    /// How many of the most probable tokens are reported beside each token.
    pub alternatives: usize,
    /// Whether the log-probabilities of the context's own tokens are reported.
    pub context_log_probs: bool,
}

impl GenerationRequest {
    /// One sequence per stream after a context, from the model's own distribution.
    pub fn new(context: impl Into<Vec<u32>>, streams: Streams) -> Self {
        Self {
            context: context.into(),
            streams,
            decoding: Decoding::default(),
            max_new_tokens: 40,
            greedy: false,
            alternatives: 0,
            context_log_probs: false,
        }
    }

    /// The number of sequences.
    pub(crate) fn sequences(&self) -> usize {
        if self.max_new_tokens == 0 { 0 } else { self.streams.len() }
    }

    /// Checks every field against a model.
    pub(crate) fn validate_for(&self, model: &TokenModel) -> Result<()> {
        if self.sequences() == 0 && !self.context_log_probs {
            let (field, allowed) = match self.max_new_tokens {
                0 => (
                    "max_new_tokens",
                    "at least 1, unless the log-probabilities of the context are asked for",
                ),
                _ => ("streams", "at least 1"),
            };
            return Err(Error::invalid(field, 0, allowed));
        }
        if self.alternatives > model.vocabulary() {
            let allowed = format!("at most the vocabulary's size, {}", model.vocabulary());
            return Err(Error::invalid("alternatives", self.alternatives, allowed));
        }
        if self.context_log_probs && model.has_encoder() {
            return Err(Error::invalid("context_log_probs", true, "false: an encoder reads the context"));
        }
        let end_tokens = &model.shared.end_tokens;
        self.decoding.validate_for(model.vocabulary(), end_tokens, self.max_new_tokens)?;
        model.check_fits(&self.context, self.max_new_tokens)
    }
}

/// A token with its log-probability.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TokenLogProb {
    /// The token's id.
    pub id: u32,
    /// Its log-probability (nats), given all tokens before it and as it is decoded.
    pub log_prob: f64,
    /// The most probable tokens in its place, the most probable first, with their log-probabilities (nats); none unless they were
    /// asked for.
    pub alternatives: Vec<(u32, f64)>,
}

impl TokenLogProb {
    pub(crate) fn of(next: &NextToken<'_>, id: u32, alternatives: usize) -> Self {
        let top = if alternatives == 0 { Vec::new() } else { next.top(alternatives) };
        let alternatives = top.into_iter().map(|token| (token, next.log_prob(token))).collect();
        Self { id, log_prob: next.log_prob(id), alternatives }
    }
}

/// A part of the answer to a request.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum GenerationEvent {
    /// The tokens of the context from the second on, given those before them. The first has no log-probability.
    Context(Vec<TokenLogProb>),
    /// The next token of a sequence.
    Token {
        /// The index of the sequence in its request.
        sequence: usize,
        /// The token.
        token: TokenLogProb,
    },
    /// The end of a sequence.
    Finished {
        /// The index of the sequence in its request.
        sequence: usize,
        /// The reason.
        reason: FinishReason,
    },
}

/// Why a sequence has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FinishReason {
    /// Its last token is an end token.
    EndToken,
    /// It has `max_new_tokens` tokens.
    Length,
    /// The grammar of the model allows none of the tokens that can be drawn.
    DeadEnd,
    /// It was cancelled.
    Cancelled,
}
