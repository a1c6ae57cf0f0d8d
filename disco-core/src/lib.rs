#![doc = include_str!("../README.md")]

mod alias;
mod contexts;
mod distribution;
mod error;
mod estimate;
mod feature;
mod json_lines;
pub mod numerics;
mod parallel;
mod per_context;
mod permutation;
mod scorer;
mod space;
mod streams;
mod table;
mod weights;

pub use contexts::{ContextOrder, Contexts, Replacement};
pub use distribution::{Distribution, Sampled};
pub use error::{Error, Result};
pub use estimate::Estimate;
pub use feature::{Failure, Fallible, Feature, FnFeature, Predicate, Total, feature, predicate, try_feature};
pub use parallel::Parallel;
pub use per_context::PerContext;
pub use scorer::{
    Condition, Exponential, FnScorer, Given, Power, Product, Score, Scorer, ScorerExt, Skipped, scorer,
};
pub use space::Space;
pub use streams::{StreamRng, Streams};
pub use table::Table;
pub use weights::ImportanceWeights;
