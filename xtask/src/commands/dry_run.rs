//! `--dry-run`: everything is checked, the cost is estimated, and nothing is written.

use std::path::Path;

use clap::Args;

use super::RunOptions;
use crate::{
    Result,
    features::TextScorers,
    launch::{Requirements, with_language_model},
    results::{RunCost, cost_table},
    spec::{FeatureKind, ModelSource, Spec},
    steering::{DryRun, DryStages, remote_model},
    terminal::print,
};
#[cfg(feature = "lm")]
use crate::{
    models::{ModelKind, text_scorers, without_download},
    steering::language_model::on_model,
};

/// The argument of commands that can be tried.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct DryRunArgument {
    /// Check everything that can be checked, estimate time, memory and disk space from a short probe, and write nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// Checks a run of `spec` whose results would go to `out`, and prints its cost. The policy starts as the model of the source `policy`, if
/// there is one.
///
/// # Errors
/// Those that the run would have before its first stage, and those of the probe.
pub(super) fn dry_run(
    spec: &Spec,
    out: &Path,
    options: &RunOptions,
    stages: DryStages,
    policy: Option<&ModelSource>,
) -> Result<()> {
    let is_remote = matches!(spec.model.source, ModelSource::Server(_));
    let has_classifier =
        spec.features.iter().any(|feature| matches!(feature.kind, FeatureKind::Classifier(_)));
    if is_remote && !has_classifier {
        let control = options.control()?;
        let dry = DryRun { spec, out, control: &control, stages };
        return show(&dry.untuned(|| remote_model::load(spec, || Ok(TextScorers::new())))?);
    }
    let hub = spec.asks_a_hub() || matches!(policy, Some(ModelSource::Hub(_)));
    with_language_model(Requirements { hub, ..Requirements::of(spec.backend) }, || {
        #[cfg(feature = "lm")]
        {
            let control = options.control()?;
            let Here { spec, policy, missing } = here(spec, policy)?;
            let dry = DryRun { spec: &spec, out, control: &control, stages };
            show(&match is_remote {
                _ if !missing.is_empty() => dry.without_model(&missing)?,
                true => dry.untuned(|| remote_model::load(&spec, || text_scorers(&spec)))?,
                false => on_model(&spec, policy.as_ref(), dry)?,
            })?;
        }
        #[cfg(not(feature = "lm"))]
        drop((out, stages));
        Ok(())
    })
}

fn show(cost: &RunCost) -> Result<()> {
    print(cost_table(cost).trim_end())?;
    print("nothing was written; the same command without --dry-run starts")
}

/// A spec whose models of a hub are folders of its cache.
#[cfg(feature = "lm")]
struct Here {
    spec: Spec,
    policy: Option<ModelSource>,
    /// The models that are not in the cache.
    missing: Vec<String>,
}

/// Looks for the models of a spec in the cache of the hub.
#[cfg(feature = "lm")]
fn here(spec: &Spec, policy: Option<&ModelSource>) -> Result<Here> {
    let mut found = Here { spec: spec.clone(), policy: policy.cloned(), missing: Vec::new() };
    let classifiers = found.spec.features.iter_mut().filter_map(|feature| match &mut feature.kind {
        FeatureKind::Classifier(asked) => Some((&mut asked.model, ModelKind::Classifier)),
        _ => None,
    });
    let models = [&mut found.spec.model.source].into_iter().chain(&mut found.policy);
    let models = models.map(|source| (source, ModelKind::LanguageModel));
    for (source, kind) in models.chain(classifiers) {
        match without_download(source, kind)? {
            Some(folder) => *source = folder,
            None => found.missing.push(source.name()),
        }
    }
    Ok(found)
}
