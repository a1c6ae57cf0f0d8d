//! From the targets and rewards of a spec to the constraints of disco-ebm.

use std::sync::Arc;

use disco_core::{Feature, Score};
use disco_ebm::{Category, Constraint, ConstraintKind, SavedTarget};

use super::RunPlan;
use crate::{
    Result,
    contexts::TextContext,
    features::{TextFeature, TextSample},
    spec::{FeatureSpec, Level, Share, Target},
};

/// A feature of samples in text contexts.
type Shared<X> = Arc<dyn Feature<TextContext, X>>;

/// A constraint, and the position of the measure that it is on.
#[derive(Clone, Debug)]
pub(super) struct Constrained<X> {
    pub(super) measure: usize,
    pub(super) constraint: Constraint<TextContext, X>,
}

/// The constraints that the targets and rewards of a plan's spec ask for.
///
/// # Errors
/// [`disco_ebm::Error`] for a target that is not finite.
pub(super) fn constraints<X: TextSample>(plan: &RunPlan<'_>) -> Result<Vec<Constrained<X>>> {
    let spec = plan.spec;
    // One object for each feature, so that constraints which share it evaluate it once.
    let features: Vec<Shared<X>> = (0..spec.features.len()).map(|index| feature(plan, index)).collect();
    let named = |name: &str| -> Option<Shared<X>> {
        let measure = plan.measures.iter().position(|measure| measure.name == name)?;
        Some(match plan.measures[measure].label {
            None => Arc::clone(&features[plan.measures[measure].index]),
            Some(_) => Arc::new(plan.features[measure].clone()),
        })
    };
    let mut found = Vec::new();
    for (index, feature) in spec.features.iter().enumerate() {
        let Some(target) = &feature.target else { continue };
        let first = plan.first_measure(index);
        let own = asked(plan, feature, target, &features[index])?;
        for (place, constraint) in own.into_iter().enumerate() {
            let constraint = match feature.given.as_deref().and_then(named) {
                Some(condition) => constraint.given(condition)?,
                None => constraint,
            };
            found.push(Constrained { measure: first + place, constraint });
        }
    }
    for reward in &spec.rewards {
        let Some(index) = spec.features.iter().position(|feature| feature.name == reward.feature) else {
            continue;
        };
        let (low, high) = spec.features[index].kind.range();
        let kind = ConstraintKind::Fixed { coefficient: 1.0 / reward.beta };
        let constraint = Constraint::new(Arc::clone(&features[index]), kind)?.ranged(low, high)?;
        found.push(Constrained { measure: plan.first_measure(index), constraint });
    }
    Ok(found)
}

/// The features of a saved target, by their names.
///
/// # Errors
/// [`disco_ebm::Error::MissingFeature`] for one that the plan's spec does not have.
pub(crate) fn features_of_target<X: TextSample>(
    plan: &RunPlan<'_>,
    target: &SavedTarget,
) -> Result<Vec<Shared<X>>> {
    let spec = plan.spec;
    let missing = |name: &str| disco_ebm::Error::MissingFeature {
        feature: name.to_owned(),
        given: spec.features.iter().map(|feature| feature.name.clone()).collect(),
    };
    let mut names: Vec<&str> = target.feature_names().collect();
    names.sort_unstable();
    names.dedup();
    let found = |name: &&str| -> Result<Shared<X>> {
        if let Some(index) = spec.features.iter().position(|feature| feature.name == *name) {
            return Ok(feature(plan, index));
        }
        let measure = plan.measures.iter().position(|measure| measure.name == *name);
        let measure = measure.ok_or_else(|| missing(name))?;
        Ok(Arc::new(plan.features[measure].clone()))
    };
    names.iter().map(found).collect()
}

/// The constraints of one target, without its condition: one, or one for each label of a category.
fn asked<X: TextSample>(
    plan: &RunPlan<'_>,
    feature: &FeatureSpec,
    target: &Target,
    own: &Shared<X>,
) -> Result<Vec<Constraint<TextContext, X>>> {
    let own = Arc::clone(own);
    let contexts = &plan.spec.contexts.items;
    // The columns were checked when the spec was read.
    let each = |level: &Level| -> Vec<f64> {
        contexts.iter().map(|context| level.of(context).unwrap_or(f64::NAN)).collect()
    };
    Ok(match target {
        Target::Always => vec![Constraint::new(own, ConstraintKind::Pointwise { wanted: true })?],
        Target::Never => vec![Constraint::new(own, ConstraintKind::Pointwise { wanted: false })?],
        Target::Mean { mean, tolerance } => {
            let (low, high) = feature.kind.range();
            let kind = ConstraintKind::Moment { target: mean.number().unwrap_or(0.0), tolerance: 0.0 };
            let constraint = Constraint::new(own, kind)?.ranged(low, high)?;
            let constraint = match (mean, feature.per_context) {
                (Level::Column { .. }, _) => constraint.with_targets(each(mean))?,
                (Level::Number(_), true) => constraint.per_context()?,
                (Level::Number(_), false) => constraint,
            };
            vec![if *tolerance > 0.0 { constraint.within(*tolerance)? } else { constraint }]
        }
        Target::Distribution(shares) => {
            let category = Category::new(own, shares.iter().map(|share| share.label.clone()))?;
            let numbers: Option<Vec<f64>> = shares.iter().map(|share| share.share.number()).collect();
            match (numbers, feature.per_context) {
                (Some(shares), false) => category.shares(&shares)?,
                _ => category.shares_in_each(&transposed(shares, contexts.len(), &each))?,
            }
        }
    })
}

/// The shares of each context, in the order of the labels.
fn transposed(shares: &[Share], contexts: usize, each: &dyn Fn(&Level) -> Vec<f64>) -> Vec<Vec<f64>> {
    let columns: Vec<Vec<f64>> = shares.iter().map(|share| each(&share.share)).collect();
    (0..contexts).map(|context| columns.iter().map(|column| column[context]).collect()).collect()
}

/// The feature of a spec as disco-ebm takes it: for a category, the position of the label.
fn feature<X: TextSample>(plan: &RunPlan<'_>, index: usize) -> Shared<X> {
    let first = plan.first_measure(index);
    match plan.spec.features[index].kind.labels() {
        None => Arc::new(plan.features[first].clone()),
        Some(labels) => Arc::new(LabelPosition {
            name: plan.spec.features[index].name.clone(),
            labels: plan.features[first..first + labels.len()].to_vec(),
        }),
    }
}

/// The position of the label that a sample has, from one feature per label.
struct LabelPosition {
    name: String,
    labels: Vec<TextFeature>,
}

impl<X: TextSample> Feature<TextContext, X> for LabelPosition {
    fn name(&self) -> &str {
        &self.name
    }

    fn values(&self, context: &TextContext, samples: &[&X]) -> disco_core::Result<Vec<Score>> {
        let mut positions: Vec<Score> = vec![Ok(0.0); samples.len()];
        for (position, label) in self.labels.iter().enumerate() {
            for (found, score) in positions.iter_mut().zip(label.scores_of(context, samples)?) {
                match score {
                    Ok(1.0) => *found = Ok(position as f64),
                    Ok(_) => {}
                    Err(skipped) => *found = Err(skipped),
                }
            }
        }
        Ok(positions)
    }
}
