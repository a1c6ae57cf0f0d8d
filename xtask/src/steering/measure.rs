//! Stage "measure": samples of the base and the means of the features.

use std::{hash::Hash, ops::Range};

use disco_core::{Distribution, Estimate, Scorer};
use disco_divergence::{Estimator, FDivergence};
use disco_ebm::{Constraint, Measured, features};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    BaseModel, Origin, RunPlan,
    categories::category_distances,
    constraints::{Constrained, constraints},
    drawn::{Drawn, draw},
    kept_samples::{GrowingSamples, KeptSamples},
    moments::{ContextValues, moments},
    scored::{Values, feature_values, mean, records},
};
use crate::{
    Progress, Result,
    contexts::TextContext,
    features::TextSample,
    results::{BaseRecord, MaskingRecord},
};

/// The base, as measured on samples of it.
#[derive(Clone, Debug)]
pub struct Measurement<X> {
    /// The samples, by context, which tell of the base.
    pub(crate) drawn: Vec<Drawn<X>>,
    /// The values of all measures for these samples.
    pub(crate) values: Vec<Vec<Values>>,
    /// The constraints of the targets and rewards of the spec.
    pub(super) constraints: Vec<Constrained<X>>,
    /// The samples with the values of the constraints' features, ready to be fitted.
    pub measured: Measured<TextContext, X>,
    /// This stage's part of the record.
    pub record: BaseRecord,
}

/// Draws `fit.samples` samples of the base, or lists its texts, and computes the features on them.
///
/// # Errors
/// The errors of the base and of the features; [`disco_ebm::Error::AllSkipped`] where a text scorer skips every sample of a context.
///
/// # Cost
/// `fit.samples` samples of the proposal, scored by the base if that is another; text scorers score each sample twice.
pub fn measure<X: TextSample + Eq + Hash>(
    plan: &RunPlan<'_>,
    model: &BaseModel<impl Scorer<TextContext, X>, impl Distribution<TextContext, X>, X>,
) -> Result<Measurement<X>> {
    measure_drawn(plan, model, None)
}

/// As [`measure`](measure()), on samples that an earlier run drew if there are some.
pub(crate) fn measure_drawn<X: TextSample + Eq + Hash>(
    plan: &RunPlan<'_>,
    model: &BaseModel<impl Scorer<TextContext, X>, impl Distribution<TextContext, X>, X>,
    drawn: Option<Vec<Drawn<X>>>,
) -> Result<Measurement<X>> {
    let BaseModel { base, proposal, origin } = model;
    let contexts = &plan.spec.contexts.items;
    let count = plan.spec.per_context(plan.spec.fit.samples);
    let mut drawn = match drawn {
        Some(drawn) => drawn,
        None => {
            let mut progress =
                Progress::new(plan.progress, "measure base", "samples", count * contexts.len());
            origin.samples(proposal, contexts, 0..count, plan.seeds.base, &mut progress)?
        }
    };

    let constraints = constraints(plan)?;
    let on: Vec<Constraint<TextContext, X>> = constraints.iter().map(|one| one.constraint.clone()).collect();
    let measured = origin.measured(plan, base, &drawn, &features(&on))?;
    origin.tell_of_base(base, contexts, &mut drawn)?;
    let values = feature_values(&plan.features, contexts, &drawn)?;
    let counted = ContextValues::of_drawn(&values, &drawn);
    let moments = moments(plan, &counted)?;
    let record = BaseRecord {
        means: moments.all,
        by_context: moments.by_context,
        categories: category_distances(plan, &counted)?,
        masking: match origin {
            Origin::Proposal => Some(masking(plan, &drawn)?),
            Origin::Base | Origin::Listed(_) => None,
        },
        skipped: measured.skipped().values().sum(),
        samples: records(contexts, &drawn, &values),
    };
    Ok(Measurement { drawn, values, constraints, measured, record })
}

/// Draws the samples of the proposal with these numbers in each context, less those that a process before this one has drawn, and keeps
/// each chunk.
///
/// # Errors
/// The errors of the proposal; those of the file, as [`KeptSamples::go_on`].
pub(crate) fn draw_keeping<'k, X: TextSample + Eq + Hash + Serialize + DeserializeOwned>(
    plan: &RunPlan<'_>,
    proposal: &impl Distribution<TextContext, X>,
    numbers: Range<usize>,
    kept: &'k KeptSamples,
    from_the_beginning: bool,
) -> Result<(Vec<Drawn<X>>, GrowingSamples<'k>)> {
    let contexts = &plan.spec.contexts.items;
    let (mut samples, mut growing) = kept.go_on::<X>(contexts.len(), from_the_beginning)?;
    let left = numbers.start + samples.first().map_or(0, Vec::len)..numbers.end;
    let mut progress = Progress::new(plan.progress, "measure base", "samples", left.len() * contexts.len());
    let drawn = draw(proposal, contexts, left, plan.seeds.base, &mut progress, |chunk| growing.add(chunk));
    drop(progress);
    match drawn {
        Ok(drawn) => samples.iter_mut().zip(drawn).for_each(|(own, drawn)| own.extend(drawn)),
        Err(error) => {
            growing.stay();
            return Err(error);
        }
    }
    Ok((samples.into_iter().map(Drawn::new).collect(), growing))
}

/// How the masked model, which drew the samples, is to the base among the texts of the grammar; means over contexts.
fn masking<X>(plan: &RunPlan<'_>, drawn: &[Drawn<X>]) -> Result<MaskingRecord> {
    let (mut probabilities, mut kls) = (Vec::new(), Vec::new());
    for drawn in drawn {
        let (log_base, log_masked) = (&drawn.log_policy, &drawn.log_proposal);
        let estimator = Estimator::new(log_base, log_masked, log_masked)?;
        kls.push(estimator.estimate(&[FDivergence::KlForward])?.divergences[0].estimate);
        let ratios: Vec<f64> =
            log_base.iter().zip(log_masked).map(|(base, masked)| (base - masked).exp()).collect();
        probabilities.push(Estimate::mean(&ratios));
    }
    Ok(MaskingRecord { probability: mean(&probabilities, &plan.shares), kl: mean(&kls, &plan.shares) })
}
