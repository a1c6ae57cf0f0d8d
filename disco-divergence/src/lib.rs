#![doc = include_str!("../README.md")]

mod divergence;

pub use divergence::Divergence;
