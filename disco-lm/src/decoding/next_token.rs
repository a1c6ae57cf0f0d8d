//! The distribution of the next token: its log-probabilities, sampling, and its gradient.

use crate::{
    Error, Result,
    decoding::{
        Decoding, RepetitionScope,
        softmax::{BLOCK, Weights, largest},
    },
    grammar::mask::Mask,
    kernels::vectorised,
};

/// The token that stands for no token: behind a sequence that cannot go on, because a mask allows none of the tokens that can be
/// drawn. It is in no vocabulary.
pub(crate) const DEAD_END: u32 = u32::MAX;

/// The tokens before a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct History<'a> {
    /// The tokens of the context.
    pub(crate) context: &'a [u32],
    /// The tokens of the sequence so far.
    pub(crate) generated: &'a [u32],
}

impl Decoding {
    /// The distribution of the token after `history`, from the model's logits, which are changed in place. A `mask` comes after
    /// all other rules: of the tokens that they leave, those that it allows have their probabilities divided by their sum. If it allows
    /// none of them, the next token is [`DEAD_END`] with probability 1.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if a logit is NaN or infinite.
    pub(crate) fn next_token<'a>(
        &self,
        logits: &'a mut [f32],
        history: History<'_>,
        end_tokens: &[u32],
        mask: Option<&Mask>,
    ) -> Result<NextToken<'a>> {
        let (mut most, finite) = largest(logits);
        if let (false, Some(logit)) = (finite, logits.iter().find(|logit| !logit.is_finite())) {
            return Err(Error::NotFinite { what: "a logit of the model".into(), value: f64::from(*logit) });
        }
        let factors = self.penalise(logits, history);
        let ends: &[u32] = if history.generated.len() < self.min_new_tokens { end_tokens } else { &[] };
        for id in self.forbidden_tokens.iter().chain(ends) {
            logits[*id as usize] = f32::NEG_INFINITY;
        }
        if !(factors.is_empty() && self.forbidden_tokens.is_empty() && ends.is_empty()) {
            most = largest(logits).0;
        }
        let mut weights = self.weights(logits, most);
        if let Some(mask) = mask {
            mask.apply(logits);
            // The largest logit of all may be far above those that are left, whose weights beside it would be 0.
            let mut left = largest(logits).0;
            // Truncation may have left out the largest logits (typical-p).
            if left > weights.reference {
                let kept = logits.iter().copied().filter(|logit| weights.keeps(*logit));
                left = kept.fold(f32::NEG_INFINITY, f32::max);
            }
            weights.reference = left;
        }
        let blocks = weights.sums(logits);
        let mass = blocks.iter().sum();
        Ok(NextToken { logits, factors, weights, blocks, mass })
    }

    /// Whether [`next_token`](Self::next_token) leaves the logits as they are.
    pub(crate) fn leaves_logits(&self) -> bool {
        self.repetition_penalty == 1.0 && self.forbidden_tokens.is_empty() && self.min_new_tokens == 0
    }

    /// Applies the repetition penalty; returns each penalised token with the factor by which its logit was multiplied.
    fn penalise(&self, logits: &mut [f32], history: History<'_>) -> Vec<(u32, f64)> {
        if self.repetition_penalty == 1.0 {
            return Vec::new();
        }
        let context = match self.repetition_scope {
            RepetitionScope::All => history.context,
            RepetitionScope::New => &[],
        };
        let mut seen = [context, history.generated].concat();
        seen.sort_unstable();
        seen.dedup();
        let factors = seen.into_iter().map(|id| {
            let logit = &mut logits[id as usize];
            let penalty = self.repetition_penalty;
            let factor = if *logit < 0.0 { penalty } else { penalty.recip() };
            // A logit beyond the range of f32 is set to its bound, which serves as well: it stays finite.
            *logit = (f64::from(*logit) * factor).clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32;
            (id, factor)
        });
        factors.collect()
    }
}

/// The distribution of the next token.
pub(crate) struct NextToken<'a> {
    /// The logits after the repetition penalty; `-inf` for forbidden tokens.
    logits: &'a mut [f32],
    /// The derivative of a penalised logit with respect to the model's.
    factors: Vec<(u32, f64)>,
    weights: Weights,
    /// The sum of the weights of each block of logits.
    blocks: Vec<f64>,
    /// The sum of all weights.
    mass: f64,
}

impl NextToken<'_> {
    /// Whether no token can be drawn.
    fn is_dead_end(&self) -> bool {
        self.mass == 0.0
    }

    /// The log-probability of a token (nats); `-inf` for a token that cannot be drawn.
    pub(crate) fn log_prob(&self, token: u32) -> f64 {
        if self.is_dead_end() || token == DEAD_END {
            let is_certain = self.is_dead_end() && token == DEAD_END;
            return if is_certain { 0.0 } else { f64::NEG_INFINITY };
        }
        self.weights.log(self.logits[token as usize]) - self.mass.ln()
    }

    /// The most probable token; the first of them if several are tied.
    pub(crate) fn mode(&self) -> u32 {
        if self.is_dead_end() {
            return DEAD_END;
        }
        let most = self.weights.reference;
        self.logits.iter().position(|logit| *logit == most).unwrap_or(0) as u32
    }

    /// Up to `count` most probable tokens that can be drawn, the most probable first.
    pub(crate) fn top(&self, count: usize) -> Vec<u32> {
        let logit = |token: &u32| self.logits[*token as usize];
        let order = |a: &u32, b: &u32| logit(b).total_cmp(&logit(a)).then(a.cmp(b));
        let mut tokens: Vec<u32> = (0..self.logits.len() as u32).collect();
        tokens.retain(|token| self.weights.keeps(logit(token)));
        if count < tokens.len() {
            tokens.select_nth_unstable_by(count, order);
            tokens.truncate(count);
        }
        tokens.sort_unstable_by(order);
        tokens
    }

    /// The token at which the cumulated probability passes `uniform`, in [0, 1).
    pub(crate) fn at(&self, uniform: f64) -> u32 {
        if self.is_dead_end() {
            return DEAD_END;
        }
        let wanted = uniform * self.mass;
        // The block in which the cumulated mass passes `wanted`, and the mass before it. If, because of rounding, no block
        // passes it: the last block that has any weight.
        let (mut chosen, mut mass) = (0, 0.0);
        let mut before = 0.0;
        for (index, block) in self.blocks.iter().enumerate().filter(|(_, block)| **block > 0.0) {
            (chosen, mass) = (index, before);
            before += block;
            if before > wanted {
                break;
            }
        }
        let start = chosen * BLOCK;
        let mut last = start;
        for (token, logit) in self.logits.iter().enumerate().skip(start).take(BLOCK) {
            let weight = self.weights.of(*logit);
            if weight > 0.0 {
                last = token;
                mass += f64::from(weight);
                if mass > wanted {
                    break;
                }
            }
        }
        last as u32
    }

    /// Replaces the logits by the gradient `sum_i weight_i * d log_prob(token_i) / d logits`.
    ///
    /// Entry `j` is `factor_j / temperature * (sum_{i: token_i = j} weight_i - p_j sum_i weight_i)`, where `p_j` is the
    /// probability of token `j` and `factor_j` the factor of the repetition penalty, 1 without one. A token that cannot be
    /// drawn contributes nothing.
    pub(crate) fn into_gradient(self, weighted: impl Iterator<Item = (u32, f64)>) {
        if self.is_dead_end() {
            return self.logits.fill(0.0);
        }
        let Self { logits, factors, weights, mass, .. } = self;
        let can_be_drawn = |token: u32| token != DEAD_END && weights.keeps(logits[token as usize]);
        let weighted: Vec<(u32, f64)> = weighted.filter(|(token, _)| can_be_drawn(*token)).collect();
        let total: f64 = weighted.iter().map(|(_, weight)| weight).sum();
        let scale = (-total * weights.inverse_temperature / mass) as f32;
        vectorised(
            #[inline(always)]
            || {
                for logit in logits.iter_mut() {
                    *logit = scale * weights.of(*logit);
                }
            },
        );
        for (token, weight) in weighted {
            logits[token as usize] += (weight * weights.inverse_temperature) as f32;
        }
        for (token, factor) in factors {
            logits[token as usize] *= factor as f32;
        }
    }
}
