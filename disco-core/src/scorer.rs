//! The trait of unnormalised log-scores, and scorers from closures.

use std::{borrow::Cow, sync::Arc};

use crate::{Failure, Result, Score};

/// Gives samples an unnormalised log-score, in a context.
///
/// Contexts and samples may be unsized: a scorer over `str` or `[u32]` takes what its caller has, without a copy.
///
/// ```
/// use disco_core::{Scorer, scorer};
/// let shares_a_word = scorer(|question: &str, answer: &str| {
///     if answer.split(' ').any(|word| question.contains(word)) { 0.0 } else { -1.0 }
/// });
/// assert_eq!(shares_a_word.log_scores("Who is it?", &["it is me", "nobody"])?, [Ok(0.0), Ok(-1.0)]);
/// # Ok::<(), disco_core::Error>(())
/// ```
pub trait Scorer<C: ?Sized, X: ?Sized>: Send + Sync {
    /// One log-score per sample (nats). `-inf` means impossible. A caller refuses NaN and `+inf`.
    ///
    /// # Errors
    /// An error stops the run. A sample that alone cannot be scored is [`Skipped`](crate::Skipped).
    fn log_scores(&self, context: &C, samples: &[&X]) -> Result<Vec<Score>>;

    /// Whether this scorer returns `-inf` by design, as a [`Condition`](crate::Condition) and every product with one
    /// does.
    ///
    /// Divergences that do not allow hard constraints check it before anything is sampled; override it if your scorer
    /// returns `-inf` by design. The default, `false`, promises nothing.
    fn has_hard_constraints(&self) -> bool {
        false
    }

    /// The name in errors of products and other combinations: that of the type, with the place of a closure, by default.
    fn scorer_name(&self) -> Cow<'_, str> {
        std::any::type_name::<Self>().into()
    }
}

macro_rules! forward_scorer {
    ($($pointer:ty),*) => {$(
        impl<C: ?Sized, X: ?Sized, S: Scorer<C, X> + ?Sized> Scorer<C, X> for $pointer {
            fn log_scores(&self, context: &C, samples: &[&X]) -> Result<Vec<Score>> {
                (**self).log_scores(context, samples)
            }

            fn has_hard_constraints(&self) -> bool {
                (**self).has_hard_constraints()
            }

            fn scorer_name(&self) -> Cow<'_, str> {
                (**self).scorer_name()
            }
        }
    )*};
}
forward_scorer!(&S, Box<S>, Arc<S>);

/// A scorer from a closure that gives one sample's log-score.
#[derive(Clone, Copy, Debug)]
pub struct FnScorer<F>(F);

/// A scorer from a closure that gives the log-score (nats) of one sample in its context.
///
/// ```
/// use disco_core::{Scorer, scorer};
/// let shorter_is_better = scorer(|_: &(), text: &String| -(text.len() as f64));
/// let scores = shorter_is_better.log_scores(&(), &[&"four".to_string()])?;
/// assert_eq!(scores, [Ok(-4.0)]);
/// # Ok::<(), disco_core::Error>(())
/// ```
pub fn scorer<C: ?Sized, X: ?Sized, F: Fn(&C, &X) -> f64 + Send + Sync>(log_score: F) -> FnScorer<F> {
    FnScorer(log_score)
}

impl<C: ?Sized, X: ?Sized, F: Fn(&C, &X) -> f64 + Send + Sync> Scorer<C, X> for FnScorer<F> {
    fn log_scores(&self, context: &C, samples: &[&X]) -> Result<Vec<Score>> {
        Ok(samples.iter().map(|sample| Ok((self.0)(context, sample))).collect())
    }

    fn scorer_name(&self) -> Cow<'_, str> {
        format!("scorer {}", std::any::type_name::<F>()).into()
    }
}

/// A scorer from a computation that can fail; made by [`try_scorer`].
#[derive(Clone, Debug)]
pub struct TryScorer<F> {
    name: String,
    log_score: F,
}

/// A scorer from a closure that can fail: [`Failure::Skip`] leaves the sample out, [`Failure::Stop`] ends the run. Errors
/// give the scorer's `name`.
///
/// ```
/// use disco_core::{Failure, Scorer, try_scorer};
/// let number = try_scorer("number", |_: &(), text: &&str| {
///     text.parse::<f64>().map_err(|reason| Failure::Skip(reason.to_string()))
/// });
/// let scores = number.log_scores(&(), &[&"-0.5", &"half"])?;
/// assert_eq!(scores[0], Ok(-0.5));
/// assert_eq!(scores[1].as_ref().unwrap_err().by(), "number");
/// # Ok::<(), disco_core::Error>(())
/// ```
pub fn try_scorer<C: ?Sized, X: ?Sized, F>(name: impl Into<String>, log_score: F) -> TryScorer<F>
where
    F: Fn(&C, &X) -> std::result::Result<f64, Failure> + Send + Sync,
{
    TryScorer { name: name.into(), log_score }
}

impl<C: ?Sized, X: ?Sized, F> Scorer<C, X> for TryScorer<F>
where
    F: Fn(&C, &X) -> std::result::Result<f64, Failure> + Send + Sync,
{
    fn log_scores(&self, context: &C, samples: &[&X]) -> Result<Vec<Score>> {
        samples
            .iter()
            .map(|sample| match (self.log_score)(context, sample) {
                Ok(score) => Ok(Ok(score)),
                Err(failure) => failure.named(&self.name),
            })
            .collect()
    }

    fn scorer_name(&self) -> Cow<'_, str> {
        self.name.as_str().into()
    }
}
