//! The arguments that the stages of a run file share.

use std::path::{Path, PathBuf};

use clap::Args;
use disco_core::input;

use super::{RunOptions, run::default_folder};
use crate::{
    Result, RunRecord,
    results::{keep_apart, keep_inputs, terminal_table},
    spec::Spec,
    stages::keep_results,
    terminal::{print, visible_line},
};

/// A stage of a run file.
#[derive(Clone, Debug, Args)]
pub(super) struct StageArguments {
    /// The run file.
    spec: PathBuf,
    #[command(flatten)]
    pub(super) options: RunOptions,
    /// Do it also if the folder has the results of the same inputs.
    #[arg(long)]
    force: bool,
}

impl StageArguments {
    /// The spec, and the folder of the results: `--out`, or one whose name ends with `ending`. `inputs` are what else the stage reads.
    ///
    /// # Errors
    /// Those of the file; [`Error::Place`](crate::Error::Place), also for a place of an input, or of results of another stage.
    pub(super) fn read<'i>(
        &self,
        stage: &str,
        ending: &str,
        inputs: impl IntoIterator<Item = &'i PathBuf>,
    ) -> Result<(Spec, PathBuf)> {
        let text = input::read_text(&self.spec)?;
        let folder = self.spec.parent().unwrap_or(Path::new(""));
        let spec = self.options.read(&self.spec.display().to_string(), &text, folder)?;
        let name = self.spec.file_stem().unwrap_or_default().to_string_lossy();
        let place = || default_folder(&format!("{name}.{ending}"));
        let out = self.options.out.clone().unwrap_or_else(place);
        keep_apart(&out, &spec)?;
        keep_inputs(&out, inputs)?;
        keep_results(&out, Some(stage))?;
        Ok((spec, out))
    }

    /// Whether results of the same inputs are made again.
    pub(super) fn is_forced(&self) -> bool {
        self.force || self.options.restart
    }
}

/// Shows the results of a stage: a table, and the file that tells most.
pub(super) fn show(folder: &Path, record: &RunRecord, file: &str) -> Result<()> {
    print(format_args!("\n{}", terminal_table(record)))?;
    print(visible_line(&folder.join(file).to_string_lossy()))
}
