//! Quasi-rejection sampling, with the tuned policy as proposal.

use std::ops::ControlFlow;

use disco_core::{Distribution, Estimate};
use disco_divergence::LogZ;
use disco_ebm::Fit;
use disco_qrs::{Budget, Curve, Draw, Goal, Point, Qrs, Ratios, RunConfig, Sampler, choose_beta};

use super::{
    scored::{Scored, mean},
    sentence,
};
use crate::{
    Error, Progress, ProgressTarget, Result,
    record::{QrsPoint, QrsRecord},
    spec::{QrsGoal, Spec},
    text::TextSample,
};

/// How many values of beta the curve has.
const CURVE: usize = 48;
/// How many proposals are drawn and scored at once.
const BATCH: usize = 256;

/// Beta, with what samples of the policy say of it and of others.
pub(super) struct Planned {
    /// What is to be expected at the chosen beta.
    pub(super) point: Point,
    /// KL to the base at the chosen beta.
    pub(super) kl_to_base: Estimate,
    curve: Curve,
}

/// Chooses beta from scored samples of the policy.
pub(super) fn plan<X: TextSample>(goal: QrsGoal, scored: &[Scored<X>]) -> Result<Planned> {
    let ratios: Vec<Ratios> = scored
        .iter()
        .map(|scored| Ratios::new(&scored.log_target, &scored.log_prob))
        .collect::<std::result::Result<_, _>>()?;
    let at = |log_beta| -> Result<Point> {
        let points: Vec<Point> =
            ratios.iter().map(|ratios| ratios.point(log_beta)).collect::<std::result::Result<_, _>>()?;
        Ok(Point::mean(&points)?)
    };
    let point = match goal {
        QrsGoal::AcceptanceRate(rate) => choose_beta(&ratios, Goal::AcceptanceRate(rate))?.point,
        QrsGoal::TotalVariation(distance) => choose_beta(&ratios, Goal::TotalVariation(distance))?.point,
        QrsGoal::LogBeta(log_beta) => at(log_beta)?,
    };
    let grid = grid(&ratios)?;
    let curves: Vec<Curve> =
        ratios.iter().map(|ratios| ratios.curve(&grid)).collect::<std::result::Result<_, _>>()?;
    let kl = |scored: &Scored<X>| {
        let pairs = scored.log_target.iter().zip(&scored.log_prob);
        let accepted: Vec<f64> =
            pairs.map(|(target, proposal)| target.min(point.log_beta + proposal)).collect();
        scored.kl_to_base(&accepted, LogZ::Estimated)
    };
    let kl_to_base = mean(&scored.iter().map(kl).collect::<Result<Vec<_>>>()?);
    Ok(Planned { kl_to_base, curve: Curve::mean(&curves)?, point })
}

/// Values of `ln beta` at equal distances that span those that matter in every context.
fn grid(ratios: &[Ratios]) -> Result<Vec<f64>> {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for ratios in ratios {
        let ends = ratios.grid(2)?;
        (low, high) = (low.min(ends[0]), high.max(ends[1]));
    }
    Ok((0..CURVE).map(|index| low + (high - low) * index as f64 / (CURVE - 1) as f64).collect())
}

/// Draws as many new proposals as the spec says, and keeps what is accepted.
pub(super) fn reject<X, B, Q>(
    spec: &Spec,
    base: &B,
    fit: &Fit<String, X>,
    policy: &Q,
    planned: &Planned,
    seed: u64,
    target: ProgressTarget,
) -> Result<(Vec<Draw<X>>, QrsRecord)>
where
    X: TextSample,
    B: Distribution<String, X>,
    Q: Distribution<String, X>,
{
    let contexts = spec.contexts.clone();
    let log_beta = planned.point.log_beta;
    let log_betas = vec![log_beta; contexts.len()];
    let per_context = spec.per_context(spec.sample.count);
    let mut progress = Progress::new(target, "reject", "proposals", per_context * contexts.len());
    let mut seen = 0;
    let config = RunConfig {
        seed,
        batch: BATCH.div_ceil(contexts.len()),
        budget: Budget::proposals(per_context as u64),
    };
    let mut sampler =
        Qrs::each(policy, fit.target(base), contexts, log_betas, config)?.on_batch(move |statistics| {
            progress.advance((statistics.proposals - seen) as usize, || {
                format!("{} accepted", statistics.accepted)
            });
            seen = statistics.proposals;
            ControlFlow::Continue(())
        });
    let draws: Vec<Draw<X>> = sampler.by_ref().collect::<std::result::Result<_, _>>()?;
    let statistics = sampler.statistics();
    let Some(acceptance_rate) = statistics.acceptance_rate().filter(|_| !draws.is_empty()) else {
        return Err(Error::NothingAccepted { proposals: statistics.proposals, log_beta });
    };
    let warnings = planned
        .point
        .warnings
        .iter()
        .chain(&planned.curve.warnings)
        .map(|warning| sentence(&warning.to_string()));
    let curve = planned.curve.points.iter().map(|point| QrsPoint {
        log_beta: point.log_beta,
        acceptance_rate: point.acceptance_rate,
        total_variation: point.total_variation,
    });
    let record = QrsRecord {
        log_beta,
        proposals: statistics.proposals as usize,
        accepted: draws.len(),
        acceptance_rate,
        total_variation: planned.point.total_variation,
        curve: curve.collect(),
        warnings: warnings.collect(),
    };
    Ok((draws, record))
}
