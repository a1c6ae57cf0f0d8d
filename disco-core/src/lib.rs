#![doc = include_str!("../README.md")]

mod distribution;
mod error;
mod estimate;
mod feature;
pub mod numerics;
mod scorer;
mod streams;
mod weights;

pub use distribution::{Distribution, Sampled};
pub use error::{Error, Result};
pub use estimate::Estimate;
pub use feature::{Failure, Fallible, Feature, FnFeature, Predicate, Total, feature, predicate, try_feature};
pub use scorer::{
    Condition, Exponential, FnScorer, Given, Power, Product, Score, Scorer, ScorerExt, Skipped, scorer,
};
pub use streams::{StreamRng, Streams};
pub use weights::ImportanceWeights;
