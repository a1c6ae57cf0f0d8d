//! The policy: brought to the target, and watched on its way.

use disco_core::{Contexts, Distribution, Feature};
use disco_ebm::Fit;
use disco_tuner::{
    Control, MicroBatch, Observer, ObserverError, Policy, Problem, Report, Schedule, Tuner, TunerConfig,
};

use crate::{
    Progress, ProgressTarget, Result,
    record::StepRecord,
    spec::{Spec, Target},
    text::{TextFeature, TextSample},
};

/// How the report writes the tuner's metrics.
const DIVERGENCES: [(&str, &str); 4] = [
    ("KL(p‖π)", "kl_target_policy"),
    ("KL(π‖p)", "kl_policy_target"),
    ("TV", "tv_target_policy"),
    ("JS", "js_target_policy"),
];

/// Tunes `policy` towards the fitted target; gives what was measured at each step.
pub(super) fn tune<X, B, P>(
    spec: &Spec,
    features: &[TextFeature],
    base: &B,
    fit: &Fit<String, X>,
    policy: &mut P,
    seed: u64,
    target: ProgressTarget,
) -> Result<Vec<StepRecord>>
where
    X: TextSample,
    B: Distribution<String, X>,
    P: Policy<String, X>,
{
    let contexts = Contexts::new(spec.contexts.clone())?;
    let ebm = fit.target(base);
    let mut problem = Problem::new(&contexts, &ebm)
        .with_features(features.iter().map(|feature| feature as &dyn Feature<String, X>))?
        .with_length(TextSample::token_count);
    if spec.features.iter().any(|feature| !matches!(feature.target, Target::Mean(_))) {
        problem = problem.with_hard_constraints();
    }
    let tuner = Tuner::new(config(spec, seed))?;
    let progress = Progress::new(target, "tune", "steps", spec.tune.steps);
    let mut watch = Watch { progress, features, records: Vec::new() };
    tuner.run(policy, &problem, &mut watch)?;
    Ok(watch.records)
}

fn config(spec: &Spec, seed: u64) -> TunerConfig {
    let tune = &spec.tune;
    TunerConfig {
        divergence: tune.divergence,
        steps: tune.steps as u64,
        samples_per_step: tune.samples_per_step,
        contexts_per_step: tune.contexts_per_step,
        seed,
        micro_batch: MicroBatch { samples: tune.micro_batch, tokens: None },
        optimizer: tune.optimizer.clone(),
        learning_rate: tune.learning_rate,
        schedule: Schedule { decay: tune.decay, warmup_steps: tune.warmup_steps as u64, floor: 0.0 },
        max_gradient_norm: tune.max_gradient_norm,
        metrics_every: 1,
        ..TunerConfig::default()
    }
}

/// Keeps what the report needs of each step.
struct Watch<'a> {
    progress: Progress,
    features: &'a [TextFeature],
    records: Vec<StepRecord>,
}

impl Observer for Watch<'_> {
    fn step(&mut self, report: &Report) -> std::result::Result<Control, ObserverError> {
        let metrics = &report.metrics;
        let moment =
            |feature: &TextFeature| metrics.get(&format!("moment/{}/policy", feature.name())).copied();
        let divergences = DIVERGENCES.iter().filter_map(|(name, key)| Some((*name, *metrics.get(*key)?)));
        let record = StepRecord {
            step: report.step as usize,
            moments: self.features.iter().map(moment).collect(),
            divergences: divergences.map(|(name, metric)| (name.to_owned(), metric)).collect(),
            tokens: (report.samples as f64 * metrics.get("length").map_or(0.0, |length| length.value)).round()
                as usize,
            ess: metrics.get("ess").map(|metric| metric.value),
            gradient_norm: report.gradient_norm,
            learning_rate: report.learning_rate,
        };
        self.progress.advance(1, || line(self.features, &record));
        self.records.push(record);
        Ok(Control::Continue)
    }
}

/// What the progress bar says: the means, and the total variation.
fn line(features: &[TextFeature], record: &StepRecord) -> String {
    let moments = features.iter().zip(&record.moments);
    let moments = moments.filter_map(|(feature, moment)| Some((feature.name(), moment.as_ref()?.value)));
    let distance = record.divergences.get("TV").map(|distance| ("TV", distance.value));
    let parts: Vec<String> =
        moments.chain(distance).map(|(name, value)| format!("{name} {value:.3}")).collect();
    parts.join("  ")
}
