//! A target over HTTP.

use std::{
    hash::Hash,
    path::Path,
    sync::{Arc, OnceLock, atomic::AtomicBool},
};

use disco_core::{Distribution, Scorer};
use disco_lm::LanguageModel;
use disco_tuner::{Checkpointed, Policy};
use serde::{Serialize, de::DeserializeOwned};

use super::{Serving, size};
use crate::{
    Error, ProgressTarget, Result,
    contexts::TextContext,
    features::TextSample,
    scorers::external_scorers,
    serving::{Acceptance, Server, TargetEngine, stop_on_signals},
    stages::TargetFile,
    steering::{Loaded, ModelTask, RunPlan, WeightBytes, features_of_target, language_model::on_model_seen},
};

/// Serves until a signal.
pub(super) fn run(serving: &Serving<'_>, target: &TargetFile) -> Result<()> {
    let stop = stop_on_signals()?;
    let server = serving.bind()?;
    let mut spec = target.spec.clone();
    spec.backend = serving.arguments.backend;
    let target = TargetFile { spec, saved: target.saved.clone() };
    let model = OnceLock::new();
    let see = |seen: &LanguageModel| {
        // Loaded once.
        let _ = model.set(seen.clone());
    };
    let task = Task { serving, target: &target, server, stop: &stop, model: &model };
    on_model_seen(&target.spec, Some(&serving.model), &see, task)
}

struct Task<'a> {
    serving: &'a Serving<'a>,
    target: &'a TargetFile,
    server: Server,
    stop: &'a AtomicBool,
    /// The model that proposes, once it is loaded.
    model: &'a OnceLock<LanguageModel>,
}

impl ModelTask for Task<'_> {
    type Output = ();

    fn run<X, B, Q, P>(
        self,
        _: WeightBytes,
        load: impl FnOnce() -> Result<Loaded<B, Q, X, P>>,
        _: impl FnOnce(&P, &Path) -> Result<()>,
    ) -> Result<()>
    where
        X: TextSample + Eq + Hash + Serialize + DeserializeOwned,
        B: Scorer<TextContext, X>,
        Q: Distribution<TextContext, X>,
        P: Policy<TextContext, X> + Checkpointed,
    {
        let Self { serving, target, server, stop, model } = self;
        let TargetFile { spec, saved } = target;
        let programs = external_scorers(spec.features.iter().map(|one| (one.name.as_str(), &one.kind)))?;
        let Loaded { base, policy, mut scorers, .. } = load()?;
        scorers.extend(programs);
        let plan = RunPlan::new(spec, &scorers, ProgressTarget::detect())?;
        let fit = saved.bind(features_of_target::<X>(&plan, saved)?)?;
        let model = model.get().ok_or_else(|| Error::answer("disco-lm", "no model after loading one"))?;
        let acceptance = Acceptance {
            model: spec.model.clone(),
            goal: spec.sample.qrs,
            pilot: size(serving.arguments.pilot),
            seed: plan.seeds.sample,
            proposals: serving.arguments.proposals,
            is_base: serving.model == spec.model.source,
        };
        let engine = TargetEngine::new(spec, model.clone(), size(serving.arguments.max_waiting));
        let policy = policy.freeze()?;
        engine.serve(&base.base, &policy, &fit, acceptance, |engine: Arc<_>| {
            serving.serve(server, engine, stop)
        })
    }
}
