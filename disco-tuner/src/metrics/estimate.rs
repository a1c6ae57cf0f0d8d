//! Estimates of metrics from the numbers of all samples of a step.

use disco_core::{Error as CoreError, Estimate, ImportanceWeights, Result, numerics::log_sum_exp};
use disco_divergence::{Comparison, Estimator, FDivergence, LogZ};

use super::{
    Metrics, Note,
    values::{FeatureValue, SampleValues},
};
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

/// Where the samples come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The policy drew them.
    Policy,
    /// A frozen proposal drew them.
    Proposal,
    /// They are all outcomes, each once: means over them, weighted by `pi/q` with `q = 1/n`, are sums over the space.
    Enumerated,
}

/// The distance from 1 that a distribution's probabilities of all outcomes may have. A model that computes in f32 stays well
/// within it, and an outcome that is missing without passing it is too rare to matter to the gradient.
pub(crate) const MASS_TOLERANCE: f64 = 1e-4;

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

/// An estimate, or the reason why there is none.
type Found = std::result::Result<Estimate, String>;

/// The importance weights `policy / proposal` of samples; `None` where the policy itself drew them.
type Ratios = Option<Result<ImportanceWeights>>;

/// Estimates by name, one per context, until they are averaged; and notes on those that are NaN.
#[derive(Default)]
struct Columns {
    estimates: std::collections::BTreeMap<String, Vec<Estimate>>,
    notes: Vec<Note>,
}

/// An estimate that is not known.
const UNKNOWN: Estimate = Estimate { value: f64::NAN, std_error: f64::INFINITY, ess: 1.0 };

impl Columns {
    /// Adds the estimate of a context. A failure is a NaN with a note, since metrics are only shown.
    fn push(&mut self, context: usize, name: impl Into<String>, estimate: Found) {
        let name = name.into();
        match &estimate {
            Ok(estimate) if !estimate.value.is_nan() => {}
            Ok(_) => self.notes.push(Note::metric(Some(context), &name, "its samples give it no value")),
            Err(reason) => self.notes.push(Note::metric(Some(context), &name, reason)),
        }
        self.push_noted(name, estimate);
    }

    /// As [`push`](Self::push), where a note says already why it may be NaN.
    fn push_noted(&mut self, name: String, estimate: Found) {
        self.estimates.entry(name).or_default().push(estimate.unwrap_or(UNKNOWN));
    }

    /// Adds the divergences of a pair; `names` are those of [`divergence_names`].
    fn push_divergences(
        &mut self,
        context: usize,
        names: [String; 4],
        comparison: &disco_divergence::Result<Comparison>,
    ) {
        match comparison {
            Ok(comparison) => {
                let estimates = comparison.divergences.iter().map(|found| Ok(found.estimate));
                names.into_iter().zip(estimates).for_each(|(name, found)| self.push(context, name, found));
            }
            Err(error) => {
                self.notes.push(Note::metric(Some(context), &names.join(", "), &error.to_string()));
                names.into_iter().for_each(|name| self.push_noted(name, Ok(UNKNOWN)));
            }
        }
    }

    /// The mean over contexts of each column, and the notes; errors add in squares, given the contexts.
    fn means(mut self) -> (Metrics, Vec<Note>) {
        let mut metrics = Metrics::new();
        for (name, estimates) in self.estimates {
            let n = estimates.len() as f64;
            let value = estimates.iter().map(|estimate| estimate.value).sum::<f64>() / n;
            let variance: f64 = estimates.iter().map(|estimate| estimate.std_error.powi(2)).sum();
            let ess = estimates.iter().map(|estimate| estimate.ess).sum();
            if value.is_nan() && !estimates.iter().any(|estimate| estimate.value.is_nan()) {
                self.notes.push(Note::metric(None, &name, "it has no mean over the contexts"));
            }
            metrics.insert(name, Estimate { value, std_error: variance.sqrt() / n, ess }.into());
        }
        (metrics, self.notes)
    }
}

/// All metrics of some groups of samples, each of at least one sample, and notes on them.
pub(crate) fn measure<C, X>(
    problem: &Problem<'_, C, X>,
    measured: &[Measured<'_, X>],
    source: Source,
) -> (Metrics, Vec<Note>) {
    let mut columns = Columns::default();
    let mut weights = Weights::default();
    for part in measured {
        context_columns(problem, part, source, &mut columns, &mut weights);
    }
    let (mut metrics, notes) = columns.means();
    if source == Source::Enumerated {
        let known = metrics.values_mut().filter(|metric| !metric.value.is_nan());
        known.for_each(|metric| metric.std_error = Some(0.0));
        return (metrics, notes);
    }
    if let Some(largest) = weights.largest {
        metrics.insert("ess".into(), weights.ess.into());
        metrics.insert("ess_share".into(), (weights.ess / weights.samples as f64).into());
        metrics.insert("largest_weight_share".into(), largest.into());
    }
    (metrics, notes)
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
    source: Source,
    columns: &mut Columns,
    all: &mut Weights,
) {
    let group = part.group;
    let at = group.context;
    all.samples += group.len();
    let ratios =
        (source != Source::Policy).then(|| ImportanceWeights::new(part.log_policy, &group.log_proposal));
    let negative: Vec<f64> = part.log_policy.iter().map(|log_prob| -log_prob).collect();
    columns.push(at, "entropy", under_policy(&ratios, &negative));
    let outside: Vec<f64> =
        group.log_target.iter().map(|score| f64::from(u8::from(*score == f64::NEG_INFINITY))).collect();
    columns.push(at, "outside_mass", under_policy(&ratios, &outside));
    if let Ok(weights) = ImportanceWeights::from_log(group.log_weights.clone()) {
        all.ess += weights.ess();
        all.largest = Some(all.largest.unwrap_or(0.0).max(weights.largest_share()));
        target_columns(columns, part, &weights, source);
    }
    if let Some(log_base) = part.values.log_base(problem) {
        let comparison = check_base(source, log_base)
            .and_then(|()| Estimator::new(log_base, part.log_policy, &group.log_proposal))
            .and_then(|estimator| estimator.target_log_z(LogZ::Known(0.0)))
            .and_then(|estimator| estimator.estimate(&DIVERGENCES));
        columns.push_divergences(at, divergence_names("policy", "base", "policy_base"), &comparison);
    }
    for (number, feature) in problem.features.iter().enumerate() {
        moments(columns, feature.name(), part, part.values.feature(problem, number), source);
    }
    if let Some(lengths) = part.values.lengths(problem) {
        columns.push(at, "length", under_policy(&ratios, lengths));
    }
    for ((name, _), &value) in problem.statistics.iter().zip(&part.statistics) {
        columns.push(at, format!("statistic/{name}"), Ok(without_error(value)));
    }
}

/// Refuses a base that gives probability to outcomes outside of the space: the sum over the space would lack them.
fn check_base(source: Source, log_base: &[f64]) -> disco_divergence::Result<()> {
    let mass = log_sum_exp(log_base).exp();
    if source != Source::Enumerated || mass.is_nan() || (mass - 1.0).abs() <= MASS_TOLERANCE {
        return Ok(());
    }
    let field = "sum of the base's probabilities over the space";
    Err(CoreError::invalid(field, mass, "1, within 1e-4").into())
}

/// A number that is known without knowing its error.
fn without_error(value: f64) -> Estimate {
    Estimate { value, std_error: f64::INFINITY, ess: 1.0 }
}

/// The mean of one value per sample under the policy.
fn under_policy(ratios: &Ratios, values: &[f64]) -> Found {
    match ratios {
        None => Ok(Estimate::mean(values)),
        Some(Ok(ratios)) => ratios.mean(values).map_err(|error| error.to_string()),
        Some(Err(error)) => Err(error.to_string()),
    }
}

/// Adds the estimates that compare the target with policy and proposal.
fn target_columns<X>(
    columns: &mut Columns,
    part: &Measured<'_, X>,
    weights: &ImportanceWeights,
    source: Source,
) {
    let group = part.group;
    let at = group.context;
    // An estimate of Z from at least as many earlier samples is taken as known. Otherwise these samples estimate it too,
    // and its error is part of the standard errors.
    let known = part.earlier.count >= group.len() as u64 && part.earlier.log_z() > f64::NEG_INFINITY;
    let log_z = if known { LogZ::Known(part.earlier.log_z()) } else { LogZ::Estimated };
    let compare = |log_policy: &[f64]| {
        Estimator::new(&group.log_target, log_policy, &group.log_proposal)
            .and_then(|estimator| estimator.target_log_z(log_z))
            .and_then(|estimator| estimator.estimate(&DIVERGENCES))
    };
    let comparison = compare(part.log_policy);
    columns.push_divergences(at, divergence_names("policy", "target", "target_policy"), &comparison);
    if known {
        let missing = comparison.map_or(UNKNOWN, |comparison| {
            let mass = comparison.target_mass;
            Estimate { value: 1.0 - mass.value, ..mass }
        });
        columns.push_noted("missing_mass".into(), Ok(missing));
    }
    if source == Source::Proposal {
        let names = divergence_names("proposal", "target", "target_proposal");
        columns.push_divergences(at, names, &compare(&group.log_proposal));
    }
    columns.push(at, "log_z", Ok(weights.log_z()));
    if source == Source::Enumerated {
        return;
    }
    columns.push(at, "log_z_running", Ok(without_error(part.earlier.and(group.z_estimate()).log_z())));
}

/// Adds a feature's mean under policy, proposal and target, over the samples that neither it nor the target skipped.
fn moments<X>(
    columns: &mut Columns,
    name: &str,
    part: &Measured<'_, X>,
    found: impl Iterator<Item = FeatureValue>,
    source: Source,
) {
    let group = part.group;
    let (mut values, mut ratios, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    for (at, value) in found.enumerate() {
        values.push(match value {
            FeatureValue::Skipped => continue,
            // The evaluation of the feature left a note on it.
            FeatureValue::NotFinite => f64::NAN,
            FeatureValue::Finite(value) => value,
        });
        ratios.push(part.log_policy[at] - group.log_proposal[at]);
        weights.push(group.log_weights[at]);
    }
    let is_noted = values.iter().any(|value| value.is_nan());
    let mut push = |whose: &str, estimate| {
        let name = format!("moment/{name}/{whose}");
        if is_noted {
            columns.push_noted(name, estimate)
        } else {
            columns.push(group.context, name, estimate)
        }
    };
    if values.is_empty() {
        return;
    }
    if source == Source::Proposal {
        push("proposal", Ok(Estimate::mean(&values)));
    }
    push(
        "policy",
        under_policy(&(source != Source::Policy).then(|| ImportanceWeights::from_log(ratios)), &values),
    );
    if weights.iter().any(|weight| *weight != f64::NEG_INFINITY) {
        let mean = ImportanceWeights::from_log(weights).and_then(|weights| weights.mean(&values));
        push("target", mean.map_err(|error| error.to_string()));
    }
}

/// Adds statistics of the samples' weights in the gradient: of outcomes that were `enumerated` only the share that limits
/// clipped, since nothing is estimated from them.
pub(crate) fn weight_metrics(weights: &[SampleWeight], enumerated: bool, metrics: &mut Metrics) {
    let columns = [
        ("pseudo_reward", weights.iter().map(|sample| sample.pseudo_reward).collect::<Vec<f64>>()),
        ("advantage", weights.iter().map(|sample| -sample.weight).collect()),
    ];
    if weights.is_empty() {
        return;
    }
    let n = weights.len() as f64;
    for (name, values) in columns.into_iter().filter(|_| !enumerated) {
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
