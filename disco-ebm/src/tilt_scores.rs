//! A [`Tilt`] as a scorer, and the bound of its scores.

use disco_core::{Error as CoreError, Score, Scorer};

use crate::{
    Error, Result, Tilt,
    factor::{Factor, Factors},
    range::Range,
    tilt::Term,
};

impl<C: ?Sized, X: ?Sized> Tilt<C, X> {
    /// A number that no log-factor `ln P/a` in a context exceeds: `sum_i max(lambda_i low_i, lambda_i high_i)`, with the
    /// known [ranges](crate::Constraint::ranged) of the features (nats). Pointwise constraints contribute 0; of the labels of a
    /// category, each sample has one. `None` where a feature with a coefficient has no known bound on the side that matters.
    ///
    /// With proposals of the base, `exp` of it is a beta at which quasi-rejection sampling is exact.
    ///
    /// # Errors
    /// [`Error::UnknownContext`].
    pub fn log_bound(&self, context: &C) -> Result<Option<f64>> {
        let position = self.position(context)?;
        let mut bound = 0.0;
        // The labels of a category: which of its features, and the sum for each label; -inf for one that is forbidden.
        let mut categories: Vec<(usize, Vec<f64>)> = Vec::new();
        for term in &self.terms {
            let factor = term.factors.at(position);
            match (term.constraint.label_of(), term.given) {
                (Some(label), None) => {
                    let at = categories.iter().position(|(column, _)| *column == term.column);
                    let at = at.unwrap_or_else(|| {
                        categories.push((term.column, vec![0.0; label.labels.len()]));
                        categories.len() - 1
                    });
                    for (other, sum) in categories[at].1.iter_mut().enumerate() {
                        let value = f64::from(u8::from(other == label.position));
                        *sum += match factor {
                            Factor::Hard { wanted } if (value == 1.0) != wanted => f64::NEG_INFINITY,
                            Factor::Hard { .. } => 0.0,
                            Factor::Soft { coefficient, shift } => coefficient * (value - shift),
                        };
                    }
                }
                _ => match factor {
                    Factor::Hard { .. } => {}
                    Factor::Soft { coefficient, shift } => {
                        let range = term.constraint.range().less(shift);
                        let range: Range = if term.given.is_some() { range.or_zero() } else { range };
                        match range.most(coefficient) {
                            Some(most) => bound += most,
                            None => return Ok(None),
                        }
                    }
                },
            }
        }
        let most = |labels: &[f64]| labels.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        bound += categories.iter().map(|(_, labels)| most(labels)).sum::<f64>();
        Ok(bound.is_finite().then_some(bound))
    }
}

/// The values of the features for some samples, each computed where it is needed, once.
struct Values<'a, C: ?Sized, X: ?Sized> {
    tilt: &'a Tilt<C, X>,
    context: &'a C,
    samples: &'a [&'a X],
    /// `[features][samples]`; empty for a feature that was not needed so far.
    known: Vec<Vec<Option<Score>>>,
}

impl<C: ?Sized, X: ?Sized> Values<'_, C, X> {
    /// Computes a feature for these samples, where it is not known.
    fn need(&mut self, column: usize, wanted: &[usize]) -> disco_core::Result<()> {
        let known = &mut self.known[column];
        if known.is_empty() {
            known.resize(self.samples.len(), None);
        }
        let missing: Vec<usize> = wanted.iter().copied().filter(|&index| known[index].is_none()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let feature = &self.tilt.features[column];
        let left: Vec<&_> = missing.iter().map(|&index| self.samples[index]).collect();
        let values = feature.values(self.context, &left).map_err(|error| error.at_sample(|i| missing[i]))?;
        if values.len() != left.len() {
            let what = format!("values of feature `{}`", feature.name()).into();
            return Err(CoreError::Length { what, expected: left.len(), actual: values.len() });
        }
        missing.into_iter().zip(values).for_each(|(index, value)| known[index] = Some(value));
        Ok(())
    }

    fn at(&self, column: usize, index: usize) -> Score {
        self.known[column][index].clone().expect("it was needed before")
    }

    /// The log-factor of one sample.
    fn log_factor(
        &self,
        term: &Term<C, X>,
        factor: Factor,
        index: usize,
    ) -> std::result::Result<Result<f64>, disco_core::Skipped> {
        let value = self.at(term.column, index)?;
        let given = term.given.map(|given| self.at(given, index)).transpose()?;
        Ok(factor.log(&term.constraint, index, value, given))
    }
}

impl<C: ?Sized, X: ?Sized> Scorer<C, X> for Tilt<C, X> {
    fn log_scores(&self, context: &C, samples: &[&X]) -> disco_core::Result<Vec<Score>> {
        let mut scores: Vec<Score> = vec![Ok(0.0); samples.len()];
        let mut alive: Vec<usize> = (0..samples.len()).collect();
        let position = self.position(context).map_err(|error| in_core("target", error))?;
        let factors = self.terms.iter().map(|term| (term, term.factors.at(position)));
        let (hard, soft): (Vec<_>, Vec<_>) =
            factors.filter(|(_, factor)| factor.matters()).partition(|(_, factor)| factor.is_hard());
        let mut values =
            Values { tilt: self, context, samples, known: vec![Vec::new(); self.features.len()] };
        let count = hard.len();
        for (number, (term, factor)) in hard.into_iter().chain(soft).enumerate() {
            // As in a product of scorers, a sample that one constraint forbids is forbidden, also if another one
            // skips it.
            let pointwise = number < count;
            alive.retain(|&index| match scores[index] {
                Ok(score) => score > f64::NEG_INFINITY,
                Err(_) => pointwise,
            });
            if alive.is_empty() {
                break;
            }
            [Some(term.column), term.given]
                .into_iter()
                .flatten()
                .try_for_each(|one| values.need(one, &alive))?;
            for &index in &alive {
                let added = values.log_factor(term, factor, index);
                scores[index] = match (std::mem::replace(&mut scores[index], Ok(0.0)), added) {
                    (_, Ok(Err(error))) => return Err(in_core(term.constraint.name(), error)),
                    (Ok(score), Ok(Ok(added))) => Ok(score + added),
                    (Err(_), Ok(Ok(f64::NEG_INFINITY))) => Ok(f64::NEG_INFINITY),
                    (Err(skipped), _) | (_, Err(skipped)) => Err(skipped),
                };
            }
        }
        Ok(scores)
    }

    fn has_hard_constraints(&self) -> bool {
        self.terms.iter().any(|term| match &term.factors {
            Factors::Shared(factor) => factor.is_hard(),
            Factors::Each(factors) => factors.iter().any(|factor| factor.is_hard()),
        })
    }
}

disco_core::impl_product!([C: ?Sized, X: ?Sized] Tilt<C, X>);

/// The error as one of disco-core.
fn in_core(by: &str, error: Error) -> CoreError {
    match error {
        Error::Core(error) => error,
        error => CoreError::failed(by, error),
    }
}
