//! The values of samples that metrics need: log-probabilities under the base, features, lengths and statistics.

use disco_core::{Error, Result};

use crate::{gradient::ContextSamples, problem::Problem};

/// One list of values per base, feature and length that a [`Problem`] has, in this order, with one value per sample.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SampleValues {
    lists: Vec<Vec<f64>>,
}

impl SampleValues {
    /// The values of a worker's own samples of a group.
    ///
    /// # Errors
    /// Errors of base and features; they name a sample by its position among the worker's own.
    pub(crate) fn of_own<C, X>(
        problem: &Problem<'_, C, X>,
        context: &C,
        group: &ContextSamples<X>,
    ) -> Result<Self> {
        let samples: Vec<&X> = group.samples.iter().collect();
        let mut lists = Vec::with_capacity(Self::count(problem));
        if samples.is_empty() {
            lists.resize(Self::count(problem), Vec::new());
            return Ok(Self { lists });
        }
        if let Some(base) = problem.base {
            lists.push(base.log_probs(context, &samples)?);
        }
        for feature in &problem.features {
            let found = feature.values(context, &samples)?;
            Error::check_length("values of a feature", samples.len(), found.len())?;
            let mut values = Vec::with_capacity(found.len());
            for (index, value) in found.into_iter().enumerate() {
                match value {
                    Ok(value) if !value.is_finite() => {
                        return Err(Error::NotANumber { by: feature.name().into(), index, value });
                    }
                    Ok(value) => values.push(value),
                    // NaN stands for a skipped sample; a feature's own NaN was refused above.
                    Err(_) => values.push(f64::NAN),
                }
            }
            lists.push(values);
        }
        lists
            .extend(problem.length.as_ref().map(|length| samples.iter().map(|x| length(x) as f64).collect()));
        Ok(Self { lists })
    }

    /// The number of lists for each group.
    pub(crate) fn count<C, X>(problem: &Problem<'_, C, X>) -> usize {
        usize::from(problem.base.is_some()) + problem.features.len() + usize::from(problem.length.is_some())
    }

    /// The lists, to be gathered from all workers.
    pub(crate) fn into_lists(self) -> Vec<Vec<f64>> {
        self.lists
    }

    /// The values of all samples of a group, from the gathered lists.
    pub(crate) fn from_lists(lists: Vec<Vec<f64>>) -> Self {
        Self { lists }
    }

    /// `ln a(x|c)` under the base, if the problem has one.
    pub(crate) fn log_base<C, X>(&self, problem: &Problem<'_, C, X>) -> Option<&[f64]> {
        problem.base.map(|_| self.lists[0].as_slice())
    }

    /// The values of feature number `at`; NaN for a sample that it skipped.
    pub(crate) fn feature<C, X>(&self, problem: &Problem<'_, C, X>, at: usize) -> &[f64] {
        &self.lists[usize::from(problem.base.is_some()) + at]
    }

    /// The lengths of the samples, if the problem has them.
    pub(crate) fn lengths<C, X>(&self, problem: &Problem<'_, C, X>) -> Option<&[f64]> {
        problem.length.as_ref().and(self.lists.last()).map(Vec::as_slice)
    }
}

/// The statistics of all samples of a context.
///
/// # Errors
/// [`Error::Invalid`] for a value that is not finite.
pub(crate) fn statistics<C, X>(problem: &Problem<'_, C, X>, samples: &[&X]) -> Result<Vec<f64>> {
    let checked = |value: f64, name: &str| {
        if value.is_finite() {
            Ok(value)
        } else {
            Err(Error::invalid(format!("statistic `{name}`"), value, "a finite number"))
        }
    };
    problem.statistics.iter().map(|(name, statistic)| checked(statistic(samples), name)).collect()
}
