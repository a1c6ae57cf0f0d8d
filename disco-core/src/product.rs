//! The product of two scorers.

use std::borrow::Cow;

use crate::{Error, Result, Score, Scorer};

/// The product of two scorers: the sum of their log-scores.
///
/// A sample that one factor forbids (`-inf`) is forbidden, whatever the other factor gives: a number, a skip, NaN or `+inf`.
/// (A likelihood is often undefined where the prior is zero.) Any other sample that a factor skips is skipped. So the scores
/// do not depend on the order of the factors; only the scorer that a [`Skipped`](crate::Skipped) names does, where both skip.
///
/// A sum of finite log-scores beyond the range of `f64` is `f64::MAX` or `f64::MIN`: it is not forbidden.
///
/// # Performance
/// The second factor scores only the samples that the first does not forbid: put a cheap factor, and one that forbids,
/// first.
///
/// # Errors
/// [`Error::NotANumber`], with the [name](Scorer::scorer_name) of the factor, for a log-score that is NaN or `+inf` and not
/// forbidden by the other factor.
#[derive(Clone, Copy, Debug)]
pub struct Product<A, B>(pub A, pub B);

impl<C: ?Sized, X: ?Sized, A: Scorer<C, X>, B: Scorer<C, X>> Scorer<C, X> for Product<A, B> {
    fn log_scores(&self, context: &C, samples: &[&X]) -> Result<Vec<Score>> {
        let mut scores = match self.0.log_scores(context, samples) {
            Err(refused @ Error::NotANumber { .. }) => {
                return self.without_forbidden(context, samples, refused);
            }
            other => other?,
        };
        check_factor(|| self.0.scorer_name(), samples.len(), scores.len())?;
        let open: Vec<usize> = (0..samples.len())
            .filter(|&i| !matches!(scores[i], Ok(score) if score == f64::NEG_INFINITY))
            .collect();
        if open.is_empty() {
            return Ok(scores);
        }
        let rest: Vec<&X> = open.iter().map(|&i| samples[i]).collect();
        let others = self.1.log_scores(context, &rest).map_err(|error| error.at_sample(|i| open[i]))?;
        check_factor(|| self.1.scorer_name(), rest.len(), others.len())?;
        let refuse = |by: Cow<'_, str>, index, value| Err(Error::NotANumber { by: by.into(), index, value });
        for (&index, other) in open.iter().zip(others) {
            scores[index] = match (std::mem::replace(&mut scores[index], Ok(0.0)), other) {
                (_, Ok(f64::NEG_INFINITY)) => Ok(f64::NEG_INFINITY),
                (Ok(value), _) if !value.is_finite() => return refuse(self.0.scorer_name(), index, value),
                (_, Ok(value)) if !value.is_finite() => return refuse(self.1.scorer_name(), index, value),
                (Ok(first), Ok(second)) => Ok((first + second).clamp(f64::MIN, f64::MAX)),
                (Err(skipped), _) | (_, Err(skipped)) => Err(skipped),
            };
        }
        Ok(scores)
    }

    fn has_hard_constraints(&self) -> bool {
        self.0.has_hard_constraints() || self.1.has_hard_constraints()
    }

    fn scorer_name(&self) -> Cow<'_, str> {
        format!("{} * {}", self.0.scorer_name(), self.1.scorer_name()).into()
    }
}

impl<A, B> Product<A, B> {
    /// The scores where the first factor, a product, mixture or exponential, has refused a sample: the second factor may forbid that sample.
    fn without_forbidden<C: ?Sized, X: ?Sized>(
        &self,
        context: &C,
        samples: &[&X],
        refused: Error,
    ) -> Result<Vec<Score>>
    where
        A: Scorer<C, X>,
        B: Scorer<C, X>,
    {
        let Ok(others) = self.1.log_scores(context, samples) else { return Err(refused) };
        check_factor(|| self.1.scorer_name(), samples.len(), others.len())?;
        let open: Vec<usize> =
            (0..samples.len()).filter(|&i| !matches!(others[i], Ok(f64::NEG_INFINITY))).collect();
        // Fewer samples each time, so that this ends.
        if open.len() == samples.len() {
            return Err(refused);
        }
        let rest: Vec<&X> = open.iter().map(|&i| samples[i]).collect();
        let allowed = self.log_scores(context, &rest).map_err(|error| error.at_sample(|i| open[i]))?;
        let mut scores = vec![Ok(f64::NEG_INFINITY); samples.len()];
        for (index, score) in open.into_iter().zip(allowed) {
            scores[index] = score;
        }
        Ok(scores)
    }
}

/// Checks that a factor gave as many log-scores as it was asked for.
fn check_factor<'a>(name: impl Fn() -> Cow<'a, str>, expected: usize, actual: usize) -> Result<()> {
    let what = || format!("log-scores of factor {}", name()).into();
    if expected == actual { Ok(()) } else { Err(Error::Length { what: what(), expected, actual }) }
}
