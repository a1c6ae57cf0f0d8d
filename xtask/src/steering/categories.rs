//! How far the labels of a category are from the shares that were asked for.

use disco_core::Estimate;
use disco_ebm::{CategoryDistance as Distance, ContextErrors};

use super::{
    RunPlan,
    moments::{ContextValues, Counted},
    scored::{certain, mean},
};
use crate::{Result, results::CategoryDistance};

/// The distances of each category whose shares are asked for, in the order of the spec: of shares over contexts, or the mean of the
/// contexts' distances, if the shares are asked for in each context. With a condition only the samples of which it holds count.
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
        let (Some(labels), Some(_)) = (feature.kind.labels(), &feature.target) else { continue };
        let first = plan.first_measure(index);
        let category = Category {
            plan,
            labels: (first..first + labels.len()).collect(),
            positions: feature
                .kind
                .is_ordered()
                .then(|| (0..labels.len()).map(|label| label as f64).collect()),
        };
        let all: Vec<usize> = (0..counted.len()).collect();
        let groups: Vec<&[usize]> = match feature.per_context {
            true => all.chunks(1).collect(),
            false => vec![&all],
        };
        let (mut distances, mut shares) = (Vec::new(), Vec::new());
        for group in groups {
            if let Some(distance) = category.distance(&counted, group)? {
                distances.push(distance);
                shares.push(group.iter().map(|&context| plan.shares[context]).sum::<f64>());
            }
        }
        let over = |of: &dyn Fn(&Distance) -> Estimate| {
            let found = mean(&distances.iter().map(of).collect::<Vec<_>>(), &shares);
            if contexts.iter().all(|context| context.exact) { certain(found.value) } else { found }
        };
        found.push(CategoryDistance {
            name: feature.name.clone(),
            total_variation: over(&|distance| distance.total_variation),
            wasserstein: category.positions.as_ref().map(|_| {
                // There is one wherever there are positions.
                over(&|distance| distance.wasserstein.unwrap_or(distance.total_variation))
            }),
        });
    }
    Ok(found)
}

/// A category: the measures of its labels, and the positions of the labels if their order is a scale.
struct Category<'p, 'a> {
    plan: &'p RunPlan<'a>,
    labels: Vec<usize>,
    positions: Option<Vec<f64>>,
}

impl Category<'_, '_> {
    /// The distance in some contexts together; `None` without a sample that counts.
    fn distance(&self, counted: &[Counted<'_>], group: &[usize]) -> Result<Option<Distance>> {
        let condition = self.plan.conditions[self.labels[0]];
        let (mut samples, mut weights) = (Vec::new(), Vec::new());
        for &context in group {
            let Some(labelled) = counted[context].labelled(&self.labels, condition)? else { continue };
            samples.push((labelled.weights, labelled.labels));
            weights.push(self.plan.shares[context] * labelled.mass);
        }
        if weights.iter().sum::<f64>() == 0.0 {
            return Ok(None);
        }
        let asked = self.asked(group);
        let positions = self.positions.as_deref();
        Ok(Some(Distance::new(&asked, positions, samples, Some(&weights), ContextErrors::Fixed)?))
    }

    /// The shares that are asked for in some contexts, which differ by context only where each is asked for itself.
    fn asked(&self, group: &[usize]) -> Vec<f64> {
        let context = &self.plan.spec.contexts.items[group[0]];
        // The columns were checked when the spec was read.
        let asked =
            |label: &usize| self.plan.measures[*label].asked_in(context).ok().flatten().unwrap_or(0.0);
        self.labels.iter().map(asked).collect()
    }
}
