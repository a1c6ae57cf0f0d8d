//! Stage "fit": the target, whose constraints are fitted to samples of the base.

use std::sync::Arc;

use disco_core::{Estimate, Feature, numerics::log_sum_exp};
use disco_ebm::{Constraint, ConstraintKind, ConstraintReport, Fit, HeldOut, Termination};

use super::{
    Measurement, RunPlan,
    scored::{Scored, means, score, sentence},
};
use crate::{
    Error, Progress, ProgressTarget, Result,
    contexts::TextContext,
    features::{TextFeature, TextSample},
    results::{FitRecord, FittedFeature, TargetRecord},
    spec::{FeatureSpec, QrsGoal, Spec, Target},
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
    let constraint = |(feature, text): (&FeatureSpec, &TextFeature)| {
        let kind = match feature.target {
            Target::Always => ConstraintKind::Pointwise { wanted: true },
            Target::Never => ConstraintKind::Pointwise { wanted: false },
            Target::Mean(target) => ConstraintKind::Moment { target, tolerance: 0.0 },
        };
        let text: Arc<dyn Feature<TextContext, X>> = Arc::new(text.clone());
        Ok(Constraint::new(text, kind)?)
    };
    let constraints: Vec<_> =
        spec.features.iter().zip(&plan.features).map(constraint).collect::<Result<_>>()?;
    let fit = base.measured.fit(&constraints, &spec.fit.config())?;

    let mut hidden = Progress::new(ProgressTarget::Hidden, "", "", 0);
    let of_base = |_: &TextContext, _: &[&X], log_prob: &[f64]| Ok(log_prob.to_vec());
    let scored = score(&spec.contexts.items, base.samples.clone(), of_base, fit.tilt(), &mut hidden)?;
    check_log_beta(spec, &scored, &plan.shares)?;
    let distances: Vec<Vec<Estimate>> =
        scored.iter().map(Scored::distances_to_target).collect::<Result<_>>()?;
    let feature = |(spec, report): (&FeatureSpec, &ConstraintReport)| FittedFeature {
        coefficient: report.coefficient.filter(|_| matches!(spec.target, Target::Mean(_))),
        fitted: report.achieved,
        held_out: report.held_out,
    };
    let record = TargetRecord {
        fit: fit_record(spec, &fit),
        features: spec.features.iter().zip(&fit.report().constraints).map(feature).collect(),
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
