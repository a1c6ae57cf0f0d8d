//! Samples in files: the lines that one stage hands to the next, and that other programs write and read.
//!
//! A line is a JSON object. `context` (or `prompt`) is a text, or an object with `text` and `columns`. `sample` is a text, or an object
//! with `text`, `tokens` (ids, or their number) and `finished`; these three may also be fields of the line itself (`completion` is
//! another name of `text`). `log_prob` is `ln` of the probability with which the sample was drawn, in nats. These are optional:
//! `log_base` and `log_target` are its log-scores under the base, where another distribution drew it, and under a target;
//! `features` is an object from names to numbers, `null` for a skipped sample; `index` is its number among the samples of its context.
//! Other fields are not looked at. The file of a shard begins with a line of its own, which says of which inputs and which shard it is,
//! and ends with one that says how many lines there are, and their SHA-256.

mod context_samples;
mod line;
mod probabilities;
mod raw_line;
mod recorded_scorer;
mod shard;
mod shard_end;
mod stored_sample;

pub(crate) use context_samples::{ContextSamples, check_distinct, find_contexts, in_contexts};
pub(crate) use line::SampleLine;
pub(crate) use probabilities::check_probabilities;
pub(crate) use raw_line::{
    StoredLine, begins_samples, parse_samples, read_line_place, read_samples, read_texts,
};
pub(crate) use recorded_scorer::recorded_scorers;
pub use shard::Shard;
pub(crate) use shard::is_shard_line;
pub(crate) use shard_end::{ShardEnd, ShardSum, is_shard_end};
pub use stored_sample::StoredSample;
