//! Truncation by probability: top-k, top-p, min-p and typical sampling.
//!
//! Every rule keeps the logits of one interval, so that two numbers describe the tokens that are kept.

use crate::decoding::{Decoding, softmax::Weights};

impl Decoding {
    /// The weights of the logits that are kept. `largest` is the largest of all logits. The logits of tokens that cannot be
    /// drawn for other reasons are `-inf`.
    pub(crate) fn weights(&self, logits: &[f32], largest: f32) -> Weights {
        let inverse_temperature = self.temperature.recip();
        let mut kept = Weights { reference: largest, least: f32::NEG_INFINITY, inverse_temperature };
        if self.top_k > 0 && self.top_k < logits.len() {
            let mut logits = logits.to_vec();
            kept.least = *logits.select_nth_unstable_by(self.top_k - 1, |a, b| b.total_cmp(a)).1;
        }
        if self.top_p < 1.0 {
            let mass: f64 = kept.sums(logits).iter().sum();
            // All tokens below this weight together have at most half of the mass that is cut off: they need not be sorted.
            let negligible = 0.5 * (1.0 - self.top_p) * mass / logits.len() as f64;
            let bound = f64::from(largest) + negligible.ln() * self.temperature;
            let likely = Weights { least: kept.least.max(bound as f32), ..kept };
            // The most probable first.
            let mut tokens = likely.tokens(logits, |log_weight| -log_weight);
            kept.least = smallest_reaching(&mut tokens, self.top_p * mass).0;
        }
        if self.min_p > 0.0 {
            let bound = f64::from(largest) + self.min_p.ln() * self.temperature;
            let above = logits.iter().copied().filter(|logit| f64::from(*logit) >= bound);
            kept.least = kept.least.max(above.fold(largest, f32::min));
        }
        if self.typical_p < 1.0 {
            let mass: f64 = kept.sums(logits).iter().sum();
            // The mean of the log-weights. A log-weight is a log-probability plus the logarithm of the mass, so a
            // log-weight is as far from this mean as its log-probability is from minus the entropy.
            let weighted = logits.iter().map(|&logit| (f64::from(kept.of(logit)), logit));
            let mean = weighted.filter(|(weight, _)| *weight > 0.0).map(|(w, logit)| w * kept.log(logit));
            let mean = mean.sum::<f64>() / mass;
            let mut tokens = kept.tokens(logits, |log_weight| (log_weight - mean).abs());
            (kept.least, kept.reference) = smallest_reaching(&mut tokens, self.typical_p * mass);
        }
        kept
    }
}

/// A token that may be kept.
struct Token {
    /// Tokens are ordered by this value.
    key: f64,
    logit: f32,
    weight: f64,
}

impl Weights {
    /// The tokens that are kept so far, each with the key that `key` computes from its log-weight.
    fn tokens(&self, logits: &[f32], key: impl Fn(f64) -> f64) -> Vec<Token> {
        let kept = logits.iter().filter(|logit| self.keeps(**logit));
        kept.map(|&logit| {
            let log_weight = self.log(logit);
            Token { key: key(log_weight), logit, weight: f64::from(self.of(logit)) }
        })
        .collect()
    }
}

/// The smallest and the largest logit of the smallest set of tokens that has the least keys and a mass of at least `wanted`.
/// Tokens tied with the last of them belong to the set.
///
/// A few tokens are enough in most cases: so only a few are sorted, and more only if those do not reach the mass.
fn smallest_reaching(tokens: &mut [Token], wanted: f64) -> (f32, f32) {
    let order = |a: &Token, b: &Token| a.key.total_cmp(&b.key);
    let mut mass = 0.0;
    let mut sorted = 0;
    let mut next = 256;
    let mut last = f64::INFINITY;
    'search: while sorted < tokens.len() {
        let rest = &mut tokens[sorted..];
        let count = next.min(rest.len());
        if count < rest.len() {
            rest.select_nth_unstable_by(count - 1, order);
        }
        let part = &mut rest[..count];
        part.sort_unstable_by(order);
        for token in part.iter() {
            mass += token.weight;
            if mass >= wanted {
                last = token.key;
                break 'search;
            }
        }
        sorted += count;
        next *= 8;
    }
    let kept = tokens.iter().filter(|token| token.key <= last);
    kept.fold((f32::INFINITY, f32::NEG_INFINITY), |(least, greatest), token| {
        (least.min(token.logit), greatest.max(token.logit))
    })
}
