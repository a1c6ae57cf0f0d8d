//! Means under a condition, step by step of tuning.

use disco_core::{Feature, Score};
use disco_tuner::{Metric, Metrics};

use super::RunPlan;
use crate::{
    contexts::TextContext,
    features::{TextFeature, TextSample},
};

/// The product of a measure and its condition: its mean, divided by that of the condition, is the mean under the condition.
pub(super) struct Conditional {
    name: String,
    /// The position of the measure.
    measure: usize,
    feature: TextFeature,
    given: TextFeature,
}

impl Conditional {
    /// One for each measure of a plan that has a condition.
    pub(super) fn all(plan: &RunPlan<'_>) -> Vec<Self> {
        let of = |(measure, condition): (usize, &Option<usize>)| {
            let (feature, given) = (plan.features[measure].clone(), plan.features[(*condition)?].clone());
            Some(Self { name: format!("{} given {}", feature.name(), given.name()), measure, feature, given })
        };
        plan.conditions.iter().enumerate().filter_map(of).collect()
    }

    pub(super) fn measure(&self) -> usize {
        self.measure
    }

    /// The mean under the condition, without an error; `None` where no sample of the step has the condition.
    pub(super) fn mean(&self, metrics: &Metrics) -> Option<Metric> {
        let share = policy_moment(metrics, self.given.name())?.value;
        let both = policy_moment(metrics, &self.name)?.value;
        (share > 0.0).then(|| Metric { value: both / share, std_error: None })
    }
}

/// The mean of a feature under the policy, in the metrics of a step.
pub(super) fn policy_moment(metrics: &Metrics, name: &str) -> Option<Metric> {
    metrics.get(&format!("moment/{name}/policy")).copied()
}

impl<X: TextSample> Feature<TextContext, X> for Conditional {
    fn name(&self) -> &str {
        &self.name
    }

    fn values(&self, context: &TextContext, samples: &[&X]) -> disco_core::Result<Vec<Score>> {
        let values = self.feature.scores_of(context, samples)?;
        let given = self.given.scores_of(context, samples)?;
        Ok(values.into_iter().zip(given).map(|(value, given)| Ok(value? * given?)).collect())
    }
}
