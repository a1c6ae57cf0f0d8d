//! The number of samples and the seconds of each stage, from the seconds of one sample.

use disco_tuner::Sampling;

use super::{DryStages, probe::Probe};
use crate::{
    features::TextSample,
    results::StageCost,
    spec::{QrsGoal, Spec},
};

/// The seconds of a sample.
#[derive(Clone, Copy, Debug)]
struct Rates {
    draw: f64,
    /// Drawn from the policy.
    policy: f64,
    score: f64,
    /// All features, in a stage that computes them again for its record: the values of one context are remembered, not of several.
    features: f64,
    gradient: f64,
}

/// The stages of a run, with their numbers of samples and seconds. The fit is not among them.
pub(super) fn stage_costs<X: TextSample>(
    spec: &Spec,
    stages: &DryStages,
    probe: &Probe<X>,
) -> Vec<StageCost> {
    let [policy, gradient] = probe.policy.unwrap_or([probe.draw, 0.0]);
    let times = if spec.contexts.items.len() > 1 { 2.0 } else { 1.0 };
    let Probe { draw, score, features, .. } = *probe;
    let rates = Rates { draw, policy, score, features: times * features, gradient };
    let listed = probe.listed();
    let mut costs = Vec::new();
    let mut add = |name, samples: [usize; 2], of_sample: f64| {
        costs.push(StageCost { name, samples, seconds: samples.map(|count| count as f64 * of_sample) });
    };
    let drawn =
        |total: usize| listed.map_or(spec.in_all_contexts(total), |count| count * spec.contexts.items.len());
    if stages.measure() {
        let count = match stages {
            DryStages::Measure(shard) if listed.is_none() => {
                shard.range(spec.per_context(spec.fit.samples)).len() * spec.contexts.items.len()
            }
            _ => drawn(spec.fit.samples),
        };
        // The base scores the samples of a proposal for the fit and for the record.
        let scored = if probe.is_of_proposal() { 2.0 * rates.score } else { 0.0 };
        add("measure base", [count; 2], rates.draw + rates.features + scored);
    }
    if stages.tunes(spec) {
        let of_step = listed.map_or(spec.tune.samples_per_step, |count| count * spec.tune.contexts_per_step);
        add("tune", [spec.tune.steps * of_step; 2], of_step_sample(spec, rates));
        if let Some(validation) = &spec.tune.validation {
            let times = (spec.tune.steps as u64).div_ceil(validation.every.max(1)) as usize;
            let count = times * spec.contexts.held_out.len() * validation.samples;
            add("validation", [count; 2], rates.policy + rates.score + rates.features);
        }
    }
    if let DryStages::Run = stages {
        let count = drawn(spec.sample.count);
        add("sample and score", [count; 2], rates.policy + rates.score + rates.features);
        if !spec.contexts.held_out.is_empty() {
            let held_out = spec.contexts.held_out.len();
            let count = 2 * held_out * spec.sample.count.div_ceil(held_out).max(2);
            let of_sample = (rates.draw + rates.policy + rates.score) / 2.0 + rates.features;
            add("held out", [count; 2], of_sample);
        }
        add("reject", proposals(spec), rates.policy + rates.score + rates.features);
    }
    costs
}

impl DryStages {
    /// Whether the base is measured.
    fn measure(&self) -> bool {
        matches!(self, Self::Run | Self::Measure(_))
    }
}

/// The seconds of a sample of a step.
fn of_step_sample(spec: &Spec, rates: Rates) -> f64 {
    let passes = (spec.tune.epochs * (1 + spec.tune.replay)) as f64;
    // Samples of a proposal are scored by the policy as well.
    let offline = if matches!(spec.tune.sampling, Sampling::Offline { .. }) { rates.score } else { 0.0 };
    rates.policy + rates.score + offline + rates.features + passes * rates.gradient
}

/// The least and the largest number of proposals.
fn proposals(spec: &Spec) -> [usize; 2] {
    let most = spec.in_all_contexts(spec.sample.most_proposals());
    let Some(accepted) = spec.sample.accepted else { return [most; 2] };
    let accepted = spec.in_all_contexts(accepted);
    match spec.sample.qrs {
        QrsGoal::AcceptanceRate(rate) => [((accepted as f64 / rate).ceil() as usize).min(most); 2],
        QrsGoal::TotalVariation(_) | QrsGoal::LogBeta(_) => [accepted.min(most), most],
    }
}
