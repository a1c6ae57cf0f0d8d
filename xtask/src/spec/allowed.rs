//! Conditions on single values, in words and in code, shared by spec files and command lines.

use super::reader::Allowed;

pub(crate) const ANY_TEXT: Allowed<String> = Allowed { words: "a string", holds: |_| true };
pub(crate) const SOME_TEXT: Allowed<String> =
    Allowed { words: "a string that is not empty", holds: |text| !text.is_empty() };
pub(crate) const TEXTS: Allowed<Vec<String>> =
    Allowed { words: "strings, at least one: [\"...\", \"...\"]", holds: |texts| !texts.is_empty() };

pub(crate) const TOKEN_IDS: Allowed<Vec<u32>> =
    Allowed { words: "whole numbers below 2^32: [1, 2, ...]", holds: |_| true };

pub(crate) const WHOLE: Allowed<u64> = Allowed { words: "a whole number from 0", holds: |_| true };
pub(crate) const COUNT: Allowed<u64> = Allowed {
    words: "a whole number from 1 to 1000000000",
    holds: |count| (1..=1_000_000_000).contains(count),
};
/// As `disco_lm::BeamSearch` has it, so that it can be checked before a program with a language model is built.
pub(crate) const BEAM: Allowed<u64> =
    Allowed { words: "a whole number from 1 to 1024", holds: |width| (1..=1024).contains(width) };
/// Standard errors need two; all samples of a stage are held in memory.
pub(crate) const SAMPLES: Allowed<u64> =
    Allowed { words: "a whole number from 2 to 10000000", holds: |count| (2..=10_000_000).contains(count) };

pub(crate) const FINITE: Allowed<f64> = Allowed { words: "a finite number", holds: |x| x.is_finite() };
pub(crate) const POSITIVE: Allowed<f64> =
    Allowed { words: "a finite number above 0", holds: |x| *x > 0.0 && x.is_finite() };
pub(crate) const NOT_NEGATIVE: Allowed<f64> =
    Allowed { words: "a finite number from 0", holds: |x| *x >= 0.0 && x.is_finite() };
pub(crate) const NEGATIVE: Allowed<f64> =
    Allowed { words: "a finite number below 0", holds: |x| *x < 0.0 && x.is_finite() };
pub(crate) const INSIDE_UNIT: Allowed<f64> =
    Allowed { words: "a number above 0 and below 1", holds: |x| *x > 0.0 && *x < 1.0 };
pub(crate) const SHARE: Allowed<f64> =
    Allowed { words: "a number from 0 to below 1", holds: |x| *x >= 0.0 && *x < 1.0 };
pub(crate) const POSITIVE_SHARE: Allowed<f64> =
    Allowed { words: "a number above 0 and at most 1", holds: |x| *x > 0.0 && *x <= 1.0 };
pub(crate) const CLOSED_SHARE: Allowed<f64> =
    Allowed { words: "a number from 0 to 1", holds: |x| (0.0..=1.0).contains(x) };
