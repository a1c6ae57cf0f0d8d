#![doc = include_str!("../README.md")]

mod accumulator;
mod algebra;
mod alias;
mod bootstrap;
mod contexts;
mod distribution;
mod empirical;
mod error;
mod estimate;
mod feature;
pub mod infinite;
pub mod input;
mod json_lines;
mod json_string;
mod markov;
mod mixture;
mod multiple;
pub mod numerics;
mod parallel;
mod pareto;
mod per_context;
mod permutation;
mod python_json;
mod quantity;
mod score;
mod scorer;
mod space;
mod streams;
mod sums;
mod table;
mod univariate;
mod weights;

pub use accumulator::ImportanceAccumulator;
pub use algebra::{Condition, Exponential, Given, Power, Product, ScorerExt};
pub use bootstrap::Bootstrap;
pub use contexts::{ContextOrder, Contexts, Replacement};
pub use distribution::{Distribution, Sampled};
pub use empirical::{Empirical, Record};
pub use error::{Error, Result};
pub use estimate::Estimate;
pub use feature::{Fallible, Feature, FnFeature, Predicate, Total, feature, predicate, try_feature};
pub use markov::{MarkovChain, MarkovChainConfig};
pub use mixture::Mixture;
pub use parallel::Parallel;
pub use pareto::ParetoTail;
pub use per_context::PerContext;
pub use score::{Failure, Score, Skipped};
pub use scorer::{FnScorer, Scorer, TryScorer, scorer, try_scorer};
pub use space::Space;
pub use streams::{StreamRng, Streams};
pub use table::Table;
pub use univariate::{Continuous, Discrete, FnDistribution, distribution};
pub use weights::ImportanceWeights;

/// The crate whose distributions [`Discrete`] and [`Continuous`] take.
pub use statrs;
