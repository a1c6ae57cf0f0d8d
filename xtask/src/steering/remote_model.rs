//! A run on a language model that a server runs.

#[cfg(feature = "lm")]
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{BaseModel, RunControl, Untuned, run_untuned_workflow};
#[cfg(feature = "lm")]
use crate::spec::{ModelSource, ModelSpec, ServerSpec};
use crate::{
    Error, Result,
    features::TextScorers,
    remote::{RemoteModel, RemoteSample},
    results::{ModelRecord, RunRecord},
    spec::Spec,
};

/// Runs a spec on its server; returns the folder of the results, and their record. `scorers` gives the text scorers of the spec's
/// classifiers.
///
/// # Errors
/// As [`run_untuned_workflow`], and those of [`RemoteModel::connect`], before anything is sampled.
pub(crate) fn run(
    spec: &Spec,
    out: &Path,
    control: &RunControl,
    scorers: impl FnOnce() -> Result<TextScorers>,
) -> Result<(PathBuf, RunRecord)> {
    run_untuned_workflow(spec, out, control, || load(spec, scorers))
}

/// The model of a spec on its server, as a base.
///
/// # Errors
/// As [`RemoteModel::connect`], and those of `scorers`.
pub(crate) fn load(
    spec: &Spec,
    scorers: impl FnOnce() -> Result<TextScorers>,
) -> Result<Untuned<RemoteModel, RemoteModel, RemoteSample>> {
    let context = spec.contexts.items.first().ok_or_else(|| Error::Server {
        server: spec.model.source.name(),
        problem: "there is no context to ask it about".into(),
    })?;
    let base = RemoteModel::connect(&spec.model, context.text())?;
    let record = ModelRecord { name: spec.model.source.name(), facts: base.facts() };
    Ok(Untuned { base: BaseModel::new(base), scorers: scorers()?, record })
}

/// The model of a spec on its server, as a base, and another model beside it, on the same server or on one of its own. The headers of the
/// spec are sent to its own server alone.
///
/// # Errors
/// As [`load`], and those of [`RemoteModel::connect`] for the other model; [`Error::Server`] if their tokens differ.
#[cfg(feature = "lm")]
pub(crate) fn load_with(
    spec: &Spec,
    beside: &ModelSource,
    scorers: impl FnOnce() -> Result<TextScorers>,
) -> Result<(Untuned<RemoteModel, RemoteModel, RemoteSample>, RemoteModel)> {
    let untuned = load(spec, scorers)?;
    let base = &untuned.base.base;
    let other = if *beside == spec.model.source {
        base.clone()
    } else {
        let server =
            ServerSpec { dialect: None, name: None, headers: BTreeMap::new(), ..spec.model.server.clone() };
        let model = ModelSpec { source: beside.clone(), server, ..spec.model.clone() };
        let context = spec.contexts.items.first().map_or("", |context| context.text());
        let other = RemoteModel::connect(&model, context)?;
        base.check_same_tokens(&other, context)?;
        other
    };
    Ok((untuned, other))
}
