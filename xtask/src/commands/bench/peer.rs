//! The jobs of the benchmark, done by PyTorch and transformers.

/// A Python program that takes a job and prints an outcome, both as JSON.
pub(super) const SCRIPT: &str = include_str!("peer.py");
