//! The choice of beta for quasi-rejection sampling, one for all contexts or one for each, and what is expected of it.

use disco_core::Estimate;
use disco_divergence::LogZ;
use disco_qrs::{Curve, Point, Ratios, Warning, choose_beta};

use super::{
    PolicySamples, RunPlan,
    moments::{ContextValues, moments},
    scored::{Scored, mean, sentence},
};
use crate::{Result, features::TextSample, results::QrsPoint};

/// The number of values of beta on the curve.
const CURVE: usize = 48;

/// The chosen betas, and what the samples of the policy say of them.
pub(super) struct Betas {
    /// `ln beta` of each context.
    pub(super) log_betas: Vec<f64>,
    /// The divergences to the target, in the order of the record.
    pub(super) distances: Vec<Estimate>,
    pub(super) total_variation: Estimate,
    pub(super) acceptance_rate: Estimate,
    pub(super) kl_to_base: Estimate,
    /// Acceptance rate and total variation for other values of beta: in each context by the same factor above or below its own.
    pub(super) curve: Vec<QrsPoint>,
    pub(super) warnings: Vec<String>,
}

impl Betas {
    /// Chooses beta from scored samples of the policy: one for each context where targets hold in each, or contexts have
    /// weights; else one for all.
    pub(super) fn choose<X: TextSample>(plan: &RunPlan<'_>, scored: &[Scored<X>]) -> Result<Self> {
        let ratios: Vec<Ratios> = scored.iter().map(Scored::ratios).collect::<Result<_>>()?;
        let log_betas = log_betas(plan, &ratios)?;
        let points: Vec<Point> = ratios
            .iter()
            .zip(&log_betas)
            .map(|(ratios, log_beta)| Ok(ratios.point(*log_beta)?))
            .collect::<Result<_>>()?;
        let over =
            |of: fn(&Point) -> Estimate| mean(&points.iter().map(of).collect::<Vec<_>>(), &plan.shares);
        let kl = |(scored, log_beta): (&Scored<X>, &f64)| {
            scored.kl_to_base(&log_accepted(scored, *log_beta), LogZ::Estimated)
        };
        let kls: Vec<Estimate> = scored.iter().zip(&log_betas).map(kl).collect::<Result<_>>()?;
        let (curve, curves) = curve(plan, &ratios, &log_betas)?;
        let at_beta = Point::mean(&points)?.warnings;
        let warnings = Warning::worst(at_beta.iter().chain(curves.iter().flat_map(|curve| &curve.warnings)));
        Ok(Self {
            total_variation: over(|point| point.total_variation),
            acceptance_rate: over(|point| point.acceptance_rate),
            distances: vec![
                over(|point| point.forward_kl),
                over(|point| point.reverse_kl),
                over(|point| point.total_variation),
                over(|point| point.jensen_shannon),
            ],
            kl_to_base: mean(&kls, &plan.shares),
            curve,
            warnings: warnings.iter().map(|warning| sentence(&warning.to_string())).collect(),
            log_betas,
        })
    }

    /// The means of all measures over accepted proposals, as the samples of the policy that chose beta predict them.
    pub(super) fn predicted_means<X>(
        &self,
        plan: &RunPlan<'_>,
        samples: &PolicySamples<X>,
    ) -> Result<Vec<Estimate>> {
        let mut values = Vec::with_capacity(samples.scored.len());
        for ((scored, rows), log_beta) in samples.scored.iter().zip(&samples.values).zip(&self.log_betas) {
            let accepted = log_accepted(scored, *log_beta).into_iter();
            let log_weights =
                accepted.zip(&scored.drawn.log_proposal).map(|(accepted, proposal)| accepted - proposal);
            values.push(ContextValues {
                rows: rows.iter().collect(),
                log_weights: Some(log_weights.collect()),
                exact: scored.drawn.exact,
            });
        }
        Ok(moments(plan, &values)?.all)
    }

    /// The mean of `ln beta` over contexts, by their shares.
    pub(super) fn mean_log_beta(&self, shares: &[f64]) -> f64 {
        over_contexts(&self.log_betas, shares)
    }
}

/// `ln min(P, beta q)`, the unnormalised distribution of accepted proposals.
fn log_accepted<X>(scored: &Scored<X>, log_beta: f64) -> Vec<f64> {
    let pairs = scored.log_target.iter().zip(&scored.drawn.log_policy);
    pairs.map(|(target, proposal)| target.min(log_beta + proposal)).collect()
}

/// The mean of numbers over contexts, by their shares.
fn over_contexts(numbers: &[f64], shares: &[f64]) -> f64 {
    numbers.iter().zip(shares).map(|(number, share)| number * share).sum()
}

fn log_betas(plan: &RunPlan<'_>, ratios: &[Ratios]) -> Result<Vec<f64>> {
    let goal = match plan.spec.sample.qrs.of_ratios() {
        Ok(goal) => goal,
        Err(log_beta) => return Ok(vec![log_beta; ratios.len()]),
    };
    let is_per_context = plan.spec.features.iter().any(|feature| feature.per_context);
    if is_per_context || plan.spec.contexts.weights.is_some() {
        return ratios.iter().map(|ratios| Ok(ratios.choose(goal)?.log_beta)).collect();
    }
    Ok(vec![choose_beta(ratios, goal)?.log_beta; ratios.len()])
}

/// The curve over factors of the chosen betas, over the range that matters in some context; and each context's own curve.
fn curve(plan: &RunPlan<'_>, ratios: &[Ratios], log_betas: &[f64]) -> Result<(Vec<QrsPoint>, Vec<Curve>)> {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for (ratios, log_beta) in ratios.iter().zip(log_betas) {
        let ends = ratios.grid(2)?;
        (low, high) = (low.min(ends[0] - log_beta), high.max(ends[1] - log_beta));
    }
    let shift = |index: usize| low + (high - low) * index as f64 / (CURVE - 1) as f64;
    let own = |(ratios, log_beta): (&Ratios, &f64)| {
        let grid: Vec<f64> = (0..CURVE).map(|index| log_beta + shift(index)).collect();
        Ok(ratios.curve(&grid)?)
    };
    let curves: Vec<Curve> = ratios.iter().zip(log_betas).map(own).collect::<Result<_>>()?;
    let centre = over_contexts(log_betas, &plan.shares);
    let point = |index: usize| {
        let over = |of: fn(&Point) -> Estimate| {
            mean(&curves.iter().map(|curve| of(&curve.points[index])).collect::<Vec<_>>(), &plan.shares)
        };
        QrsPoint {
            log_beta: centre + shift(index),
            acceptance_rate: over(|point| point.acceptance_rate),
            total_variation: over(|point| point.total_variation),
        }
    };
    Ok(((0..CURVE).map(point).collect(), curves))
}
