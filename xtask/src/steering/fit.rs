//! Stage "fit": the target, whose constraints are fitted to samples of the base.

use disco_core::{Estimate, numerics::log_sum_exp};
use disco_ebm::{ConstraintReport, Fit, HeldOut, Termination};

use super::{
    Measurement, RunPlan,
    categories::category_distances,
    constraints::constraints,
    moments::{ContextValues, moments},
    scored::{Scored, means, score, sentence},
};
use crate::{
    Error, Progress, ProgressTarget, Result,
    contexts::TextContext,
    features::TextSample,
    results::{FitRecord, FittedFeature, TargetRecord},
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
    let constraints = constraints(plan)?;
    let (positions, constraints): (Vec<usize>, Vec<_>) = constraints.into_iter().unzip();
    let fit = base.measured.fit(&constraints, &spec.fit.config())?;

    let mut hidden = Progress::new(ProgressTarget::Hidden, "", "", 0);
    let of_base = |_: &TextContext, _: &[&X], log_prob: &[f64]| Ok(log_prob.to_vec());
    let scored = score(&spec.contexts.items, base.samples.clone(), of_base, fit.tilt(), &mut hidden)?;
    check_log_beta(spec, &scored, &plan.shares)?;
    let distances: Vec<Vec<Estimate>> =
        scored.iter().map(Scored::distances_to_target).collect::<Result<_>>()?;
    let weighted = base.values.iter().zip(&scored).map(|(rows, scored)| ContextValues {
        rows: rows.iter().collect(),
        log_weights: Some(scored.log_weights()),
    });
    let weighted: Vec<ContextValues<'_>> = weighted.collect();
    let achieved = moments(plan, &weighted)?;
    let feature = |index: usize| {
        let place = positions.iter().position(|position| *position == index);
        let report: Option<&ConstraintReport> = place.and_then(|place| fit.report().constraints.get(place));
        FittedFeature {
            coefficient: report.and_then(|report| report.coefficient),
            fitted: report.map_or(achieved.all[index], |report| report.achieved),
            held_out: report.and_then(|report| report.held_out),
        }
    };
    let record = TargetRecord {
        fit: fit_record(spec, &fit),
        features: (0..plan.measures.len()).map(feature).collect(),
        by_context: achieved.by_context.clone(),
        categories: category_distances(plan, &weighted)?,
        base_distances: means(&distances, &plan.shares),
    };
    Ok(Fitted { fit, record })
}

/// Refuses, before anything is tuned, a beta at which not even one proposal can be accepted: whatever the policy is, it accepts at most
/// the share `Z / beta`, since `E_q[min(1, P / (beta q))] <= sum_x P(x) / beta`.
fn check_log_beta<X>(spec: &Spec, scored: &[Scored<X>], shares: &[f64]) -> Result<()> {
    let QrsGoal::LogBeta(log_beta) = spec.sample.qrs else { return Ok(()) };
    let log_mean = |terms: &[f64]| log_sum_exp(terms) - (terms.len() as f64).ln();
    let log_z = |scored: &Scored<X>| {
        let pairs = scored.log_target.iter().zip(&scored.log_prob);
        log_mean(&pairs.map(|(target, proposal)| target - proposal).collect::<Vec<_>>())
    };
    let weighed = scored.iter().zip(shares).map(|(scored, share)| log_z(scored) + share.ln());
    let log_z = log_sum_exp(&weighed.collect::<Vec<_>>());
    let proposals = spec.in_all_contexts(spec.sample.count);
    let most = log_z + (proposals as f64).ln();
    if log_beta > most {
        return Err(Error::BetaTooLarge { log_beta, proposals, most });
    }
    Ok(())
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
