//! The target: constraints fitted to samples of the base.

use std::sync::Arc;

use disco_core::{Feature, Sampled};
use disco_ebm::{Constraint, ConstraintKind, Fit, FitConfig, HeldOut, Measured, Termination, features};

use super::sentence;
use crate::{
    Result,
    record::FitRecord,
    spec::{FeatureSpec, Spec, Target},
    text::{TextFeature, TextSample},
};

/// Fits the spec's constraints to samples of the base, those of each context together.
pub(super) fn fit<X: TextSample>(
    spec: &Spec,
    text_features: &[TextFeature],
    samples: Vec<Vec<Sampled<X>>>,
) -> Result<Fit<String, X>> {
    let constraint = |(feature, text): (&FeatureSpec, &TextFeature)| {
        let kind = match feature.target {
            Target::Always => ConstraintKind::Pointwise { wanted: true },
            Target::Never => ConstraintKind::Pointwise { wanted: false },
            Target::Mean(target) => ConstraintKind::Moment { target, tolerance: 0.0 },
        };
        let text: Arc<dyn Feature<String, X>> = Arc::new(text.clone());
        Ok(Constraint::new(text, kind)?)
    };
    let constraints: Vec<_> =
        spec.features.iter().zip(text_features).map(constraint).collect::<Result<_>>()?;
    let measured = Measured::from_base(spec.contexts.clone(), samples, &features(&constraints))?;
    let config = FitConfig { held_out: spec.fit.held_out, ..FitConfig::default() };
    Ok(measured.fit(&constraints, &config)?)
}

/// How the fit went, in the words of the report.
pub(super) fn record<X>(spec: &Spec, fit: &Fit<String, X>) -> FitRecord {
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
            Termination::Stalled => "no step lowers the residual any more".into(),
            Termination::IterationLimit => "the limit of steps".into(),
            other => format!("{other:?}"),
        },
        warnings,
    }
}
