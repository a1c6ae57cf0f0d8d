//! Conditions on single values, in words and in code, shared by spec files and command lines.

use super::Allowed;

pub(crate) const ANY_TEXT: Allowed<String> = Allowed { words: "a string", holds: |_| true };
pub(crate) const SOME_TEXT: Allowed<String> =
    Allowed { words: "a string that is not empty", holds: |text| !text.is_empty() };
pub(crate) const TEXTS: Allowed<Vec<String>> =
    Allowed { words: "strings, at least one: [\"...\", \"...\"]", holds: |texts| !texts.is_empty() };

pub(crate) const TOKEN_IDS: Allowed<Vec<u32>> =
    Allowed { words: "whole numbers below 2^32: [1, 2, ...]", holds: |_| true };

pub(crate) const WHOLE: Allowed<u64> =
    Allowed { words: "a whole number from 0 to 2^64 - 1", holds: |_| true };
pub(crate) const COUNT: Allowed<u64> = Allowed {
    words: "a whole number from 1 to 1000000000",
    holds: |count| (1..=1_000_000_000).contains(count),
};
pub(crate) const STEPS: Allowed<u64> = Allowed {
    words: "a whole number from 0 (nothing is tuned) to 1000000000",
    holds: |count| *count <= 1_000_000_000,
};
/// The samples of that many steps are held in memory.
pub(crate) const KEPT_STEPS: Allowed<u64> =
    Allowed { words: "a whole number from 0 to 10000", holds: |count| *count <= 10_000 };
/// As `disco_lm::BeamSearch` has it, so that it can be checked before a program with a language model is built.
pub(crate) const BEAM: Allowed<u64> =
    Allowed { words: "a whole number from 1 to 1024", holds: |width| (1..=1024).contains(width) };
/// No model has larger matrices, and a rank above their sizes gains nothing.
pub(crate) const RANK: Allowed<u64> =
    Allowed { words: "a whole number from 1 to 65536", holds: |rank| (1..=65_536).contains(rank) };
/// Standard errors need two; all samples of a stage are held in memory.
pub(crate) const SAMPLES: Allowed<u64> =
    Allowed { words: "a whole number from 2 to 10000000", holds: |count| (2..=10_000_000).contains(count) };

pub(crate) const FINITE: Allowed<f64> = Allowed { words: "a finite number", holds: |x| x.is_finite() };
pub(crate) const POSITIVE: Allowed<f64> =
    Allowed { words: "a finite number above 0", holds: |x| *x > 0.0 && x.is_finite() };
/// As `disco_lm::Decoding` has it, so that it can be checked before a program with a language model is built.
pub(crate) const TEMPERATURE: Allowed<f64> =
    Allowed { words: "a finite number above 0, from 1e-30 to 1e30", holds: |x| (1e-30..=1e30).contains(x) };
/// As `disco_lm::Decoding` has it: a logit is divided by it, or multiplied with it.
pub(crate) const PENALTY: Allowed<f64> = Allowed {
    words: "a finite number above 0",
    holds: |x| *x > 0.0 && x.is_finite() && x.recip().is_finite(),
};
/// The mean of a feature that is 0 or 1, or a probability.
pub(crate) const PREVALENCE: Allowed<f64> = Allowed {
    words: "a number above 0 and below 1 (for 1 and 0 of a feature that holds or not: always = true, never = true)",
    holds: |x| *x > 0.0 && *x < 1.0,
};
pub(crate) const COUNT_MEAN: Allowed<f64> = Allowed {
    words: "a finite number above 0 (for no occurrence at all: kind = \"contains\" with never = true)",
    holds: |x| *x > 0.0 && x.is_finite(),
};
pub(crate) const NOT_NEGATIVE: Allowed<f64> =
    Allowed { words: "a finite number from 0", holds: |x| *x >= 0.0 && x.is_finite() };
pub(crate) const NEGATIVE: Allowed<f64> =
    Allowed { words: "a finite number below 0", holds: |x| *x < 0.0 && x.is_finite() };
pub(crate) const INSIDE_UNIT: Allowed<f64> =
    Allowed { words: "a number above 0 and below 1", holds: |x| *x > 0.0 && *x < 1.0 };
/// The mean of a feature that is -1, 0 or 1.
pub(crate) const SIGN_MEAN: Allowed<f64> =
    Allowed { words: "a number above -1 and below 1", holds: |x| *x > -1.0 && *x < 1.0 };
pub(crate) const SHARE: Allowed<f64> =
    Allowed { words: "a number from 0 to below 1", holds: |x| *x >= 0.0 && *x < 1.0 };
pub(crate) const POSITIVE_SHARE: Allowed<f64> =
    Allowed { words: "a number above 0 and at most 1", holds: |x| *x > 0.0 && *x <= 1.0 };
pub(crate) const CLOSED_SHARE: Allowed<f64> =
    Allowed { words: "a number from 0 to 1", holds: |x| (0.0..=1.0).contains(x) };
/// Beta itself has to be a number: the largest is about e^709.
pub(crate) const LOG_BETA: Allowed<f64> = Allowed {
    words: "a number from -700 to 700: beta is e to the power of it",
    holds: |x| (-700.0..=700.0).contains(x),
};
