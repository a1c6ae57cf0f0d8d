//! Decoding: from logits to the distribution of the next token, by one code path for sampling, scoring and the gradient.

pub(crate) mod next_token;
pub(crate) mod softmax;
#[cfg(test)]
mod tests;
pub(crate) mod truncation;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

pub(crate) use next_token::{DEAD_END, History, NextToken};

/// How logits become the distribution of the next token.
///
/// The order is that of Hugging Face transformers' processors: repetition penalty, minimum length, forbidden
/// tokens, temperature, top-k, top-p, min-p, typical. Each of the last four applies to the distribution that the
/// steps before it produced. Where transformers breaks a tie by the order of sorting, all tied tokens are kept.
///
/// | parameter | default | range |
/// |---|---|---|
/// | `repetition_penalty` | 1 (off) | positive, finite |
/// | `repetition_scope` | [`RepetitionScope::All`] | |
/// | `min_new_tokens` | 0 (off) | up to `max_new_tokens` |
/// | `forbidden_tokens` | none | ids of the vocabulary, not all of them |
/// | `temperature` | 1 | from 1e-30 to 1e30 |
/// | `top_k` | 0 (off) | any |
/// | `top_p` | 1 (off) | (0, 1] |
/// | `min_p` | 0 (off) | \[0, 1\] |
/// | `typical_p` | 1 (off) | (0, 1] |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Decoding {
    /// The logit of a token that has occurred is divided by `repetition_penalty` if the logit is positive, else multiplied by
    /// it (Keskar et al. 2019, arXiv:1909.05858, section 4.1). A penalty above 1 discourages repetition.
    pub repetition_penalty: f64,
    /// Where a token must have occurred to be penalised.
    pub repetition_scope: RepetitionScope,
    /// No end token can be drawn before this many tokens.
    pub min_new_tokens: usize,
    /// Ids that are never drawn.
    pub forbidden_tokens: Vec<u32>,
    /// Logits are divided by the temperature.
    pub temperature: f64,
    /// Only the `top_k` most probable tokens can be drawn (and those tied with the last of them); 0: all.
    pub top_k: usize,
    /// Only the smallest set of most probable tokens whose mass reaches `top_p` can be drawn (Holtzman et al.
    /// 2020, arXiv:1904.09751).
    pub top_p: f64,
    /// Only tokens can be drawn that are at least `min_p` times as probable as the most probable token (Nguyen et
    /// al. 2024, arXiv:2407.01082).
    pub min_p: f64,
    /// Only the smallest set of tokens can be drawn whose log-probability is nearest to the expected log-probability,
    /// and whose mass reaches `typical_p` (Meister et al. 2023, arXiv:2202.00666, equation 10).
    pub typical_p: f64,
}

/// Where a token must have occurred for [`Decoding::repetition_penalty`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RepetitionScope {
    /// In the context or in the sequence so far, as in transformers.
    #[default]
    All,
    /// In the sequence so far.
    New,
}

impl Default for Decoding {
    fn default() -> Self {
        Self {
            repetition_penalty: 1.0,
            repetition_scope: RepetitionScope::All,
            min_new_tokens: 0,
            forbidden_tokens: Vec::new(),
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            typical_p: 1.0,
        }
    }
}

impl Decoding {
    /// Checks each field on its own, without a model.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the field.
    pub fn validate(&self) -> Result<()> {
        let positive = |x: f64| x > 0.0 && x.is_finite() && x.recip().is_finite();
        let fraction = |x: f64| x > 0.0 && x <= 1.0;
        let conditions = [
            (
                "repetition_penalty",
                self.repetition_penalty,
                positive as fn(f64) -> bool,
                "positive and finite",
            ),
            ("temperature", self.temperature, |x| (1e-30..=1e30).contains(&x), "from 1e-30 to 1e30"),
            ("top_p", self.top_p, fraction, "above 0, at most 1"),
            ("min_p", self.min_p, |x| (0.0..=1.0).contains(&x), "from 0 to 1"),
            ("typical_p", self.typical_p, fraction, "above 0, at most 1"),
        ];
        match conditions.into_iter().find(|(_, value, holds, _)| !holds(*value)) {
            Some((field, value, _, allowed)) => Err(Error::invalid(field, value, allowed)),
            None => Ok(()),
        }
    }

    /// Checks the fields against a model: its vocabulary's size, its end tokens, and the longest sequence.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the field.
    pub(crate) fn validate_for(
        &self,
        vocabulary: usize,
        end_tokens: &[u32],
        max_new_tokens: usize,
    ) -> Result<()> {
        self.validate()?;
        if self.min_new_tokens > max_new_tokens {
            let allowed = format!("at most `max_new_tokens`, {max_new_tokens}");
            return Err(Error::invalid("min_new_tokens", self.min_new_tokens, allowed));
        }
        if let Some(id) = self.forbidden_tokens.iter().find(|id| **id as usize >= vocabulary) {
            let allowed = format!("ids below the vocabulary's size, {vocabulary}");
            return Err(Error::invalid("forbidden_tokens", id, allowed));
        }
        let mut excluded = self.forbidden_tokens.clone();
        if self.min_new_tokens > 0 {
            excluded.extend(end_tokens);
        }
        excluded.sort_unstable();
        excluded.dedup();
        if excluded.len() == vocabulary {
            let value = format!("every id but end tokens, with `min_new_tokens` = {}", self.min_new_tokens);
            let all = self.forbidden_tokens.len() >= vocabulary;
            let value = if all { "every id of the vocabulary".into() } else { value };
            return Err(Error::invalid("forbidden_tokens", value, "some token must be left to be drawn"));
        }
        Ok(())
    }

    /// Whether some tokens cannot be drawn. If so, some sequences have probability zero.
    pub fn truncates(&self) -> bool {
        self.min_new_tokens > 0 || !self.forbidden_tokens.is_empty() || self.truncates_by_probability()
    }

    fn truncates_by_probability(&self) -> bool {
        self.top_k > 0 || self.top_p < 1.0 || self.min_p > 0.0 || self.typical_p < 1.0
    }
}
