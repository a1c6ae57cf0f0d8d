//! `cargo xtask tune`: a policy follows the gradient to a saved target.

use std::path::PathBuf;

use clap::Args;
use disco_ebm::SavedTarget;

#[cfg(feature = "lm")]
use super::stage_arguments::show;
use super::{
    dry_run::{DryRunArgument, dry_run},
    stage_arguments::StageArguments,
};
use crate::{
    Error, Result,
    launch::{Requirements, with_language_model},
    spec::ModelSource,
    stages::{Inputs, is_done},
    steering::DryStages,
};
#[cfg(feature = "lm")]
use crate::{spec::WEIGHTS, stages::TuneStage, steering::language_model::on_model};

#[derive(Clone, Debug, Args)]
pub(crate) struct TuneArguments {
    #[command(flatten)]
    stage: StageArguments,
    /// The target: `target.json` of the stage `fit` or of a run.
    #[arg(long, value_name = "FILE")]
    target: PathBuf,
    /// The model that the policy starts as, instead of the base: a folder, a GGUF file, or the results of a run or of this stage.
    #[arg(long, value_name = "MODEL")]
    policy: Option<String>,
    #[command(flatten)]
    dry: DryRunArgument,
}

/// Tunes a policy towards a saved target.
///
/// # Errors
/// Those of the files, before anything is built; [`Error::Argument`] for a run file that tunes nothing; those of the stage.
pub(crate) fn run(arguments: &TuneArguments) -> Result<()> {
    let model = arguments.policy.as_ref().map(PathBuf::from);
    let (spec, out) = arguments.stage.read("tune", "tuned", [&arguments.target].into_iter().chain(&model))?;
    if let ModelSource::Server(address) = &spec.model.source {
        let problem = format!("has a model on a server, `{address}`, and tuning needs its weights here");
        let allowed = "a model that runs here, such as `--model DIR`, a folder of the same weights";
        return Err(Error::Argument { flag: "SPEC", problem, allowed: allowed.into() });
    }
    if spec.tune.steps == 0 {
        let problem = "has no step of tuning".into();
        return Err(Error::Argument { flag: "SPEC", problem, allowed: "`tune.steps` of 1 or more".into() });
    }
    let target = SavedTarget::load(&arguments.target)?;
    let policy = arguments.policy.as_ref().map(|policy| ModelSource::from_argument("--policy", policy));
    let policy = policy.transpose()?;
    let inputs = Inputs::new("tune", &spec, std::slice::from_ref(&arguments.target), &policy)?;
    if !arguments.stage.is_forced() && is_done(&out, &inputs) {
        return Ok(());
    }
    if arguments.dry.dry_run {
        let stages = DryStages::Tune(Box::new(target));
        return dry_run(&spec, &out, &arguments.stage.options, stages, policy.as_ref());
    }
    let hub = spec.asks_a_hub() || matches!(policy, Some(ModelSource::Hub(_)));
    with_language_model(Requirements { hub, ..Requirements::of(spec.backend) }, || {
        #[cfg(feature = "lm")]
        {
            let control = arguments.stage.options.control()?;
            let stage = TuneStage { spec: &spec, target, out: &out, inputs, control: &control };
            let (folder, record) = on_model(&spec, policy.as_ref(), stage)?;
            show(&folder, &record, WEIGHTS)?;
        }
        #[cfg(not(feature = "lm"))]
        drop((target, inputs));
        Ok(())
    })
}
