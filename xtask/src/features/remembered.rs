//! The scores of the last batch, for features that are asked one after the other about the same samples.

use std::sync::{Arc, Mutex, PoisonError};

use disco_core::{Error as CoreError, Result, Score};

use super::{SampleView, TextScorer};
use crate::contexts::TextContext;

/// A text scorer that remembers its last batch. A category with five labels that a classifier decides is five constraints: each asks
/// for itself, and the classifier runs once.
#[derive(Debug)]
pub(super) struct Remembered {
    /// The name of the feature, for errors.
    name: String,
    scorer: Arc<dyn TextScorer>,
    last: Mutex<Option<Batch>>,
}

#[derive(Debug)]
struct Batch {
    context: TextContext,
    samples: Vec<(String, usize, bool)>,
    scores: Vec<Score>,
}

impl Batch {
    fn is_of(&self, context: &TextContext, samples: &[SampleView<'_>]) -> bool {
        let is_same = |((text, tokens, finished), sample): (&(String, usize, bool), &SampleView<'_>)| {
            text == sample.text && *tokens == sample.tokens && *finished == sample.finished
        };
        self.context == *context
            && self.samples.len() == samples.len()
            && self.samples.iter().zip(samples).all(is_same)
    }
}

impl Remembered {
    pub(super) fn new(name: &str, scorer: Arc<dyn TextScorer>) -> Self {
        Self { name: name.into(), scorer, last: Mutex::default() }
    }

    /// One score per sample, which is finite or skipped.
    ///
    /// # Errors
    /// The errors of the scorer; [`CoreError::Length`] and [`CoreError::NotANumber`] if it does not answer as it is documented to.
    pub(super) fn scores(&self, context: &TextContext, samples: &[SampleView<'_>]) -> Result<Vec<Score>> {
        let last = || self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(batch) = last().as_ref().filter(|batch| batch.is_of(context, samples)) {
            return Ok(batch.scores.clone());
        }
        let scores = self.scorer.scores(context, samples)?;
        CoreError::check_length("scores, one per sample", samples.len(), scores.len())?;
        for (index, score) in scores.iter().enumerate() {
            if let Some(value) = score.as_ref().ok().copied().filter(|value| !value.is_finite()) {
                return Err(CoreError::NotANumber { by: self.name.clone(), index, value });
            }
        }
        let owned = |sample: &SampleView<'_>| (sample.text.to_owned(), sample.tokens, sample.finished);
        *last() = Some(Batch {
            context: context.clone(),
            samples: samples.iter().map(owned).collect(),
            scores: scores.clone(),
        });
        Ok(scores)
    }
}
