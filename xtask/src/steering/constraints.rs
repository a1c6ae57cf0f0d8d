//! From the targets of a spec to the constraints of disco-ebm.

use std::sync::Arc;

use disco_core::Feature;
use disco_ebm::{Constraint, ConstraintKind};

use super::RunPlan;
use crate::{
    Result,
    contexts::TextContext,
    features::TextSample,
    spec::{Level, Measure, Target},
};

/// A constraint, and the position of the measure that it is on.
pub(super) type Constrained<X> = (usize, Constraint<TextContext, X>);

/// The constraints that the targets of a plan's spec ask for.
///
/// # Errors
/// [`disco_ebm::Error`] for a target that is not finite.
pub(super) fn constraints<X: TextSample>(plan: &RunPlan<'_>) -> Result<Vec<Constrained<X>>> {
    let mut found = Vec::new();
    for (index, measure) in plan.measures.iter().enumerate() {
        let Some(kind) = kind(measure) else { continue };
        let feature: Arc<dyn Feature<TextContext, X>> = Arc::new(plan.features[index].clone());
        found.push((index, Constraint::new(feature, kind)?));
    }
    Ok(found)
}

/// The kind of a constraint that is the same in all contexts.
fn kind(measure: &Measure<'_>) -> Option<ConstraintKind> {
    let level = match (&measure.feature.target, &measure.label) {
        (Some(Target::Always), _) => return Some(ConstraintKind::Pointwise { wanted: true }),
        (Some(Target::Never), _) => return Some(ConstraintKind::Pointwise { wanted: false }),
        (Some(Target::Mean { mean, .. }), _) => mean,
        (Some(Target::Distribution(shares)), Some(label)) => {
            &shares.iter().find(|share| share.label == *label)?.share
        }
        _ => return None,
    };
    let Level::Number(target) = level else { return None };
    Some(ConstraintKind::Moment { target: *target, tolerance: measure.tolerance() })
}
