//! Estimates of metrics from the numbers of all samples of a step.

use disco_core::{Error, Estimate, ImportanceWeights, Result};
use disco_divergence::{Comparison, Estimator, FDivergence, LogZ};

use super::{Metric, Metrics, values::SampleValues};
use crate::{
    gradient::{ContextSamples, SampleWeight, ZEstimate},
    problem::Problem,
};

/// The numbers of one context's samples from which metrics are estimated.
pub(crate) struct Measured<'a, X> {
    pub(crate) group: &'a ContextSamples<X>,
    /// `ln pi`, one per sample.
    pub(crate) log_policy: &'a [f64],
    /// The estimate of `Z` from earlier samples in the same context.
    pub(crate) earlier: ZEstimate,
    /// The values of all samples, those of other workers too.
    pub(crate) values: SampleValues,
    /// One value per statistic of the problem.
    pub(crate) statistics: Vec<f64>,
}

/// The divergences that are measured between two distributions.
const DIVERGENCES: [FDivergence; 4] =
    [FDivergence::KlForward, FDivergence::KlReverse, FDivergence::TotalVariation, FDivergence::JensenShannon];

/// Their names; `policy` and `other` are the names of pi and p in `D_f(pi||p)`.
pub(crate) fn divergence_names(policy: &str, other: &str, pair: &str) -> [String; 4] {
    [
        format!("kl_{other}_{policy}"),
        format!("kl_{policy}_{other}"),
        format!("tv_{pair}"),
        format!("js_{pair}"),
    ]
}

/// Estimates by name, one per context, until they are averaged.
#[derive(Default)]
struct Columns(std::collections::BTreeMap<String, Vec<Estimate>>);

impl Columns {
    fn push(&mut self, name: impl Into<String>, estimate: Estimate) {
        self.0.entry(name.into()).or_default().push(estimate);
    }

    /// `policy` and `other` are the names of pi and p in `D_f(pi||p)`.
    fn push_divergences(&mut self, policy: &str, other: &str, pair: &str, comparison: &Comparison) {
        for (name, found) in divergence_names(policy, other, pair).into_iter().zip(&comparison.divergences) {
            self.push(name, found.estimate);
        }
    }

    /// The mean over contexts of each column; errors add in squares, given the contexts.
    fn means(self) -> Metrics {
        let mean = |estimates: Vec<Estimate>| {
            let n = estimates.len() as f64;
            let value = estimates.iter().map(|estimate| estimate.value).sum::<f64>() / n;
            let variance: f64 = estimates.iter().map(|estimate| estimate.std_error.powi(2)).sum();
            let ess = estimates.iter().map(|estimate| estimate.ess).sum();
            Metric::from(Estimate { value, std_error: variance.sqrt() / n, ess })
        };
        self.0.into_iter().map(|(name, estimates)| (name, mean(estimates))).collect()
    }
}

/// All metrics of some groups of samples, each of at least one sample; `offline` says that a frozen proposal drew them.
///
/// # Errors
/// The position of the context where something failed, and the error; it names a sample by its number among all that
/// were drawn there.
pub(crate) fn measure<C, X>(
    problem: &Problem<'_, C, X>,
    measured: &[Measured<'_, X>],
    offline: bool,
) -> Result<Metrics, (usize, Error)> {
    let mut columns = Columns::default();
    let mut weights = Weights::default();
    for part in measured {
        context_columns(problem, part, offline, &mut columns, &mut weights)
            .map_err(|error| (part.group.context, part.group.numbered(error, 0)))?;
    }
    let mut metrics = columns.means();
    if let Some(largest) = weights.largest {
        metrics.insert("ess".into(), weights.ess.into());
        metrics.insert("ess_share".into(), (weights.ess / weights.samples as f64).into());
        metrics.insert("largest_weight_share".into(), largest.into());
    }
    Ok(metrics)
}

/// Statistics of the importance weights of all contexts together.
#[derive(Default)]
struct Weights {
    samples: usize,
    ess: f64,
    largest: Option<f64>,
}

/// Adds the estimates of one context.
fn context_columns<C, X>(
    problem: &Problem<'_, C, X>,
    part: &Measured<'_, X>,
    offline: bool,
    columns: &mut Columns,
    all: &mut Weights,
) -> Result<()> {
    let group = part.group;
    all.samples += group.len();
    let ratios = ImportanceWeights::new(part.log_policy, &group.log_proposal)?;
    let negative: Vec<f64> = part.log_policy.iter().map(|log_prob| -log_prob).collect();
    columns.push("entropy", under_policy(&ratios, &negative, offline)?);
    columns.push("outside_mass", outside_mass(part, offline)?);
    if group.successes() > 0 {
        let weights = ImportanceWeights::from_log(group.log_weights.clone())?;
        all.ess += weights.ess();
        all.largest = Some(all.largest.unwrap_or(0.0).max(weights.largest_share()));
        target_columns(columns, part, &weights, offline)?;
    }
    if let Some(log_base) = part.values.log_base(problem) {
        let comparison = Estimator::new(log_base, part.log_policy, &group.log_proposal)
            .and_then(|estimator| estimator.target_log_z(LogZ::Known(0.0)))
            .and_then(|estimator| estimator.estimate(&DIVERGENCES))
            .map_err(|cause| Error::failed("divergence from the base", cause))?;
        columns.push_divergences("policy", "base", "policy_base", &comparison);
    }
    for (at, feature) in problem.features.iter().enumerate() {
        moments(columns, feature.name(), part, part.values.feature(problem, at), offline)?;
    }
    if let Some(lengths) = part.values.lengths(problem) {
        columns.push("length", under_policy(&ratios, lengths, offline)?);
    }
    for ((name, _), &value) in problem.statistics.iter().zip(&part.statistics) {
        columns.push(format!("statistic/{name}"), Estimate { value, std_error: f64::INFINITY, ess: 1.0 });
    }
    Ok(())
}

/// The mean of one value per sample under the policy.
fn under_policy(ratios: &ImportanceWeights, values: &[f64], offline: bool) -> Result<Estimate> {
    if offline { ratios.mean(values) } else { Ok(Estimate::mean(values)) }
}

fn outside_mass<X>(part: &Measured<'_, X>, offline: bool) -> Result<Estimate> {
    let outside = |score: &f64| f64::from(u8::from(*score == f64::NEG_INFINITY));
    let outside: Vec<f64> = part.group.log_target.iter().map(outside).collect();
    under_policy(&ImportanceWeights::new(part.log_policy, &part.group.log_proposal)?, &outside, offline)
}

/// Adds the estimates that compare the target with policy and proposal.
fn target_columns<X>(
    columns: &mut Columns,
    part: &Measured<'_, X>,
    weights: &ImportanceWeights,
    offline: bool,
) -> Result<()> {
    let group = part.group;
    // An estimate of Z from at least as many earlier samples is taken as known. Otherwise these samples estimate it too,
    // and its error is part of the standard errors.
    let known = part.earlier.count >= group.len() as u64 && part.earlier.log_z() > f64::NEG_INFINITY;
    let log_z = if known { LogZ::Known(part.earlier.log_z()) } else { LogZ::Estimated };
    let compare = |log_policy: &[f64]| {
        Estimator::new(&group.log_target, log_policy, &group.log_proposal)
            .and_then(|estimator| estimator.target_log_z(log_z))
            .and_then(|estimator| estimator.estimate(&DIVERGENCES))
            .map_err(|cause| Error::failed("divergence from the target", cause))
    };
    let comparison = compare(part.log_policy)?;
    columns.push_divergences("policy", "target", "target_policy", &comparison);
    if known {
        let mass = comparison.target_mass;
        columns.push("missing_mass", Estimate { value: 1.0 - mass.value, ..mass });
    }
    if offline {
        columns.push_divergences("proposal", "target", "target_proposal", &compare(&group.log_proposal)?);
    }
    columns.push("log_z", weights.log_z());
    let running = part.earlier.and(group.z_estimate()).log_z();
    columns.push("log_z_running", Estimate { value: running, std_error: f64::INFINITY, ess: 1.0 });
    Ok(())
}

/// Adds a feature's mean under policy, proposal and target, over the samples that it did not skip.
fn moments<X>(
    columns: &mut Columns,
    name: &str,
    part: &Measured<'_, X>,
    found: &[f64],
    offline: bool,
) -> Result<()> {
    let group = part.group;
    let (mut values, mut ratios, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    for (at, &value) in found.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
        values.push(value);
        ratios.push(part.log_policy[at] - group.log_proposal[at]);
        weights.push(group.log_weights[at]);
    }
    if values.is_empty() {
        return Ok(());
    }
    if offline {
        columns.push(format!("moment/{name}/proposal"), Estimate::mean(&values));
    }
    let policy = under_policy(&ImportanceWeights::from_log(ratios)?, &values, offline)?;
    columns.push(format!("moment/{name}/policy"), policy);
    if weights.iter().any(|weight| *weight != f64::NEG_INFINITY) {
        let target = ImportanceWeights::from_log(weights)?.mean(&values)?;
        columns.push(format!("moment/{name}/target"), target);
    }
    Ok(())
}

/// Adds statistics of the samples' weights in the gradient.
pub(crate) fn weight_metrics(weights: &[SampleWeight], metrics: &mut Metrics) {
    let columns = [
        ("pseudo_reward", weights.iter().map(|sample| sample.pseudo_reward).collect::<Vec<f64>>()),
        ("advantage", weights.iter().map(|sample| -sample.weight).collect()),
    ];
    if weights.is_empty() {
        return;
    }
    let n = weights.len() as f64;
    for (name, values) in columns {
        let mean = Estimate::mean(&values);
        let variance = values.iter().map(|value| (value - mean.value).powi(2)).sum::<f64>() / n;
        metrics.insert(format!("{name}/mean"), mean.into());
        metrics.insert(format!("{name}/std"), variance.sqrt().into());
        metrics.insert(format!("{name}/min"), values.iter().copied().fold(f64::INFINITY, f64::min).into());
        metrics
            .insert(format!("{name}/max"), values.iter().copied().fold(f64::NEG_INFINITY, f64::max).into());
    }
    let cut: f64 = weights.iter().map(|sample| sample.cut).sum();
    if cut > 0.0 {
        let kept: f64 = weights.iter().map(|sample| sample.weight.abs()).sum();
        let share = if cut.is_finite() { cut / (cut + kept) } else { 1.0 };
        metrics.insert("cut_share".into(), share.into());
    }
}
