//! Stage "reject": quasi-rejection sampling, with the tuned policy as proposal.

use std::ops::ControlFlow;

use disco_core::{Distribution, Estimate};
use disco_divergence::LogZ;
use disco_ebm::Fit;
use disco_qrs::{Budget, Curve, Draw, Goal, Point, Qrs, Ratios, RunConfig, Sampler, Statistics, choose_beta};

use super::{
    PolicySamples, RunPlan,
    scored::{Scored, Values, feature_means, mean, record, sentence, values},
};
use crate::{
    Error, Progress, Result,
    contexts::TextContext,
    features::TextSample,
    results::{QrsPoint, QrsRecord},
    spec::QrsGoal,
};

/// The number of values of beta on the curve.
const CURVE: usize = 48;
/// The number of proposals that are drawn and scored at once.
const BATCH: usize = 256;

/// Chooses beta from the samples of the policy, and draws as many new proposals as the spec says.
///
/// # Errors
/// The errors of policy, base and features; [`Error::NothingAccepted`].
///
/// # Cost
/// `sample.count` samples of the policy, scored by the base; text scorers score each proposal once, and accepted ones twice.
pub fn reject<X: TextSample>(
    plan: &RunPlan<'_>,
    base: &impl Distribution<TextContext, X>,
    fit: &Fit<TextContext, X>,
    policy: &impl Distribution<TextContext, X>,
    samples: &PolicySamples<X>,
) -> Result<QrsRecord> {
    let expected = Expected::at(plan.spec.sample.qrs, &samples.scored, &plan.shares)?;
    let log_beta = expected.point.log_beta;
    let (draws, statistics) = draw(plan, base, fit, policy, log_beta)?;
    let Some(acceptance_rate) = statistics.acceptance_rate().filter(|_| !draws.is_empty()) else {
        return Err(Error::NothingAccepted {
            proposals: statistics.proposals,
            log_beta,
            advice: match plan.spec.sample.qrs {
                QrsGoal::AcceptanceRate(_) => "larger `acceptance_rate`",
                QrsGoal::TotalVariation(_) => "larger `total_variation`",
                QrsGoal::LogBeta(_) => "smaller `log_beta`",
            },
        });
    };

    let contexts = &plan.spec.contexts.items;
    let values = values_of(plan, &draws)?;
    let mut by_context: Vec<Vec<&Values>> = contexts.iter().map(|_| Vec::new()).collect();
    draws.iter().zip(&values).for_each(|(draw, values)| by_context[draw.context].push(values));
    let means = feature_means(plan.features.len(), &by_context, &plan.shares);
    let Expected { point, kl_to_base, curve } = expected;
    let warnings = point.warnings.iter().chain(&curve.warnings);
    let points = curve.points.iter().map(|point| QrsPoint {
        log_beta: point.log_beta,
        acceptance_rate: point.acceptance_rate,
        total_variation: point.total_variation,
    });
    Ok(QrsRecord {
        log_beta,
        proposals: statistics.proposals as usize,
        accepted: draws.len(),
        acceptance_rate,
        total_variation: point.total_variation,
        curve: points.collect(),
        warnings: warnings.map(|warning| sentence(&warning.to_string())).collect(),
        means,
        distances: vec![point.forward_kl, point.reverse_kl, point.total_variation, point.jensen_shannon],
        kl_from_base: kl_to_base,
        skipped: statistics.skipped as usize,
        samples: draws
            .iter()
            .zip(values)
            .map(|(draw, values)| record(&contexts[draw.context], &draw.value, draw.log_score, values))
            .collect(),
    })
}

/// The values of all features for accepted samples, in their order.
fn values_of<X: TextSample>(plan: &RunPlan<'_>, draws: &[Draw<X>]) -> Result<Vec<Values>> {
    let mut found: Vec<Values> = vec![Values::new(); draws.len()];
    for (index, context) in plan.spec.contexts.items.iter().enumerate() {
        let own: Vec<usize> = (0..draws.len()).filter(|&draw| draws[draw].context == index).collect();
        let samples: Vec<&X> = own.iter().map(|&draw| &draws[draw].value).collect();
        for (draw, values) in own.into_iter().zip(values(&plan.features, context, &samples)?) {
            found[draw] = values;
        }
    }
    Ok(found)
}

/// The expected result of quasi-rejection sampling, at the chosen beta and at others.
struct Expected {
    /// The expected result at the chosen beta.
    point: Point,
    /// KL to the base at the chosen beta.
    kl_to_base: Estimate,
    curve: Curve,
}

impl Expected {
    /// Chooses beta from scored samples of the policy.
    fn at<X: TextSample>(goal: QrsGoal, scored: &[Scored<X>], shares: &[f64]) -> Result<Self> {
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
        let kl_to_base = mean(&scored.iter().map(kl).collect::<Result<Vec<_>>>()?, shares);
        Ok(Self { kl_to_base, curve: Curve::mean(&curves)?, point })
    }
}

/// Values of `ln beta` at equal distances, over the range that matters in some context.
fn grid(ratios: &[Ratios]) -> Result<Vec<f64>> {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for ratios in ratios {
        let ends = ratios.grid(2)?;
        (low, high) = (low.min(ends[0]), high.max(ends[1]));
    }
    Ok((0..CURVE).map(|index| low + (high - low) * index as f64 / (CURVE - 1) as f64).collect())
}

/// Draws as many proposals as the spec says; returns the accepted ones.
fn draw<X: TextSample>(
    plan: &RunPlan<'_>,
    base: &impl Distribution<TextContext, X>,
    fit: &Fit<TextContext, X>,
    policy: &impl Distribution<TextContext, X>,
    log_beta: f64,
) -> Result<(Vec<Draw<X>>, Statistics)> {
    let contexts = plan.spec.contexts.items.clone();
    let log_betas = vec![log_beta; contexts.len()];
    let per_context = plan.spec.per_context(plan.spec.sample.count);
    let mut progress = Progress::new(plan.progress, "reject", "proposals", per_context * contexts.len());
    let mut seen = 0;
    let config = RunConfig {
        seed: plan.seeds.reject,
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
    Ok((draws, statistics))
}
