//! `cargo xtask fit`: a target from files of samples.

use std::path::PathBuf;

use clap::Args;
use disco_core::input;

use super::stage_arguments::{StageArguments, show};
#[cfg(feature = "lm")]
use crate::models::text_scorers;
use crate::{
    Error, Result,
    features::TextScorers,
    launch::{Requirements, with_language_model},
    stages::{FitStage, Inputs, is_done},
};

#[derive(Clone, Debug, Args)]
pub(crate) struct FitArguments {
    #[command(flatten)]
    stage: StageArguments,
    /// A file of samples: `measured.jsonl` of the stage `measure`, or JSON lines with `context`, `text` (or `sample`) and `log_prob`.
    /// Given more than once, all of them count.
    #[arg(long, value_name = "FILE", required = true)]
    samples: Vec<PathBuf>,
}

/// Fits the target of a run file. A language model is compiled in only if a classifier has to give values that the files lack.
///
/// # Errors
/// Those of the files; those of the stage.
pub(crate) fn run(arguments: &FitArguments) -> Result<()> {
    let (spec, out) = arguments.stage.read("fit", "fitted", &arguments.samples)?;
    let read = |file: &PathBuf| match input::read_bytes(file) {
        Ok(bytes) => Ok((file.clone(), bytes)),
        Err(cause) => Err(Error::read(file, cause)),
    };
    let files = arguments.samples.iter().map(read).collect::<Result<Vec<_>>>()?;
    let inputs = Inputs::of_bytes("fit", &spec, files.iter().map(|(_, bytes)| bytes.as_slice()), ())?;
    if !arguments.stage.is_forced() && is_done(&out, &inputs) {
        return Ok(());
    }
    let stage = FitStage::read(&spec, &files)?;
    drop(files);
    let control = arguments.stage.options.control()?;
    let fit = |classifiers: TextScorers| {
        let (folder, record) = stage.clone().fit(&out, &inputs, &control, classifiers)?;
        show(&folder, &record, "target.json")
    };
    match stage.of_classifiers() {
        None => fit(TextScorers::new()),
        Some(classified) => {
            let requirements =
                Requirements { hub: classified.asks_a_hub(), ..Requirements::of(spec.backend) };
            with_language_model(requirements, || {
                #[cfg(feature = "lm")]
                fit(text_scorers(&classified)?)?;
                Ok(())
            })
        }
    }
}
