//! Work on a base and on a distribution beside it, none of which is tuned: here, or on a server.

use std::{hash::Hash, path::Path};

use disco_core::{Distribution, Scorer};
use disco_lm::LanguageModel;
use disco_tuner::{Checkpointed, Policy};
use serde::{Serialize, de::DeserializeOwned};

use super::{Loaded, ModelTask, Untuned, WeightBytes, language_model::on_model_seen, remote_model};
use crate::{
    Error, Result,
    contexts::TextContext,
    features::TextSample,
    models::text_scorers,
    spec::{ModelSource, Spec},
};

/// A stage that tunes nothing, for any kind of model.
pub(crate) trait UntunedTask {
    /// The result.
    type Output;

    /// Does the work. Places that cannot be written to are found before `load` is called, which loads the base, and the distribution that
    /// proposes samples or scores them.
    ///
    /// # Errors
    /// Those of the work and of `load`.
    fn run<X, B, Q, D>(self, load: impl FnOnce() -> Result<(Untuned<B, Q, X>, D)>) -> Result<Self::Output>
    where
        X: TextSample + Eq + Hash + Serialize + DeserializeOwned,
        B: Scorer<TextContext, X>,
        Q: Distribution<TextContext, X>,
        D: Distribution<TextContext, X>;
}

/// Does work on the model of a spec as the base, and on that of the source `beside`.
///
/// # Errors
/// [`Error::Argument`] if one of them runs here and the other on a server; those of the work, and those of the models.
pub(crate) fn on_untuned_model<T: UntunedTask>(
    spec: &Spec,
    beside: &ModelSource,
    task: T,
) -> Result<T::Output> {
    let refused = |problem: String, allowed: String| Error::Argument { flag: "--model", problem, allowed };
    match (&spec.model.source, beside) {
        (ModelSource::Server(_), ModelSource::Server(_)) => {
            task.run(|| remote_model::load_with(spec, beside, || text_scorers(spec)))
        }
        (ModelSource::Server(base), here) => Err(refused(
            format!("is \"{}\", which runs here, and the base of the target runs on a server", here.name()),
            format!("{base}, or another server whose model has the same tokens"),
        )),
        (here, ModelSource::Server(address)) => Err(refused(
            format!("is \"{address}\", a server, and the base of the target, \"{}\", runs here", here.name()),
            "a model that runs here, or the target of a run file whose `model.source` is a server".into(),
        )),
        _ => on_untuned_model_here(spec, beside, &|_| {}, task),
    }
}

/// As [`on_untuned_model`], for models that run here; `see` gets the language model that proposes samples, when it has been loaded.
///
/// # Errors
/// As [`on_untuned_model`].
pub(crate) fn on_untuned_model_here<T: UntunedTask>(
    spec: &Spec,
    beside: &ModelSource,
    see: &dyn Fn(&LanguageModel),
    task: T,
) -> Result<T::Output> {
    on_model_seen(spec, Some(beside), see, Frozen(task))
}

/// A task that tunes nothing, on a model that could be tuned.
struct Frozen<T>(T);

impl<T: UntunedTask> ModelTask for Frozen<T> {
    type Output = T::Output;

    fn run<X, B, Q, P>(
        self,
        _: WeightBytes,
        load: impl FnOnce() -> Result<Loaded<B, Q, X, P>>,
        _: impl FnOnce(&P, &Path) -> Result<()>,
    ) -> Result<Self::Output>
    where
        X: TextSample + Eq + Hash + Serialize + DeserializeOwned,
        B: Scorer<TextContext, X>,
        Q: Distribution<TextContext, X>,
        P: Policy<TextContext, X> + Checkpointed,
    {
        self.0.run(|| {
            let Loaded { base, policy, scorers, record } = load()?;
            Ok((Untuned { base, scorers, record }, policy.freeze()?))
        })
    }
}
