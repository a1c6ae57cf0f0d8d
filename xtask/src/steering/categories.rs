//! How far the labels of a category are from the shares that were asked for.

use disco_core::Estimate;

use super::{
    RunPlan,
    moments::{ContextValues, Counted, over_contexts},
    scored::Values,
};
use crate::{Result, results::CategoryDistance};

/// The distances of each category whose shares are asked for, in the order of the spec.
///
/// Of shares over contexts, or the mean of the contexts' distances, if the shares are asked for in each context. A distance is
/// `sum_k s_k (p_k - a_k)` with `s_k` the signs of the differences; its error is that of the mean of `s` over samples (delta method).
///
/// # Errors
/// [`disco_core::Error`] for weights that are NaN.
pub(super) fn category_distances(
    plan: &RunPlan<'_>,
    contexts: &[ContextValues<'_>],
) -> Result<Vec<CategoryDistance>> {
    let counted: Vec<Counted<'_>> = contexts.iter().map(Counted::new).collect::<Result<_>>()?;
    let mut found = Vec::new();
    for (index, feature) in plan.spec.features.iter().enumerate() {
        let labels: Vec<usize> = (0..plan.measures.len())
            .filter(|&at| plan.measures[at].index == index && plan.measures[at].label.is_some())
            .collect();
        if labels.is_empty() || feature.target.is_none() {
            continue;
        }
        let category = Category { plan, labels, is_ordered: feature.kind.is_ordered() };
        let groups: Vec<Vec<usize>> = match feature.per_context {
            true => (0..counted.len()).map(|context| vec![context]).collect(),
            false => vec![(0..counted.len()).collect()],
        };
        let mut distances = Vec::new();
        let mut shares = Vec::new();
        for group in groups {
            if let Some(distance) = category.distance(&counted, &group)? {
                distances.push(distance);
                shares.push(group.iter().map(|&context| plan.shares[context]).sum::<f64>());
            }
        }
        let mean = |of: &dyn Fn(&[Estimate; 2]) -> Estimate| {
            super::scored::mean(&distances.iter().map(of).collect::<Vec<_>>(), &shares)
        };
        found.push(CategoryDistance {
            name: feature.name.clone(),
            total_variation: mean(&|pair| pair[0]),
            wasserstein: category.is_ordered.then(|| mean(&|pair| pair[1])),
        });
    }
    Ok(found)
}

/// A category, and the measures of its labels.
struct Category<'p, 'a> {
    plan: &'p RunPlan<'a>,
    labels: Vec<usize>,
    is_ordered: bool,
}

impl Category<'_, '_> {
    /// Total variation and Wasserstein-1 distance (in steps from a label to the next) of some contexts together; `None` without a
    /// sample that counts.
    fn distance(&self, counted: &[Counted<'_>], group: &[usize]) -> Result<Option<[Estimate; 2]>> {
        if group.iter().all(|&context| counted[context].is_empty()) {
            return Ok(None);
        }
        let over = |value: &dyn Fn(&Values) -> f64| over_contexts(self.plan, counted, group, value);
        let mut differences = Vec::new();
        for &label in &self.labels {
            let share = over(&|row| row[label].unwrap_or(0.0))?;
            differences.push(share.value - self.asked(label, counted, group));
        }
        let sign = |difference: f64| if difference == 0.0 { 0.0 } else { difference.signum() };
        let variation: Vec<f64> = differences.iter().map(|difference| 0.5 * sign(*difference)).collect();
        // A sample with label k is in all cumulated shares from k on.
        let mut cumulated = 0.0;
        let steps: Vec<f64> = differences
            .iter()
            .map(|difference| {
                cumulated += difference;
                cumulated
            })
            .collect();
        let steps = &steps[..steps.len() - 1];
        let transport: Vec<f64> = (0..differences.len())
            .map(|label| steps[label.min(steps.len())..].iter().map(|step| sign(*step)).sum())
            .collect();
        let weighed = |weights: &[f64]| {
            over(&|row| {
                self.labels
                    .iter()
                    .zip(weights)
                    .map(|(label, weight)| weight * row[*label].unwrap_or(0.0))
                    .sum()
            })
        };
        let total = 0.5 * differences.iter().map(|difference| difference.abs()).sum::<f64>();
        let moved = steps.iter().map(|step| step.abs()).sum::<f64>();
        Ok(Some([
            Estimate { value: total, ..weighed(&variation)? },
            Estimate { value: moved, ..weighed(&transport)? },
        ]))
    }

    /// The share that is asked of a label in some contexts together.
    fn asked(&self, label: usize, counted: &[Counted<'_>], group: &[usize]) -> f64 {
        let (mut sum, mut all) = (0.0, 0.0);
        for &context in group.iter().filter(|&&context| !counted[context].is_empty()) {
            let share = self.plan.shares[context];
            // The columns were checked when the spec was read.
            let asked = self.plan.measures[label].asked_in(&self.plan.spec.contexts.items[context]);
            sum += share * asked.ok().flatten().unwrap_or(0.0);
            all += share;
        }
        sum / all
    }
}
