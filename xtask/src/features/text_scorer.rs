//! Values that a model, a program or a server gives to samples.

use std::{collections::BTreeMap, fmt, sync::Arc};

use disco_core::{Result, Score};

use crate::contexts::TextContext;

/// A sample, as a text scorer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleView<'a> {
    /// The text, without the context.
    pub text: &'a str,
    /// The number of tokens, the end token included.
    pub tokens: usize,
    /// Whether the model ended the sample; otherwise it was cut off.
    pub finished: bool,
}

/// Gives each sample of a context a value, or skips it: a classifier, for example.
///
/// It needs no language model: all code that computes numbers from texts can be one. Those of disco-lm's classifiers are made in
/// the folder `models`, where a language model is compiled in.
pub trait TextScorer: fmt::Debug + Send + Sync {
    /// One score per sample, in the order of `samples`: `Ok` with a finite value, or [`Skipped`](disco_core::Skipped) for a sample
    /// that it cannot score. A skipped sample has weight zero under the target and is counted; the run continues.
    ///
    /// # Errors
    /// An error ends the run.
    fn scores(&self, context: &TextContext, samples: &[SampleView<'_>]) -> Result<Vec<Score>>;
}

/// Text scorers by the names of the features whose values they give.
pub type TextScorers = BTreeMap<String, Arc<dyn TextScorer>>;
