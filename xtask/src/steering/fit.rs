//! Stage "fit": the target, whose constraints are fitted to samples of the base.

use disco_core::{Estimate, ImportanceWeights, numerics::log_sum_exp};
use disco_divergence::LogZ;
use disco_ebm::{ConstraintReport, ContextConstraint, Fit, HeldOut, Termination};

use super::{
    Measurement, RunPlan,
    categories::category_distances,
    moments::{ContextValues, moments},
    scored::{Scored, mean, means, record, score, sentence},
};
use crate::{
    Error, Result,
    contexts::TextContext,
    features::TextSample,
    results::{FitRecord, FittedFeature, HEAVIEST, TargetRecord, WeightRecord},
    spec::{QrsGoal, Spec},
};

/// The fitted target.
#[derive(Clone, Debug)]
pub struct Fitted<X> {
    /// The factor that makes the base into the target.
    pub fit: Fit<TextContext, X>,
    /// This stage's part of the record.
    pub record: TargetRecord,
}

/// Fits the constraints of the spec to the samples of the base.
///
/// # Errors
/// The errors of the fit: [`disco_ebm::Error`] names the feature and the means that it can have. [`Error::BetaTooLarge`].
///
/// # Cost
/// No call of a model; text scorers score each sample once more.
pub fn fit<X: TextSample>(plan: &RunPlan<'_>, base: &Measurement<X>) -> Result<Fitted<X>> {
    let spec = plan.spec;
    let constraints: Vec<_> = base.constraints.iter().map(|one| one.constraint.clone()).collect();
    let fit = base.measured.fit(&constraints, &spec.fit.config())?;

    let log_base = base.drawn.iter().map(|drawn| drawn.log_policy.clone()).collect();
    let scored = score(&spec.contexts.items, base.drawn.clone(), log_base, fit.tilt())?;
    check_log_beta(spec, &scored, &plan.shares)?;
    // The score of a base under a grammar is not normalised.
    let is_normalised = base.drawn.iter().all(|drawn| drawn.log_weights().is_none());
    let log_z = if is_normalised { LogZ::Known(0.0) } else { LogZ::Estimated };
    let distances: Vec<Vec<Estimate>> =
        scored.iter().map(|scored| scored.distances_to_target(log_z)).collect::<Result<_>>()?;
    let weighted = ContextValues::of_target(&base.values, &scored);
    let achieved = moments(plan, &weighted)?;
    let all = &achieved.all;
    let feature = |index: usize| {
        let place = base.constraints.iter().position(|one| one.measure == index);
        let report: Option<&ConstraintReport> = place.and_then(|place| fit.report().constraints.get(place));
        FittedFeature {
            coefficient: report.and_then(|report| report.coefficient),
            fitted: report.map_or(all[index], |report| report.achieved),
            held_out: report.and_then(|report| report.held_out),
        }
    };
    let record = TargetRecord {
        fit: fit_record(spec, &fit),
        features: (0..plan.measures.len()).map(feature).collect(),
        by_context: means_by_context(plan, base, &fit, achieved.by_context),
        coefficients: coefficients(plan, base, &fit),
        exact_rejection: exact_rejection(plan, &fit)?,
        categories: category_distances(plan, &weighted)?,
        base_distances: means(&distances, &plan.shares),
        heaviest: heaviest(plan, base, &scored)?,
    };
    Ok(Fitted { fit, record })
}

/// The numbers that constraints have in each context, in the places of the measures: `None` for measures without a constraint.
fn in_each<X, T>(
    plan: &RunPlan<'_>,
    base: &Measurement<X>,
    fit: &Fit<TextContext, X>,
    of: impl Fn(&ContextConstraint) -> Option<T>,
) -> Vec<Vec<Option<T>>> {
    let mut found: Vec<Vec<Option<T>>> = Vec::new();
    for _ in &plan.spec.contexts.items {
        found.push(plan.measures.iter().map(|_| None).collect());
    }
    for report in &fit.report().by_context {
        for (one, constraint) in base.constraints.iter().zip(&report.constraints) {
            found[report.context][one.measure] = of(constraint);
        }
    }
    found
}

/// The means of all measures in each context. Those of constraints have errors that include the errors of the coefficients.
fn means_by_context<X>(
    plan: &RunPlan<'_>,
    base: &Measurement<X>,
    fit: &Fit<TextContext, X>,
    measured: Vec<Vec<Option<Estimate>>>,
) -> Vec<Vec<Option<Estimate>>> {
    let constrained = in_each(plan, base, fit, |constraint| constraint.achieved);
    let either = |(one, other): (Vec<Option<Estimate>>, Vec<Option<Estimate>>)| {
        one.into_iter().zip(other).map(|(one, other)| one.or(other)).collect()
    };
    constrained.into_iter().zip(measured).map(either).collect()
}

/// The coefficients that contexts have for themselves; empty if there are none.
fn coefficients<X>(
    plan: &RunPlan<'_>,
    base: &Measurement<X>,
    fit: &Fit<TextContext, X>,
) -> Vec<Vec<Option<Estimate>>> {
    let found = in_each(plan, base, fit, |constraint| constraint.coefficient);
    if found.iter().flatten().any(Option::is_some) { found } else { Vec::new() }
}

/// The share of the base's samples that exact rejection accepts, with the known supremum of the target's factor in the place of beta;
/// `None` where a feature has no known bound.
///
/// # Errors
/// [`disco_ebm::Error::UnknownContext`].
fn exact_rejection<X>(plan: &RunPlan<'_>, fit: &Fit<TextContext, X>) -> Result<Option<Estimate>> {
    let (mut rates, mut shares) = (Vec::new(), Vec::new());
    for report in &fit.report().by_context {
        let context = &plan.spec.contexts.items[report.context];
        let Some(log_bound) = fit.tilt().log_bound(context)? else { return Ok(None) };
        // The rate is Z / beta; its relative error is the error of ln Z.
        let value = (report.log_z.value - log_bound).exp();
        rates.push(Estimate { value, std_error: value * report.log_z.std_error, ess: report.log_z.ess });
        shares.push(plan.shares[report.context]);
    }
    Ok(Some(mean(&rates, &shares)))
}

/// Refuses, before anything is tuned, a beta at which not even one proposal can be accepted: whatever the policy is, it accepts at most
/// the share `Z / beta`, since `E_q[min(1, P / (beta q))] <= sum_x P(x) / beta`.
fn check_log_beta<X>(spec: &Spec, scored: &[Scored<X>], shares: &[f64]) -> Result<()> {
    let QrsGoal::LogBeta(log_beta) = spec.sample.qrs else { return Ok(()) };
    let log_mean = |terms: &[f64]| log_sum_exp(terms) - (terms.len() as f64).ln();
    let log_z = |scored: &Scored<X>| log_mean(&scored.log_weights());
    let weighed = scored.iter().zip(shares).map(|(scored, share)| log_z(scored) + share.ln());
    let log_z = log_sum_exp(&weighed.collect::<Vec<_>>());
    let proposals = spec.in_all_contexts(spec.sample.most_proposals());
    let most = log_z + (proposals as f64).ln();
    if log_beta > most {
        return Err(Error::BetaTooLarge { log_beta, proposals, most });
    }
    Ok(())
}

/// The samples with the largest importance weights. In sums over contexts a sample counts by its share of its context's weight, times the
/// share of the context.
fn heaviest<X: TextSample>(
    plan: &RunPlan<'_>,
    base: &Measurement<X>,
    scored: &[Scored<X>],
) -> Result<Vec<WeightRecord>> {
    let mut found: Vec<(f64, usize, usize)> = Vec::new();
    for (context, (scored, share)) in scored.iter().zip(&plan.shares).enumerate() {
        let log_weights = scored.log_weights();
        if scored.drawn.exact || log_weights.iter().all(|weight| *weight == f64::NEG_INFINITY) {
            continue;
        }
        let weights = ImportanceWeights::from_log(log_weights)?;
        let weights = weights.normalised().iter().enumerate();
        found.extend(weights.map(|(index, weight)| (share * weight, context, index)));
    }
    // Of equal weights the first comes first, so that the same run gives the same record.
    found.sort_by(|one, other| other.0.total_cmp(&one.0).then((one.1, one.2).cmp(&(other.1, other.2))));
    let record_of = |(share, context, index): (f64, usize, usize)| {
        let drawn = &base.drawn[context];
        let values = base.values[context][index].clone();
        let log_prob = drawn.log_policy[index];
        let sample = record(&plan.spec.contexts.items[context], &drawn.samples[index], log_prob, values);
        WeightRecord { share, sample }
    };
    Ok(found.into_iter().take(HEAVIEST).filter(|one| one.0 > 0.0).map(record_of).collect())
}

/// How the fit went, in the words of the report.
fn fit_record<X>(spec: &Spec, fit: &Fit<TextContext, X>) -> FitRecord {
    let report = fit.report();
    let mut warnings = Vec::new();
    if !report.termination.is_converged() {
        warnings.push(format!("The fit did not converge: the largest residual is {:.1e}.", report.residual));
    }
    warnings.extend(report.warnings().iter().map(|warning| sentence(&warning.to_string())));
    if let HeldOut::Unavailable { reason } = &report.held_out {
        warnings.push(format!("The fit could not be checked on held-out samples: {reason}."));
    }
    if spec.model.truncates() {
        let text = "The base is truncated by how it is decoded: the target cannot have what that cuts off.";
        warnings.push(text.into());
    }
    FitRecord {
        samples: report.samples,
        log_z: report.log_z,
        kl: report.kl_from_base,
        ess: report.ess.unwrap_or(f64::INFINITY),
        largest_share: report.largest_share,
        iterations: report.iterations,
        reason: match report.termination {
            Termination::ClosedForm => "in closed form".into(),
            Termination::Converged => "every moment is as asked".into(),
            other => format!("{other:?}"),
        },
        warnings,
    }
}
