//! Values that a model or a program gives to texts.

use std::{collections::BTreeMap, fmt, sync::Arc};

use disco_core::{Result, Score};

/// Gives each text a value, or skips it: a classifier, for example.
///
/// It needs no language model: whatever computes numbers from texts can be one. Those of disco-lm's classifiers are made in
/// the folder `models`, where a language model is compiled in.
pub trait TextScorer: fmt::Debug + Send + Sync {
    /// One score per text, in the order of `texts`: `Ok` with a finite value, or [`Skipped`](disco_core::Skipped) for a text
    /// that it cannot score. A skipped sample has weight zero under the target and is counted; the run continues.
    ///
    /// # Errors
    /// An error ends the run.
    fn scores(&self, texts: &[&str]) -> Result<Vec<Score>>;
}

/// Text scorers by the names of the features whose values they give.
pub type TextScorers = BTreeMap<String, Arc<dyn TextScorer>>;
