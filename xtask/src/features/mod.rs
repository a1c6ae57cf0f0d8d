//! Features of texts: the values of a sample, and the code that computes them.
//!
//! A [`TextFeature`] is one number of a spec file, ready to be computed on any sample that has a text ([`TextSample`]);
//! [`TextFeatures`] are all of them. The rules of the run file's own kinds are in `own_rule.rs` and the files that it names, those of
//! features that are made of others in `combination.rs`; a value that a model or program gives comes from a [`TextScorer`].

mod category;
mod combination;
mod json_value;
mod marks;
mod own_rule;
mod remembered;
mod rules;
mod text_feature;
mod text_sample;
mod text_scorer;
mod word_set;

pub use marks::Marks;
pub use text_feature::{TextFeature, TextFeatures};
pub use text_sample::TextSample;
pub use text_scorer::{SampleView, TextScorer, TextScorers};
