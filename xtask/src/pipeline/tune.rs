//! The policy: brought to the target, and watched on its way.

use disco_core::{Contexts, Distribution, Feature};
use disco_ebm::Fit;
use disco_tuner::{
    Checkpoints, Control, EarlyStopping, MicroBatch, Observer, ObserverError, Policy, Problem, Report,
    Schedule, Stage, StopFlag, Tuner, TunerConfig,
};
use serde::{Serialize, de::DeserializeOwned};

use super::step_log::StepLog;
use crate::{
    Error, Kept, Progress, ProgressTarget, Result,
    record::StepRecord,
    spec::Spec,
    text::{TextFeature, TextSample},
};

/// How the report writes the tuner's metrics.
const DIVERGENCES: [(&str, &str); 4] = [
    ("KL(p‖π)", "kl_target_policy"),
    ("KL(π‖p)", "kl_policy_target"),
    ("TV", "tv_target_policy"),
    ("JS", "js_target_policy"),
];

/// Tunes `policy` towards the fitted target, from the latest of the checkpoints that were `kept` or from the
/// beginning; gives what was measured at each step, and how many steps were made before.
#[expect(clippy::too_many_arguments, reason = "the parts of a run; a struct would serve one call")]
pub(super) fn tune<X, B, P>(
    spec: &Spec,
    features: &[TextFeature],
    base: &B,
    fit: &Fit<String, X>,
    policy: &mut P,
    seed: u64,
    target: ProgressTarget,
    kept: Option<&Kept>,
) -> Result<(Vec<StepRecord>, usize)>
where
    X: TextSample + Serialize + DeserializeOwned,
    B: Distribution<String, X>,
    P: Policy<String, X>,
{
    let contexts = Contexts::new(spec.contexts.clone())?;
    let ebm = fit.target(base);
    // Where the model lies says nothing of what it is.
    let mut model = serde_json::to_value(&spec.model).map_err(Error::Json)?;
    model.as_object_mut().and_then(|model| model.remove("source"));
    let problem = Problem::new(&contexts, &ebm)
        .with_features(features.iter().map(|feature| feature as &dyn Feature<String, X>))?
        .with_length(TextSample::token_count)
        .with_fact("features", &spec.features)?
        .with_fact("model", &model)?
        .with_fact("target.coefficients", &fit.tilt().coefficients().collect::<Vec<_>>())?;
    let tuner = Tuner::new(config(spec, seed))?;
    let progress = Progress::new(target, "tune", "steps", spec.tune.steps);
    let mut watch =
        Watch { progress, features, records: Vec::new(), before: 0, log: None, stop: StopFlag::default() };
    let Some(kept) = kept else {
        tuner.run(policy, &problem, &mut watch)?;
        return Ok((watch.records, 0));
    };
    let checkpoints = Checkpoints::new(kept.path(), spec.checkpoints.every as u64, spec.checkpoints.keep)?;
    watch.log = Some(StepLog::new(kept.steps()));
    let (outcome, asked) = kept.interrupt.while_tuning(|stop| {
        watch.stop = stop;
        let run = if checkpoints.steps()?.is_empty() {
            tuner.start(policy, &problem)?.with_checkpoints(&checkpoints)?
        } else {
            tuner.resume(policy, &problem, &checkpoints)?
        };
        run.drive(&mut watch)
    });
    let outcome = outcome?;
    // Without its log, a run that goes on could not report of its steps.
    if let Some((step, failure)) = outcome.first_observer_failure {
        return Err(Error::Log { path: kept.steps(), step, failure });
    }
    if asked {
        let steps = spec.tune.steps as u64;
        return Err(Error::Interrupted { step: outcome.step, steps, path: kept.path().into() });
    }
    Ok((watch.records, watch.before))
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
        // Never ends the run: it says which checkpoint is the best.
        early_stopping: spec.checkpoints.best.map(|metric| EarlyStopping {
            metric: metric.into(),
            patience: u64::MAX,
            min_delta: 0.0,
        }),
        ..TunerConfig::default()
    }
}

/// Keeps what the report needs of each step.
struct Watch<'a> {
    progress: Progress,
    features: &'a [TextFeature],
    records: Vec<StepRecord>,
    /// How many of them are of steps that were made before.
    before: usize,
    log: Option<StepLog>,
    stop: StopFlag,
}

impl Observer for Watch<'_> {
    fn start(&mut self, _: &TunerConfig, step: u64) -> std::result::Result<(), ObserverError> {
        if let Some(log) = &mut self.log {
            self.records = log.open(step)?;
        }
        self.before = self.records.len();
        self.progress.advance(self.before, String::new);
        Ok(())
    }

    fn step(&mut self, report: &Report) -> std::result::Result<Control, ObserverError> {
        let metrics = &report.metrics;
        let moment =
            |feature: &TextFeature| metrics.get(&format!("moment/{}/policy", feature.name())).copied();
        let divergences = DIVERGENCES.iter().filter_map(|(name, key)| Some((*name, *metrics.get(*key)?)));
        let record = StepRecord {
            step: report.step as usize,
            moments: self.features.iter().map(moment).collect(),
            divergences: divergences.map(|(name, metric)| (name.to_owned(), metric)).collect(),
            tokens: report.tokens.get(Stage::Sample.name()).map_or(0, |tokens| *tokens as usize),
            ess: metrics.get("ess").map(|metric| metric.value),
            gradient_norm: report.gradient_norm,
            learning_rate: report.learning_rate,
        };
        self.progress.advance(1, || line(self.features, &record));
        if let Some(log) = &mut self.log {
            log.write(&record)?;
        }
        self.records.push(record);
        self.stop.step(report)
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
