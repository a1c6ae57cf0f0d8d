//! The values of samples that metrics need: log-probabilities under the base, features, lengths and statistics.
//!
//! They are only shown. So a number that is none becomes a NaN of the metrics that it belongs to, and a note; an
//! error of another kind stops the run.

use disco_core::{Error, Feature, Result, Score};

use super::Note;
use crate::{gradient::ContextSamples, problem::Problem};

/// The value of a feature for a sample that the feature or the target skipped.
const SKIPPED: f64 = f64::NAN;
/// The value of a feature for a sample for which the feature gave NaN or an infinity.
const NOT_FINITE: f64 = f64::INFINITY;

/// One list of values per base, feature and length that a [`Problem`] has, in this order, with one value per sample.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SampleValues {
    lists: Vec<Vec<f64>>,
}

/// The value of a feature for one sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum FeatureValue {
    Finite(f64),
    NotFinite,
    Skipped,
}

impl SampleValues {
    /// The values of a worker's own samples of a group, and notes on them.
    ///
    /// # Errors
    /// Errors of base and features.
    pub(crate) fn of_own<C, X>(
        problem: &Problem<'_, C, X>,
        context: &C,
        group: &ContextSamples<X>,
        notes: &mut Vec<Note>,
    ) -> Result<Self> {
        let mut lists = Vec::with_capacity(Self::count(problem));
        if group.samples.is_empty() {
            lists.resize(Self::count(problem), Vec::new());
            return Ok(Self { lists });
        }
        if let Some(base) = problem.base {
            let samples: Vec<&X> = group.samples.iter().collect();
            let scores = each(&samples, &|part| base.log_scores(context, part))?;
            lists.push(base_values(group, scores, notes));
        }
        let scored: Vec<usize> = group.own().filter(|at| !group.is_skipped(*at)).collect();
        let samples: Vec<&X> = scored.iter().map(|at| group.sample(*at)).collect();
        for feature in &problem.features {
            let found = each(&samples, &|part| feature.values(context, part))?;
            lists.push(feature_values(*feature, group, &scored, found, notes));
        }
        let lengths = |length: &dyn Fn(&X) -> usize| group.samples.iter().map(|x| length(x) as f64).collect();
        lists.extend(problem.length.as_ref().map(|length| lengths(length)));
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

    /// `ln a(x|c)` under the base, if the problem has one. NaN where the base gave NaN or `+inf`.
    pub(crate) fn log_base<C, X>(&self, problem: &Problem<'_, C, X>) -> Option<&[f64]> {
        problem.base.map(|_| self.lists[0].as_slice())
    }

    /// The values of feature number `at`.
    pub(crate) fn feature<C, X>(
        &self,
        problem: &Problem<'_, C, X>,
        at: usize,
    ) -> impl Iterator<Item = FeatureValue> {
        self.lists[usize::from(problem.base.is_some()) + at].iter().map(|value| match *value {
            value if value.is_nan() => FeatureValue::Skipped,
            NOT_FINITE => FeatureValue::NotFinite,
            value => FeatureValue::Finite(value),
        })
    }

    /// The lengths of the samples, if the problem has them.
    pub(crate) fn lengths<C, X>(&self, problem: &Problem<'_, C, X>) -> Option<&[f64]> {
        problem.length.as_ref().and(self.lists.last()).map(Vec::as_slice)
    }
}

/// The scores of each sample. A source that refuses a whole batch because of one sample's number is asked again for each
/// sample alone.
fn each<X>(samples: &[&X], ask: &dyn Fn(&[&X]) -> Result<Vec<Score>>) -> Result<Vec<Score>> {
    if samples.is_empty() {
        return Ok(Vec::new());
    }
    let found = match ask(samples) {
        Err(Error::NotANumber { .. }) if samples.len() == 1 => Ok(vec![Ok(f64::NAN)]),
        Err(Error::NotANumber { .. }) => {
            let alone = samples.chunks(1).map(|sample| each(sample, ask));
            alone.collect::<Result<Vec<_>>>().map(|lists| lists.concat())
        }
        found => found,
    }?;
    Error::check_length("values for the metrics", samples.len(), found.len())?;
    Ok(found)
}

/// The log-probabilities of a worker's samples under the base. Where it skips a sample, it gives it no probability.
fn base_values<X>(group: &ContextSamples<X>, scores: Vec<Score>, notes: &mut Vec<Note>) -> Vec<f64> {
    let context = group.context;
    let value = |(number, score): (usize, Score)| match score {
        Ok(value) if value.is_nan() || value == f64::INFINITY => {
            let effect = "the divergences of policy and base are NaN";
            notes.push(Note::not_finite(context, number, "the base", value, effect));
            f64::NAN
        }
        Ok(value) => value,
        Err(skipped) => {
            let effect = "it counts as a sample to which the base gives no probability";
            notes.push(Note::skipped(context, number, "the base", &skipped, effect));
            f64::NEG_INFINITY
        }
    };
    (group.first..).zip(scores).map(value).collect()
}

/// The values of a feature for a worker's samples, given those of the samples that the target did not skip.
fn feature_values<C, X>(
    feature: &dyn Feature<C, X>,
    group: &ContextSamples<X>,
    scored: &[usize],
    found: Vec<Score>,
    notes: &mut Vec<Note>,
) -> Vec<f64> {
    let whose = format!("feature `{}`", feature.name());
    let context = group.context;
    let mut values = vec![SKIPPED; group.samples.len()];
    for (&number, value) in scored.iter().zip(found) {
        values[number - group.first] = match value {
            Ok(value) if value.is_finite() => value,
            Ok(value) => {
                let effect = "its means are NaN where the sample counts";
                notes.push(Note::not_finite(context, number, &whose, value, effect));
                NOT_FINITE
            }
            Err(skipped) => {
                let effect = format!("the means of {whose} are over the other samples");
                notes.push(Note::skipped(context, number, &whose, &skipped, &effect));
                SKIPPED
            }
        };
    }
    values
}

/// The statistics of all samples of a context.
pub(crate) fn statistics<C, X>(problem: &Problem<'_, C, X>, samples: &[&X]) -> Vec<f64> {
    problem.statistics.iter().map(|(_, statistic)| statistic(samples)).collect()
}
