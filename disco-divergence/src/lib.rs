#![doc = include_str!("../README.md")]

mod alpha;
mod check;
mod contribution;
mod divergence;
mod error;
mod estimator;
mod exact;
mod family;
mod moments;
mod names;
mod property;
mod renyi;
mod report;
mod skew;
mod terms;
mod two_samples;

pub use alpha::Order;
pub use check::check;
pub use divergence::Divergence;
pub use error::{Error, Result};
pub use estimator::Estimator;
pub use exact::exact;
pub use family::FDivergence;
pub use property::Property;
pub use renyi::Renyi;
pub use report::{Comparison, DivergenceEstimate, LogZ};
pub use skew::Weight;
pub use two_samples::{Scored, TwoSampleComparison, TwoSamples};
