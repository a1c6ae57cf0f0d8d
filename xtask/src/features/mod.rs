//! Features of texts: the values of a sample, and the code that computes them.
//!
//! A [`TextFeature`] is one feature of a spec file, ready to be computed on any sample that has a text ([`TextSample`]). The
//! rules for words and lengths are part of it; a value that a model or program gives comes from a [`TextScorer`].

mod text_feature;
mod text_sample;
mod text_scorer;

pub use text_feature::TextFeature;
pub use text_sample::TextSample;
pub use text_scorer::{SampleView, TextScorer, TextScorers};
