//! `cargo xtask diagnose`: scored samples beside a target. No model is run.

use std::path::PathBuf;

use clap::Args;

use crate::{
    Error, Result, Shard,
    results::{OutputFile, keep_file_apart},
    stages::{DiagnoseStage, Inputs, SampleLines, TargetFile, write_shard},
    terminal::print,
};

#[derive(Clone, Debug, Args)]
pub(crate) struct DiagnoseArguments {
    /// The target: `target.json` of `fit` or of a run.
    #[arg(long, value_name = "FILE")]
    target: PathBuf,
    /// A file of samples with `log_prob` and `log_base`, as `measure` and `score` write them. Given more than once, they are compared.
    #[arg(long, value_name = "FILE", required = true)]
    samples: Vec<PathBuf>,
    /// The run file that says how the features of the target are computed. [default: `run.toml` beside the target]
    #[arg(long, value_name = "FILE")]
    spec: Option<PathBuf>,
    /// The samples without `log_base` are the base's own.
    #[arg(long)]
    from_base: bool,
    /// Only write shard I of N of the lines to `--out`, with the values of all features, which programs and servers give; `merge` joins the
    /// files, and the diagnosis of what it writes asks no program.
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// A file for all numbers as JSON, or for the lines of a shard, which appears whole or not at all.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Diagnoses samples.
///
/// # Errors
/// Those of the files; those of [`DiagnoseStage`].
pub(crate) fn run(arguments: &DiagnoseArguments) -> Result<()> {
    if let Some(out) = &arguments.out {
        keep_file_apart(out, arguments.samples.iter().chain([&arguments.target]).chain(&arguments.spec))?;
    }
    let target = TargetFile::read(&arguments.target, arguments.spec.as_deref())?;
    let stage = DiagnoseStage::read(target, &arguments.samples, arguments.from_base)?;
    if let Some(shard) = arguments.shard {
        return run_shard(arguments, shard, &stage);
    }
    let is_ours = |line: &[u8]| line.starts_with(b"[{\"name\":");
    let out = arguments.out.as_deref().map(|path| OutputFile::prepare(path, is_ours)).transpose()?;
    let found = stage.diagnose()?;
    if let Some(mut out) = out {
        out.write(&serde_json::to_vec(&found).map_err(Error::Json)?)?;
        out.finish()?;
    }
    for diagnosis in &found {
        print(format_args!("{}", diagnosis.table()))?;
    }
    Ok(())
}

/// Writes the lines of a shard.
fn run_shard(arguments: &DiagnoseArguments, shard: Shard, stage: &DiagnoseStage) -> Result<()> {
    let DiagnoseArguments { target, samples, out, .. } = arguments;
    let refused = |problem: String, allowed: &str| {
        Err(Error::Argument { flag: "--shard", problem, allowed: allowed.into() })
    };
    if samples.len() > 1 {
        return refused(
            format!("is {shard}, and there are {} files", samples.len()),
            "one `--samples` with it",
        );
    }
    if out.is_none() {
        return refused(format!("is {shard}, and its lines have no place"), "`--out FILE` with it");
    }
    let inputs = Inputs::new("diagnose", stage.spec(), &[target.clone(), samples[0].clone()], ())?;
    let lines = SampleLines::open(out.as_deref(), Some(&inputs.of_shard(shard)))?;
    write_shard(stage, shard, lines)
}
