#![doc = include_str!("../README.md")]

mod alpha;
mod check;
mod divergence;
mod error;
mod family;
mod names;
mod skew;
mod terms;

pub use alpha::Order;
pub use check::{Property, check};
pub use divergence::Divergence;
pub use error::{Error, Result};
pub use family::FDivergence;
pub use skew::Weight;
