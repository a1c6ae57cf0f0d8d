#![doc = include_str!("../README.md")]

mod adaptive;
mod beta;
mod chain;
mod choose;
mod curve;
mod divergences;
mod error;
mod features;
mod independent;
mod masses;
mod nodes;
mod point;
mod pool;
mod proposals;
mod qrs;
mod random_walk;
mod ratios;
mod resampling;
mod run;
mod sampler;
mod sums;

pub use adaptive::{Adapted, AdaptiveQrs, Event};
pub use chain::ChainConfig;
pub use choose::{Choice, Goal, choose_beta};
pub use curve::Curve;
pub use error::{Error, Result};
pub use independent::IndependentMh;
pub use point::{Point, Warning};
pub use pool::ProposalPool;
pub use qrs::{Qrs, Rejection};
pub use random_walk::{LocalMove, LocalProposal, RandomWalk};
pub use ratios::Ratios;
pub use resampling::ImportanceResampling;
pub use run::{Budget, RunConfig, Statistics};
pub use sampler::{Draw, Sampler};
