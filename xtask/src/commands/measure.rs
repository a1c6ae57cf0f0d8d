//! `cargo xtask measure`: samples of the base with the values of all features.

use clap::Args;

use super::{
    dry_run::{DryRunArgument, dry_run},
    stage_arguments::{StageArguments, show},
};
use crate::{
    Error, Result, Shard,
    features::TextScorers,
    launch::{Requirements, with_language_model},
    spec::{FeatureKind, ModelSource},
    stages::{Inputs, MEASURED, MeasureStage, forget_drawn, is_done},
    steering::{DryStages, Untuned, remote_model},
};
#[cfg(feature = "lm")]
use crate::{models::text_scorers, steering::language_model::on_model};

#[derive(Clone, Debug, Args)]
pub(crate) struct MeasureArguments {
    #[command(flatten)]
    stage: StageArguments,
    /// Draw shard I of N of the samples of each context; `merge` joins the files.
    #[arg(long, value_name = "I/N", default_value_t)]
    shard: Shard,
    #[command(flatten)]
    dry: DryRunArgument,
}

/// Measures the base of a run file.
///
/// # Errors
/// Those of the file, before anything is built; [`Error::Argument`] for a shard of listed choices; those of the stage.
pub(crate) fn run(arguments: &MeasureArguments) -> Result<()> {
    let (spec, out) = arguments.stage.read("measure", "measured", [])?;
    let shard = arguments.shard;
    if shard.is_part() && spec.model.choices.is_some() {
        let problem = format!("is {shard}, and the choices of each context are listed, not drawn");
        return Err(Error::Argument {
            flag: "--shard",
            problem,
            allowed: "none with `model.choices`".into(),
        });
    }
    let inputs = Inputs::new("measure", &spec, &[], ())?.of_shard(shard);
    if !arguments.stage.is_forced() && is_done(&out, &inputs) {
        return forget_drawn(&out, &spec, shard);
    }
    if arguments.dry.dry_run {
        return dry_run(&spec, &out, &arguments.stage.options, DryStages::Measure(shard), None);
    }
    let is_remote = matches!(spec.model.source, ModelSource::Server(_));
    let has_classifier =
        spec.features.iter().any(|feature| matches!(feature.kind, FeatureKind::Classifier(_)));
    let remote = |scorers: &dyn Fn() -> Result<TextScorers>| {
        let control = arguments.stage.options.control()?;
        let stage = MeasureStage { spec: &spec, out: &out, shard, inputs: inputs.clone(), control: &control };
        let (folder, record) = stage.measure(|| {
            let Untuned { base, scorers, record } = remote_model::load(&spec, scorers)?;
            Ok((base, scorers, record))
        })?;
        show(&folder, &record, MEASURED)
    };
    if is_remote && !has_classifier {
        return remote(&|| Ok(TextScorers::new()));
    }
    let requirements = Requirements { hub: spec.asks_a_hub(), ..Requirements::of(spec.backend) };
    with_language_model(requirements, || {
        #[cfg(feature = "lm")]
        if is_remote {
            remote(&|| text_scorers(&spec))?;
        } else {
            let control = arguments.stage.options.control()?;
            let stage =
                MeasureStage { spec: &spec, out: &out, shard, inputs: inputs.clone(), control: &control };
            let (folder, record) = on_model(&spec, None, stage)?;
            show(&folder, &record, MEASURED)?;
        }
        Ok(())
    })
}
