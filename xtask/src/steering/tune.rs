//! Stage "tune": the policy follows the gradient towards the target, and every step is recorded.

use std::{hash::Hash, io, time::Instant};

use disco_core::{Contexts, Distribution, Feature, Scorer};
use disco_ebm::Fit;
use disco_tuner::{
    Checkpointed, Checkpoints, Control, Metric, Observer, ObserverError, Outcome, Policy, Problem, Stage,
    StepReport, StopFlag, StopReason, Tuner, TunerConfig,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    BaseModel, CheckpointFolder, Origin, RunPlan,
    conditional::{Conditional, policy_moment},
    console::Console,
    logs::Logs,
    step_log::StepLog,
};
use crate::{
    Error, Progress, ProgressTarget, Result,
    contexts::TextContext,
    features::{TextFeature, TextSample},
    results::{DISTANCES, StepRecord, TuningRecord},
    spec::{FeatureSpec, Spec},
};

/// The course of tuning.
#[derive(Clone, Debug)]
pub struct Tuned {
    /// The number of steps that an earlier run had made, from whose checkpoint this one was resumed.
    pub earlier: usize,
    /// The wall time of those steps; `None` if their log does not tell it.
    pub earlier_seconds: Option<f64>,
    /// This stage's part of the record, with the steps of the earlier run.
    pub record: TuningRecord,
}

/// Tunes `policy` towards the fitted target, from the latest checkpoint in the folder, or from the beginning.
///
/// # Errors
/// The errors of the tuner, the models and the features; [`Error::Interrupted`] after an interrupt, with a checkpoint; [`Error::Log`].
///
/// # Cost
/// `tune.steps * tune.samples_per_step` samples of the policy, scored by the base and differentiated.
pub fn tune<X, P>(
    plan: &RunPlan<'_>,
    model: &BaseModel<impl Scorer<TextContext, X>, impl Distribution<TextContext, X>, X>,
    fit: &Fit<TextContext, X>,
    policy: &mut P,
    checkpoints: Option<&CheckpointFolder>,
) -> Result<Tuned>
where
    X: TextSample + Eq + Hash + Serialize + DeserializeOwned,
    P: Policy<TextContext, X> + Checkpointed,
{
    let RunPlan { spec, features, .. } = plan;
    let contexts = Contexts::weighted(spec.contexts.items.clone(), &plan.shares)?;
    let ebm = fit.target(&model.base);
    // The place of the model does not identify it.
    let mut of_model = serde_json::to_value(&spec.model).map_err(Error::Json)?;
    of_model.as_object_mut().and_then(|model| model.remove("source"));
    let conditional = Conditional::all(plan);
    let alone = features.iter().map(|feature| feature as &dyn Feature<TextContext, X>);
    let together = conditional.iter().map(|feature| feature as &dyn Feature<TextContext, X>);
    let problem = Problem::new(&contexts, &ebm)
        .with_features(alone.chain(together))?
        .with_length(TextSample::token_count)
        .with_fact("features", &features_fact(&spec.features)?)?
        .with_fact("model", &of_model)?
        .with_fact("target.coefficients", &coefficients(spec, fit)?)?;
    let problem = match &model.origin {
        Origin::Listed(spaces) => {
            let contexts = contexts.items();
            problem.with_space(move |context| {
                let position = contexts.iter().position(|other| other == context);
                let wrong = || disco_core::Error::invalid("context", context.text(), "one of the run's");
                position.and_then(|position| spaces.get(position)).cloned().ok_or_else(wrong)
            })
        }
        Origin::Base | Origin::Proposal => problem,
    };
    let held_out = match spec.tune.validation {
        Some(_) => Some(Contexts::new(spec.contexts.held_out.clone())?),
        None => None,
    };
    let problem = match &held_out {
        Some(held_out) => problem.with_held_out(held_out),
        None => problem,
    };
    let tuner = Tuner::new(spec.tune.tuner_config(
        spec.checkpoints.best,
        spec.model.choices.is_some(),
        plan.seeds.tune,
    ))?;
    let console = spec.log.console.as_ref();
    let target = if console.is_some_and(|console| console.every == 0) {
        ProgressTarget::Hidden
    } else {
        plan.progress
    };
    let progress = Progress::new(target, "tune", "steps", spec.tune.steps);
    let console = console.and_then(|console| Console::new(console, features, progress.lines()));
    let mut recorder = Recorder {
        progress,
        features,
        conditional: &conditional,
        records: Vec::new(),
        warnings: Vec::new(),
        earlier: 0,
        earlier_seconds: Some(0.0),
        last: Instant::now(),
        log: None,
        log_failure: None,
        stop: StopFlag::default(),
        logs: Logs::open(&spec.log)?.with_console(console),
    };
    let Some(folder) = checkpoints else {
        let outcome = tuner.run(policy, &problem, &mut recorder)?;
        recorder.warnings.extend(stopped_early(spec, &outcome));
        return Ok(recorder.into_tuned());
    };
    let checkpoints = Checkpoints::new(folder.path(), spec.checkpoints.every as u64, spec.checkpoints.keep)?;
    recorder.log = Some(StepLog::new(folder.steps()));
    folder.free_room()?;
    let (outcome, asked) = folder.interrupt.while_tuning(|stop| {
        recorder.stop = stop;
        let run = if checkpoints.steps()?.is_empty() {
            tuner.start(policy, &problem)?.with_checkpoints(&checkpoints)?
        } else {
            tuner.resume(policy, &problem, &checkpoints)?
        };
        run.drive(&mut recorder)
    });
    let outcome = outcome?;
    if let Some((step, failure)) = outcome.first_observer_failure {
        return Err(Error::Log { path: folder.steps(), step, failure });
    }
    // Without its log, a resumed run could not report the earlier steps.
    let is_last = outcome.step == spec.tune.steps as u64;
    let flushed = recorder.log.as_mut().map_or(Ok(()), StepLog::flush);
    if let Err(cause) =
        flushed.and(recorder.log_failure.take().filter(|_| !is_last && !asked).map_or(Ok(()), Err))
    {
        return Err(Error::Log { path: folder.steps(), step: outcome.step, failure: cause.to_string() });
    }
    if asked {
        let steps = spec.tune.steps as u64;
        return Err(Error::Interrupted { step: outcome.step, steps, path: folder.path().into() });
    }
    recorder.warnings.extend(stopped_early(spec, &outcome));
    Ok(recorder.into_tuned())
}

/// A sentence on the end of a run that did not make all its steps.
fn stopped_early(spec: &Spec, outcome: &Outcome) -> Option<String> {
    if outcome.reason != StopReason::NoImprovement {
        return None;
    }
    let stopping = spec.tune.early_stopping.as_ref()?;
    let (best, step) = outcome.best?;
    Some(format!(
        "Tuning ended after step {} of {}, since {} no longer improved (early_stopping): its best value was {best:.4}, at step {step}.",
        outcome.step, spec.tune.steps, stopping.metric
    ))
}

/// The coefficients of the target in each context.
fn coefficients<X>(spec: &Spec, fit: &Fit<TextContext, X>) -> Result<Vec<Vec<Option<f64>>>> {
    spec.contexts.items.iter().map(|context| Ok(fit.tilt().coefficients_in(context)?)).collect()
}

/// The features as they identify a run: without how programs and servers are asked, on which no value depends.
fn features_fact(features: &[FeatureSpec]) -> Result<Value> {
    let mut features = serde_json::to_value(features).map_err(Error::Json)?;
    for feature in features.as_array_mut().into_iter().flatten() {
        feature.as_object_mut().and_then(|feature| feature.remove("asking"));
    }
    Ok(features)
}

/// Records each step.
struct Recorder<'a> {
    progress: Progress,
    features: &'a [TextFeature],
    conditional: &'a [Conditional],
    records: Vec<StepRecord>,
    warnings: Vec<String>,
    /// The number of records of steps that an earlier run had made.
    earlier: usize,
    earlier_seconds: Option<f64>,
    /// The time of the last step.
    last: Instant,
    log: Option<StepLog>,
    /// Why the log could not be written after the last step. The second time in a row ends the run.
    log_failure: Option<io::Error>,
    stop: StopFlag,
    logs: Logs,
}

impl Recorder<'_> {
    fn into_tuned(mut self) -> Tuned {
        self.warnings.extend(self.logs.warnings());
        Tuned {
            earlier: self.earlier,
            earlier_seconds: self.earlier_seconds,
            record: TuningRecord { steps: self.records, warnings: self.warnings },
        }
    }
}

impl Observer for Recorder<'_> {
    fn start(&mut self, config: &TunerConfig, step: u64) -> std::result::Result<(), ObserverError> {
        self.logs.start(config, step)?;
        if let Some(log) = &mut self.log {
            let earlier = log.open(step)?;
            (self.records, self.earlier_seconds) = (earlier.records, earlier.seconds);
        }
        self.last = Instant::now();
        self.earlier = self.records.len();
        self.progress.advance(self.earlier, String::new);
        Ok(())
    }

    fn step(&mut self, report: &StepReport) -> std::result::Result<Control, ObserverError> {
        self.logs.step(report);
        let metrics = &report.metrics;
        let mut moments: Vec<Option<Metric>> =
            self.features.iter().map(|feature| policy_moment(metrics, feature.name())).collect();
        self.conditional.iter().for_each(|one| moments[one.measure()] = one.mean(metrics));
        let divergences =
            DISTANCES.iter().filter_map(|distance| Some((distance.formula, *metrics.get(distance.metric)?)));
        let record = StepRecord {
            step: report.step as usize,
            moments,
            divergences: divergences.map(|(name, metric)| (name.to_owned(), metric)).collect(),
            tokens: report.tokens.get(Stage::Sample.name()).map_or(0, |tokens| *tokens as usize),
            ess: metrics.get("ess").map(|metric| metric.value),
            gradient_norm: report.gradient_norm,
            learning_rate: report.learning_rate,
        };
        self.progress.advance(1, || line(self.features, &record));
        let mut control = self.stop.step(report)?;
        if let Some(log) = &mut self.log {
            let written = log.write(&record, self.last.elapsed().as_secs_f64());
            self.last = Instant::now();
            // A disk that is full for one step only is no reason to end the run: the line is written with the next one.
            self.log_failure = match (written, self.log_failure.take()) {
                (Ok(()), _) => None,
                (Err(cause), None) => Some(cause),
                (Err(_), earlier) => {
                    control = Control::Stop;
                    earlier
                }
            };
        }
        self.records.push(record);
        self.warnings.extend(report.warnings.iter().map(|warning| format!("Tuning, {warning}.")));
        Ok(control)
    }

    fn finish(&mut self, outcome: &Outcome) -> std::result::Result<(), ObserverError> {
        self.logs.finish(outcome);
        Ok(())
    }

    fn fail(&mut self, step: u64, error: &str) -> std::result::Result<(), ObserverError> {
        self.logs.fail(step, error);
        Ok(())
    }
}

/// The message beside the progress bar: the means, and the total variation.
fn line(features: &[TextFeature], record: &StepRecord) -> String {
    let moments = features.iter().zip(&record.moments);
    let moments = moments.filter_map(|(feature, moment)| Some((feature.name(), moment.as_ref()?.value)));
    let distance = record.divergences.get("TV").map(|distance| ("TV", distance.value));
    let parts: Vec<String> =
        moments.chain(distance).map(|(name, value)| format!("{name} {value:.3}")).collect();
    parts.join("  ")
}
