//! Decoding choices as part of the distribution: one code path for sampling, scoring and the gradient.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How logits become the distribution of the next token. The order is that of Hugging Face transformers:
/// temperature, then top-k, then top-p.
///
/// | parameter | default | range |
/// |---|---|---|
/// | `temperature` | 1 | positive, finite |
/// | `top_k` | 0 (off) | any |
/// | `top_p` | 1 (off) | (0, 1] |
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Decoding {
    /// Logits are divided by it.
    pub temperature: f64,
    /// Only the `top_k` most probable tokens can be drawn (and those tied with the last of them); 0: all.
    pub top_k: usize,
    /// Only the smallest set of most probable tokens whose mass reaches `top_p` can be drawn.
    pub top_p: f64,
}

impl Default for Decoding {
    fn default() -> Self {
        Self { temperature: 1.0, top_k: 0, top_p: 1.0 }
    }
}

impl Decoding {
    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the field.
    pub fn check(&self) -> Result<()> {
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            return Err(Error::invalid("temperature", self.temperature, "positive and finite"));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return Err(Error::invalid("top_p", self.top_p, "above 0, at most 1"));
        }
        Ok(())
    }

    /// Whether some tokens are cut off: the distribution then cannot reach all sequences.
    pub fn truncates(&self) -> bool {
        self.top_k > 0 || self.top_p < 1.0
    }

    /// The distribution of the next token.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if a logit is NaN or infinite.
    pub(crate) fn next_token<'a>(&self, logits: &'a [f32]) -> Result<NextToken<'a>> {
        if let Some(logit) = logits.iter().find(|logit| !logit.is_finite()) {
            return Err(Error::NotFinite { what: "a logit of the model".into(), value: f64::from(*logit) });
        }
        let inverse_temperature = 1.0 / self.temperature;
        let cutoff = if self.truncates() { self.cutoff(logits) } else { f32::NEG_INFINITY };
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let next = NextToken { logits, inverse_temperature, cutoff, largest, mass: f64::NAN };
        let mass = logits.iter().map(|logit| next.unnormalised(*logit)).sum();
        Ok(NextToken { mass, ..next })
    }

    /// The smallest logit that is kept.
    fn cutoff(&self, logits: &[f32]) -> f32 {
        let mut sorted = logits.to_vec();
        sorted.sort_unstable_by(|a, b| b.total_cmp(a));
        if self.top_k > 0 && self.top_k < sorted.len() {
            let last = sorted[self.top_k - 1];
            let kept = sorted.partition_point(|logit| *logit >= last);
            sorted.truncate(kept);
        }
        if self.top_p < 1.0 {
            let weights: Vec<f64> =
                sorted.iter().map(|logit| (f64::from(logit - sorted[0]) / self.temperature).exp()).collect();
            let wanted = self.top_p * weights.iter().sum::<f64>();
            let mut mass = 0.0;
            // A token is kept while the mass before it is below top_p; so the first always is.
            let kept = weights.iter().take_while(|weight| {
                let before = mass;
                mass += **weight;
                before < wanted
            });
            let kept = kept.count();
            sorted.truncate(kept);
        }
        sorted[sorted.len() - 1]
    }
}

/// The distribution of one next token.
pub(crate) struct NextToken<'a> {
    logits: &'a [f32],
    inverse_temperature: f64,
    cutoff: f32,
    largest: f32,
    /// The sum of the unnormalised probabilities; the largest of them is 1.
    mass: f64,
}

impl NextToken<'_> {
    fn unnormalised(&self, logit: f32) -> f64 {
        if logit < self.cutoff {
            return 0.0;
        }
        // The exponential in f32, the sum in f64: a relative error of 1e-7 a term, and twice as fast.
        f64::from(((f64::from(logit - self.largest) * self.inverse_temperature) as f32).exp())
    }

    /// The log-probability of a token (nats); `-inf` for one that is cut off.
    pub(crate) fn log_prob(&self, token: u32) -> f64 {
        let logit = self.logits[token as usize];
        if logit < self.cutoff {
            return f64::NEG_INFINITY;
        }
        f64::from(logit - self.largest) * self.inverse_temperature - self.mass.ln()
    }

    /// The token at which the cumulated probability passes `uniform`, in [0, 1).
    pub(crate) fn at(&self, uniform: f64) -> u32 {
        let wanted = uniform * self.mass;
        let mut mass = 0.0;
        let mut last = 0;
        for (token, logit) in self.logits.iter().enumerate() {
            let weight = self.unnormalised(*logit);
            if weight > 0.0 {
                mass += weight;
                last = token;
                if mass > wanted {
                    break;
                }
            }
        }
        last as u32
    }

    /// `sum_i weight_i * d log_prob(token_i) / d logits`: the weights on the tokens, less their sum spread
    /// as the probabilities are, over the temperature.
    pub(crate) fn gradient(&self, weighted: impl Iterator<Item = (u32, f64)> + Clone) -> Vec<f32> {
        let total: f64 = weighted.clone().map(|(_, weight)| weight).sum();
        let scale = total * self.inverse_temperature / self.mass;
        let mut gradient: Vec<f32> =
            self.logits.iter().map(|logit| (-scale * self.unnormalised(*logit)) as f32).collect();
        for (token, weight) in weighted {
            gradient[token as usize] += (weight * self.inverse_temperature) as f32;
        }
        gradient
    }
}
