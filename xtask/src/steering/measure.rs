//! Stage "measure": samples of the base and the means of the features.

use std::hash::Hash;

use disco_core::{Distribution, Estimate, Scorer};
use disco_divergence::{Estimator, FDivergence};
use disco_ebm::{Constraint, Measured, features};

use super::{
    BaseModel, Origin, RunPlan,
    categories::category_distances,
    constraints::{Constrained, constraints},
    drawn::Drawn,
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
    /// The samples, by context.
    pub(super) drawn: Vec<Drawn<X>>,
    /// `ln` of the base's score of each.
    pub(super) log_base: Vec<Vec<f64>>,
    /// The values of all measures for these samples.
    pub(super) values: Vec<Vec<Values>>,
    /// What the targets and rewards of the spec ask for.
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
pub(super) fn measure_drawn<X: TextSample + Eq + Hash>(
    plan: &RunPlan<'_>,
    model: &BaseModel<impl Scorer<TextContext, X>, impl Distribution<TextContext, X>, X>,
    drawn: Option<Vec<Drawn<X>>>,
) -> Result<Measurement<X>> {
    let BaseModel { base, proposal, origin } = model;
    let contexts = &plan.spec.contexts.items;
    let count = plan.spec.per_context(plan.spec.fit.samples);
    let drawn = match drawn {
        Some(drawn) => drawn,
        None => {
            let mut progress =
                Progress::new(plan.progress, "measure base", "samples", count * contexts.len());
            origin.samples(proposal, contexts, count, plan.seeds.base, &mut progress)?
        }
    };

    let constraints = constraints(plan)?;
    let on: Vec<Constraint<TextContext, X>> = constraints.iter().map(|one| one.constraint.clone()).collect();
    let measured = origin.measured(plan, base, &drawn, &features(&on))?;
    let log_base: Vec<Vec<f64>> = contexts
        .iter()
        .zip(&drawn)
        .map(|(context, drawn)| origin.log_base(base, context, drawn))
        .collect::<Result<_>>()?;
    let pairs: Vec<Vec<(&X, f64)>> = drawn
        .iter()
        .zip(&log_base)
        .map(|(drawn, log_base)| drawn.samples.iter().zip(log_base.iter().copied()).collect())
        .collect();
    let values = feature_values(&plan.features, contexts, &pairs)?;
    let counted: Vec<ContextValues<'_>> = values
        .iter()
        .zip(drawn.iter().zip(&log_base))
        .map(|(rows, (drawn, log_base))| ContextValues {
            rows: rows.iter().collect(),
            log_weights: weights(drawn, log_base),
            exact: drawn.exact,
        })
        .collect();
    let moments = moments(plan, &counted)?;
    let record = BaseRecord {
        means: moments.all,
        by_context: moments.by_context,
        categories: category_distances(plan, &counted)?,
        masking: match origin {
            Origin::Proposal => Some(masking(plan, &drawn, &log_base)?),
            Origin::Base | Origin::Listed(_) => None,
        },
        skipped: measured.skipped().values().sum(),
        samples: records(contexts, &pairs, &values),
    };
    Ok(Measurement { drawn, log_base, values, constraints, measured, record })
}

/// How the masked model, which drew the samples, is to the base among the texts of the grammar; means over contexts.
fn masking<X>(plan: &RunPlan<'_>, drawn: &[Drawn<X>], log_base: &[Vec<f64>]) -> Result<MaskingRecord> {
    let (mut probabilities, mut kls) = (Vec::new(), Vec::new());
    for (drawn, log_base) in drawn.iter().zip(log_base) {
        let estimator = Estimator::new(log_base, &drawn.log_proposal, &drawn.log_proposal)?;
        kls.push(estimator.estimate(&[FDivergence::KlForward])?.divergences[0].estimate);
        let ratios = log_base.iter().zip(&drawn.log_proposal).map(|(base, proposal)| (base - proposal).exp());
        probabilities.push(Estimate::mean(&ratios.collect::<Vec<_>>()));
    }
    Ok(MaskingRecord { probability: mean(&probabilities, &plan.shares), kl: mean(&kls, &plan.shares) })
}

/// `ln` of the weights by which samples tell of the base; `None` where they count equally.
fn weights<X>(drawn: &Drawn<X>, log_base: &[f64]) -> Option<Vec<f64>> {
    let weights: Vec<f64> =
        log_base.iter().zip(&drawn.log_proposal).map(|(base, proposal)| base - proposal).collect();
    weights.iter().any(|weight| *weight != 0.0).then_some(weights)
}
