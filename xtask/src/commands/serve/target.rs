//! A target over HTTP.

use std::{
    hash::Hash,
    sync::{Arc, OnceLock, atomic::AtomicBool},
    time::Duration,
};

use disco_core::{Distribution, Scorer};
use disco_lm::LanguageModel;
use serde::{Serialize, de::DeserializeOwned};

use super::{Serving, size};
use crate::{
    Error, Result,
    contexts::TextContext,
    features::TextSample,
    serving::{Acceptance, Server, TargetEngine, end_within, stop_on_signals},
    stages::{BoundTarget, TargetFile},
    steering::{Untuned, UntunedTask, on_untuned_model_here},
};

/// How long proposals that are being drawn and scored may still take when the server has stopped.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves until a signal.
pub(super) fn run(serving: &Serving<'_>, target: &TargetFile) -> Result<()> {
    let stop = stop_on_signals()?;
    let server = serving.bind()?;
    let mut target = target.clone();
    target.spec.backend = serving.arguments.backend;
    let model = OnceLock::new();
    let see = |seen: &LanguageModel| {
        // Loaded once.
        let _ = model.set(seen.clone());
    };
    let task = Task { serving, target: &target, server, stop: &stop, model: &model };
    on_untuned_model_here(&target.spec, &serving.model, &see, task)
}

struct Task<'a> {
    serving: &'a Serving<'a>,
    target: &'a TargetFile,
    server: Server,
    stop: &'a AtomicBool,
    /// The model that proposes, once it is loaded.
    model: &'a OnceLock<LanguageModel>,
}

impl UntunedTask for Task<'_> {
    type Output = ();

    fn run<X, B, Q, D>(self, load: impl FnOnce() -> Result<(Untuned<B, Q, X>, D)>) -> Result<()>
    where
        X: TextSample + Eq + Hash + Serialize + DeserializeOwned,
        B: Scorer<TextContext, X>,
        Q: Distribution<TextContext, X>,
        D: Distribution<TextContext, X>,
    {
        let Self { serving, target, server, stop, model } = self;
        let BoundTarget { plan, base, beside: policy, fit } = BoundTarget::new(target, load)?;
        let model = model.get().ok_or_else(|| Error::answer("disco-lm", "no model after loading one"))?;
        let spec = &target.spec;
        let acceptance = Acceptance {
            model: spec.model.clone(),
            goal: spec.sample.qrs,
            pilot: size(serving.arguments.pilot),
            seed: plan.seeds.sample,
            proposals: serving.arguments.proposals,
            is_base: serving.model.is_same(&spec.model.source),
            has_columns: spec.contexts.items.iter().any(|context| !context.columns().is_empty()),
        };
        let engine = TargetEngine::new(spec, model.clone(), size(serving.arguments.max_waiting));
        engine.serve(&base.base, &policy, &fit, acceptance, |engine: Arc<_>| {
            serving.serve(server, engine, stop)?;
            end_within(PATIENCE)
        })
    }
}
