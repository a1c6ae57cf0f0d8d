//! The benchmark's work, as PyTorch and transformers do it.

/// A Python program that takes a job and prints an outcome, both as JSON.
pub(super) const SCRIPT: &str = include_str!("peer.py");
